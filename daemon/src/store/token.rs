//! The token of a reservation, and its hash, which is all that is stored.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use super::reservation::StoreError;

/// Longest text that is looked at; ours have 43 characters.
const TOKEN_BYTES_MAX: usize = 128;

/// The secret that a client was given (PROTOCOLS S8).
pub struct Token(String);

/// What is stored of it. As the token has 256 random bits, nobody finds it by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl Token {
    /// A token that nobody can guess.
    ///
    /// # Errors
    ///
    /// If the system has no randomness to give.
    pub fn mint() -> Result<Self, StoreError> {
        let mut secret = [0; 32];
        OsRng.try_fill_bytes(&mut secret).map_err(|_| StoreError::Unavailable)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(secret)))
    }

    /// The text, for the one response that tells it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(&self.0).into())
    }
}

impl TokenHash {
    /// The hash of what a client presents as its token; nothing if it is too long to be one.
    pub fn of(text: &str) -> Option<Self> {
        (text.len() <= TOKEN_BYTES_MAX).then(|| Self(Sha256::digest(text).into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<token>")
    }
}

impl fmt::Debug for TokenHash {
    /// It would let log lines of one client be told apart from those of others, and is of no other use.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<hash of a token>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s08_a_token_has_256_random_bits_and_is_known_by_its_hash() {
        let (one, other) = (Token::mint().unwrap(), Token::mint().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.expose()).unwrap().len(), 32);
        assert!(TokenHash::of(one.expose()) == Some(one.hash()) && one.hash() != other.hash());
        assert!(TokenHash::of(&"x".repeat(TOKEN_BYTES_MAX + 1)).is_none());
        assert!(!format!("{one:?} {:?}", one.hash()).contains(one.expose()));
    }
}
