//! A member of a JSON Web Key Set, and the key that it is.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::key::{Key, KeyError, KeyKind, RSA_BITS_MAX, RSA_BITS_MIN, bits, usable};
use crate::config::JwtAlgorithm::EdDsa;

/// A member of a key set (RFC 7517, section 4), as far as it is looked at.
#[derive(Debug, Deserialize)]
pub struct Member {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

impl Member {
    /// The key that it is.
    ///
    /// # Errors
    /// If it is none for signatures, of no known kind, private, or broken.
    pub fn into_key(self) -> Result<Key, KeyError> {
        let refuse = |why| Err(KeyError::Member(why));
        if self.d.is_some() {
            return refuse("a private key in public");
        }
        let verifies = self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") || !verifies {
            return refuse("a key that is not for signatures");
        }
        let broken = KeyError::Member("a broken key");
        let (kind, decoding) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => (KeyKind::Rsa, rsa(self.n.as_deref(), self.e.as_deref())?),
            ("EC", Some("P-256")) => (KeyKind::P256, point(self.x.as_deref(), self.y.as_deref(), 32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, point(self.x.as_deref(), self.y.as_deref(), 48)?),
            ("OKP", Some("Ed25519")) => {
                let x = self.x.as_deref().unwrap_or_default();
                (KeyKind::Ed25519, DecodingKey::from_ed_components(x).map_err(|_| broken)?)
            }
            _ => return refuse("a key of a kind that is not for public signatures here"),
        };
        if kind != KeyKind::Rsa && !usable(&decoding, kind) {
            return refuse("a broken key");
        }
        let only = match self.alg.as_deref() {
            None => None,
            // RFC 9864 names the curve.
            Some("Ed25519") if kind == KeyKind::Ed25519 => Some(EdDsa),
            Some(name) => {
                let named = kind.algorithms().iter().find(|algorithm| algorithm.name() == name);
                Some(*named.ok_or(KeyError::Member("a key whose alg does not go with its kind"))?)
            }
        };
        Ok(Key { id: self.kid, kind, only, decoding })
    }
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<DecodingKey, KeyError> {
    let broken = || KeyError::Member("a broken key");
    let (n, e) = (decode(n).ok_or_else(broken)?, decode(e).ok_or_else(broken)?);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits(&n)) {
        return Err(KeyError::Member("an RSA key of less than 2048 or more than 4096 bits"));
    }
    // With e = 1 everybody could sign.
    if bits(&e) < 2 || e.last().is_none_or(|last| last % 2 == 0) {
        return Err(broken());
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

fn point(x: Option<&str>, y: Option<&str>, bytes: usize) -> Result<DecodingKey, KeyError> {
    let broken = || KeyError::Member("a broken key");
    let (Some(x), Some(y)) = (x, y) else { return Err(broken()) };
    let whole = |text| decode(Some(text)).is_some_and(|number| number.len() == bytes);
    if !whole(x) || !whole(y) {
        return Err(broken());
    }
    DecodingKey::from_ec_components(x, y).map_err(|_| broken())
}

fn decode(text: Option<&str>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn member(json: Value) -> Result<Key, String> {
        let member: Member = serde_json::from_value(json).map_err(|error| error.to_string())?;
        member.into_key().map_err(|error| error.to_string())
    }

    /// A key of RFC 8037, appendix A.2, with changes.
    fn ed25519(changes: &[(&str, Value)]) -> Result<Key, String> {
        let mut json =
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        for (name, value) in changes {
            json[*name] = value.clone();
        }
        member(json)
    }

    #[test]
    fn a_member_is_used_for_what_it_is_for() {
        let key = ed25519(&[("kid", json!("k")), ("use", json!("sig")), ("alg", json!("EdDSA"))]).unwrap();
        assert_eq!((key.id.as_deref(), key.kind, key.only), (Some("k"), KeyKind::Ed25519, Some(EdDsa)));
        assert_eq!(ed25519(&[("alg", json!("Ed25519"))]).unwrap().only, Some(EdDsa));
        assert!(ed25519(&[("key_ops", json!(["verify"]))]).is_ok());
        for changes in [
            ("use", json!("enc")),
            ("key_ops", json!(["sign"])),
            ("alg", json!("HS256")),
            ("alg", json!("none")),
            ("d", json!("AAAA")),
            ("crv", json!("X25519")),
            ("kty", json!("oct")),
            ("kid", json!(7)),
        ] {
            assert!(ed25519(std::slice::from_ref(&changes)).is_err(), "{changes:?}");
        }
    }

    #[test]
    fn a_broken_member_is_an_error_and_not_a_panic() {
        for x in ["", "AA", "****", "//", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURoA"] {
            assert!(ed25519(&[("x", json!(x))]).is_err(), "{x}");
        }
        let point = |crv: &str, x: usize, y: usize| {
            member(json!({ "kty": "EC", "crv": crv, "x": "A".repeat(x), "y": "A".repeat(y) }))
        };
        // Of the right size, and on no curve.
        assert_eq!(point("P-256", 43, 43).unwrap_err(), "a broken key");
        for (crv, x, y) in
            [("P-256", 0, 43), ("P-256", 43, 0), ("P-256", 64, 64), ("P-384", 43, 43), ("P-521", 88, 88)]
        {
            assert!(point(crv, x, y).is_err(), "{crv} {x} {y}");
        }
        assert!(member(json!({ "kty": "EC", "crv": "P-256" })).is_err());
        let rsa = |n: usize, e: &str| member(json!({ "kty": "RSA", "n": "g".repeat(n), "e": e }));
        assert!(rsa(342, "AQAB").is_ok());
        for (n, e) in
            [(171, "AQAB"), (684, "AQAB"), (0, "AQAB"), (342, ""), (342, "AQ"), (342, "Ag"), (342, "*")]
        {
            assert!(rsa(n, e).is_err(), "{n} {e}");
        }
        assert!(member(json!({ "kty": "RSA" })).is_err());
        assert!(member(json!([])).is_err());
    }
}
