//! Keys by their names: the one of a setting, or those of a JSON Web Key Set (RFC 7517).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::key::Key;
use super::member::Member;
use crate::config::JwtAlgorithm;

/// Most keys of a set; one with more is refused.
const KEYS_MAX: usize = 256;
/// Most keys that one token is tried with: those of its kid, or without a kid those of its algorithm.
const TRIES_MAX: usize = 4;

/// Keys of one issuer. Never empty.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    skipped: Vec<String>,
}

/// Why a document is no key set.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not JSON, or has no list of keys.
    #[error("the answer is not a JSON Web Key Set: it is no JSON object with a list `keys`")]
    Form,
    /// It holds more keys than are looked at.
    #[error("the key set has {0} keys; up to {KEYS_MAX} can be used")]
    TooMany(usize),
    /// It holds no key for the configured algorithms.
    #[error("the key set holds no key that can be used ({0})")]
    Useless(String),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// The set of one key.
    pub fn one(key: Key) -> Self {
        Self { keys: vec![key], skipped: Vec::new() }
    }

    /// Reads a set. What is of no use is skipped: sets may hold keys for other purposes.
    ///
    /// # Errors
    /// If it is no set, or none of its keys can be used for these algorithms.
    pub fn parse(document: &[u8], algorithms: &[JwtAlgorithm]) -> Result<Self, KeySetError> {
        let Document { keys: members } = serde_json::from_slice(document).map_err(|_| KeySetError::Form)?;
        if members.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(members.len()));
        }
        let (mut keys, mut skipped) = (Vec::new(), BTreeSet::new());
        for member in members {
            let key = serde_json::from_value::<Member>(member).map(Member::into_key);
            let why = match key {
                Ok(Ok(key)) if algorithms.iter().any(|algorithm| fits(&key, *algorithm)) => {
                    keys.push(key);
                    continue;
                }
                Ok(Ok(key)) => format!("{} for no configured algorithm", key.kind),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "a member that is no key".to_owned(),
            };
            skipped.insert(why);
        }
        let skipped: Vec<_> = skipped.into_iter().collect();
        if keys.is_empty() {
            let found = if skipped.is_empty() { "it is empty".to_owned() } else { skipped.join("; ") };
            return Err(KeySetError::Useless(found));
        }
        Ok(Self { keys, skipped })
    }

    /// The keys that a token of this kid and algorithm may have been signed with; mostly one.
    pub fn candidates(&self, id: Option<&str>, algorithm: JwtAlgorithm) -> impl Iterator<Item = &Key> {
        // A key without a name, such as that of a setting, goes with any.
        let named = move |key: &&Key| match (id, key.id.as_deref()) {
            (Some(wanted), Some(name)) => wanted == name,
            _ => true,
        };
        self.keys.iter().filter(move |key| fits(key, algorithm)).filter(named).take(TRIES_MAX)
    }

    /// How many keys can be used.
    pub fn size(&self) -> usize {
        self.keys.len()
    }

    /// What was skipped: each kind of it once.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }
}

/// Whether a key may be used for an algorithm.
fn fits(key: &Key, algorithm: JwtAlgorithm) -> bool {
    key.kind.algorithms().contains(&algorithm) && key.only.is_none_or(|only| only == algorithm)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const EDDSA: &[JwtAlgorithm] = &[JwtAlgorithm::EdDsa];

    /// A key of RFC 8037, appendix A.2.
    fn member(id: Option<&str>) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "kid": id,
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        })
    }

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes(), EDDSA)
    }

    #[test]
    fn a_token_is_tried_with_the_keys_of_its_kid() {
        let set = parse(&[member(Some("a")), member(Some("b")), json!({ "kty": "oct" }), json!(7)]).unwrap();
        let count = |id, algorithm| set.candidates(id, algorithm).count();
        assert_eq!((set.size(), set.skipped().len()), (2, 2));
        assert_eq!(count(Some("a"), JwtAlgorithm::EdDsa), 1);
        assert_eq!(count(Some("c"), JwtAlgorithm::EdDsa), 0);
        assert_eq!(count(None, JwtAlgorithm::EdDsa), 2);
        assert_eq!(count(Some("a"), JwtAlgorithm::Rs256), 0);
        let nameless = parse(&[member(None)]).unwrap();
        assert_eq!(nameless.candidates(Some("a"), JwtAlgorithm::EdDsa).count(), 1);
        let many = parse(&vec![member(Some("a")); 50]).unwrap();
        assert_eq!(many.candidates(Some("a"), JwtAlgorithm::EdDsa).count(), TRIES_MAX);
    }

    #[test]
    fn what_is_no_set_of_use_is_an_error() {
        for form in ["", "[]", "{}", "{\"keys\":{}}", "<html>", "{\"keys\":[", &"[".repeat(100_000)] {
            assert_eq!(KeySet::parse(form.as_bytes(), EDDSA).unwrap_err(), KeySetError::Form, "{form:.20}");
        }
        assert!(parse(&[]).unwrap_err().to_string().contains("it is empty"));
        let useless =
            KeySet::parse(json!({ "keys": [member(None)] }).to_string().as_bytes(), &[JwtAlgorithm::Rs256]);
        assert!(useless.unwrap_err().to_string().contains("an Ed25519 key for no configured algorithm"));
        assert_eq!(parse(&vec![member(None); 257]).unwrap_err(), KeySetError::TooMany(257));
    }
}
