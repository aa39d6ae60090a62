//! Persisted documents: requests that name their document by its hash, and the list of those that may run.
//!
//! The hash is SHA-256 of the text in lower-case hexadecimal, as Relay, Apollo and graphql-codegen write it.

use std::collections::HashMap;
use std::fmt::{self, Display};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::graphql::error::GraphQLError;
use crate::graphql::limits::Limits;
use crate::graphql::request::Request;

/// The member of a request's `extensions` that names a document.
pub(super) const EXTENSION: &str = "persistedQuery";

/// What names a document in caches and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DocumentHash([u8; 32]);

impl DocumentHash {
    /// The hash of a text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    fn parse(hex: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

impl Display for DocumentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The documents that may run; no others do.
#[derive(Debug)]
pub struct AllowList(HashMap<DocumentHash, Box<str>>);

/// Why a list is refused. Does not name the file: the setting does.
#[derive(Debug, thiserror::Error)]
pub enum AllowListError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// The file is too large to be kept in memory.
    #[error("is larger than {} bytes", AllowList::BYTES_MAX)]
    TooLarge,
    /// The file is not what tools write.
    #[error("is not a JSON object of hashes and documents: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A key is not the hash of its document.
    #[error(
        "has the key {key:?} where the document's SHA-256 is {hash}; the hash must be of the exact text, in \
         lower-case hexadecimal"
    )]
    Key {
        /// The key.
        key: String,
        /// What it should be.
        hash: DocumentHash,
    },
}

impl AllowList {
    /// Largest file: some 10,000 documents of a usual size.
    pub const BYTES_MAX: u64 = 16 << 20;

    /// Reads a list from its file.
    ///
    /// # Errors
    ///
    /// If there is no such file, or it is not such a list.
    pub fn read(file: &Path) -> Result<Self, AllowListError> {
        let mut bytes = Vec::new();
        File::open(file)?.take(Self::BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > Self::BYTES_MAX {
            return Err(AllowListError::TooLarge);
        }
        Self::parse(&bytes)
    }

    /// Reads a list from JSON: an object from hash to document.
    ///
    /// # Errors
    ///
    /// If it is not such a list.
    pub fn parse(json: &[u8]) -> Result<Self, AllowListError> {
        let entries: HashMap<String, Box<str>> = serde_json::from_slice(json)?;
        let entries = entries.into_iter().map(|(key, text)| {
            let hash = DocumentHash::of(&text);
            if key == hash.to_string() { Ok((hash, text)) } else { Err(AllowListError::Key { key, hash }) }
        });
        Ok(Self(entries.collect::<Result<_, _>>()?))
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.0.len()
    }
}

/// The text of the document that a request means, and its hash.
///
/// # Errors
///
/// If there is none, or it may not run.
pub(super) fn document_of<'a>(
    request: &'a Request,
    allow_list: Option<&'a AllowList>,
    limits: &Limits,
) -> Result<(DocumentHash, &'a str), GraphQLError> {
    let named = named_hash(request)?;
    let text = request.query.as_str();
    if let Some(hash) = named.filter(|_| text.is_empty()) {
        // These two messages are fixed: clients compare them, and then send the text.
        let list = allow_list
            .ok_or_else(|| refused("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported"))?;
        let text = list
            .0
            .get(&hash)
            .ok_or_else(|| refused("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"))?;
        return Ok((hash, text));
    }
    // Too long a text is not even hashed.
    limits.check_length(text)?;
    let hash = DocumentHash::of(text);
    if named.is_some_and(|named| named != hash) {
        let message = "`extensions.persistedQuery.sha256Hash` is not the SHA-256 of `query`";
        return Err(refused("PERSISTED_QUERY_HASH_MISMATCH", message));
    }
    if allow_list.is_some_and(|list| !list.0.contains_key(&hash)) {
        let message = "This server runs only the documents of its allow-list, and this one is not among them";
        return Err(refused("PERSISTED_QUERY_REQUIRED", message));
    }
    Ok((hash, text))
}

/// The hash in `extensions.persistedQuery`, if there is one.
fn named_hash(request: &Request) -> Result<Option<DocumentHash>, GraphQLError> {
    let named = request.extensions.as_ref().and_then(|extensions| extensions.get(EXTENSION));
    let Some(named) = named.filter(|named| !named.is_null()) else { return Ok(None) };
    if named.get("version") != Some(&Value::from(1)) {
        return Err(refused("BAD_USER_INPUT", "`extensions.persistedQuery.version` must be 1"));
    }
    let hash = named.get("sha256Hash").and_then(Value::as_str).and_then(DocumentHash::parse);
    hash.map(Some).ok_or_else(|| {
        let message =
            "`extensions.persistedQuery.sha256Hash` must be a SHA-256 in 64 lower-case hexadecimal digits";
        refused("BAD_USER_INPUT", message)
    })
}

fn refused(code: &'static str, message: &str) -> GraphQLError {
    GraphQLError::new(code, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_is_64_lower_case_digits() {
        let hash = DocumentHash::of("{ tidings { version } }");
        assert_eq!(DocumentHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(
            DocumentHash::of("").to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        for wrong in ["", "0", &"A".repeat(64), &"0".repeat(63), &"0".repeat(66), &"ä".repeat(32)] {
            assert_eq!(DocumentHash::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_keys_of_a_list_are_verified() {
        let text = "{ tidings { version } }";
        let good = json!({ DocumentHash::of(text).to_string(): text }).to_string();
        assert_eq!(AllowList::parse(good.as_bytes()).unwrap().documents(), 1);
        for (list, why) in [
            (json!({ "abc": text }), "has the key \"abc\" where the document's SHA-256 is"),
            (json!({ DocumentHash::of(text).to_string().to_uppercase(): text }), "lower-case"),
            (json!([text]), "is not a JSON object of hashes and documents"),
            (json!({ DocumentHash::of(text).to_string(): 1 }), "is not a JSON object"),
        ] {
            let refused = AllowList::parse(list.to_string().as_bytes()).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }

    #[test]
    fn a_list_that_is_missing_or_too_large_is_refused() {
        let file = std::env::temp_dir().join(format!("tidings-allow-list-{}", std::process::id()));
        assert!(matches!(AllowList::read(&file), Err(AllowListError::Unreadable(_))));
        File::create(&file).unwrap().set_len(AllowList::BYTES_MAX + 1).unwrap();
        assert!(matches!(AllowList::read(&file), Err(AllowListError::TooLarge)));
        std::fs::remove_file(&file).unwrap();
    }
}
