//! A key and what it may be used for: a key never meets an algorithm of another family.

use std::path::Path;

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::{JwtAlgorithm, Secret};

use JwtAlgorithm::{EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

/// RFC 7518, section 3.3.
pub(super) const RSA_BITS_MIN: usize = 2048;
/// The most that the library verifies with.
pub(super) const RSA_BITS_MAX: usize = 4096;
const ED25519_BYTES: usize = 32;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A shared secret.
    Secret,
    /// An RSA public key.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// A point on Ed25519.
    Ed25519,
}

impl KeyKind {
    /// The algorithms that such keys are for; the first is the usual one.
    pub const fn algorithms(self) -> &'static [JwtAlgorithm] {
        match self {
            Self::Secret => &[Hs256, Hs384, Hs512],
            Self::Rsa => &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            Self::P256 => &[Es256],
            Self::P384 => &[Es384],
            Self::Ed25519 => &[EdDsa],
        }
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Secret => "a shared secret",
            Self::Rsa => "an RSA key",
            Self::P256 => "an EC key on P-256",
            Self::P384 => "an EC key on P-384",
            Self::Ed25519 => "an Ed25519 key",
        }
    }
}

impl std::fmt::Display for KeyKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.description())
    }
}

/// The same algorithm in the library's words.
pub const fn library(algorithm: JwtAlgorithm) -> Algorithm {
    match algorithm {
        Hs256 => Algorithm::HS256,
        Hs384 => Algorithm::HS384,
        Hs512 => Algorithm::HS512,
        Rs256 => Algorithm::RS256,
        Rs384 => Algorithm::RS384,
        Rs512 => Algorithm::RS512,
        Ps256 => Algorithm::PS256,
        Ps384 => Algorithm::PS384,
        Ps512 => Algorithm::PS512,
        Es256 => Algorithm::ES256,
        Es384 => Algorithm::ES384,
        EdDsa => Algorithm::EdDSA,
    }
}

/// The least bytes of a secret: those of the hash (RFC 7518, section 3.2).
pub const fn secret_bytes_min(algorithm: JwtAlgorithm) -> usize {
    match algorithm {
        Hs384 => 48,
        Hs512 => 64,
        _ => 32,
    }
}

/// A key that verifies.
#[derive(Clone)]
pub struct Key {
    /// Its name in a set.
    pub id: Option<String>,
    /// What it is.
    pub kind: KeyKind,
    /// The one algorithm that its set says it is for.
    pub only: Option<JwtAlgorithm>,
    /// The key itself.
    pub decoding: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Key").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Why something is not a key that verifies.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("the file {path} {problem}")]
    File {
        /// The file.
        path: String,
        /// What it is, or lacks.
        problem: String,
    },
    /// A member of a key set that is of no use.
    #[error("{0}")]
    Member(&'static str),
}

impl Key {
    /// A shared secret.
    pub fn secret(secret: &Secret) -> Self {
        let decoding = DecodingKey::from_secret(secret.expose().as_bytes());
        Self { id: None, kind: KeyKind::Secret, only: None, decoding }
    }

    /// The public key of a PEM file.
    ///
    /// # Errors
    /// If there is no such file, or it holds anything but one public key of a known kind.
    pub fn from_pem_file(file: &Path) -> Result<Self, KeyError> {
        let path = file.display().to_string();
        let pem =
            std::fs::read(file).map_err(|source| KeyError::Unreadable { path: path.clone(), source })?;
        Self::from_pem(&pem).map_err(|problem| KeyError::File { path, problem })
    }

    fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(pem);
        if text.contains("PRIVATE KEY-----") {
            return Err("holds a private key, which belongs to the issuer alone; give the public one \
                        (`openssl pkey -pubout`)"
                .into());
        }
        if text.contains("-----BEGIN CERTIFICATE") {
            return Err("holds a certificate; take its key out (`openssl x509 -pubkey -noout`)".into());
        }
        match text.matches("-----BEGIN ").count() {
            0 => return Err("holds no key in PEM form (-----BEGIN PUBLIC KEY-----)".into()),
            1 => {}
            count => {
                return Err(format!(
                    "holds {count} PEM blocks; a file holds one key, several need jwks_url or [[jwt.issuers]]"
                ));
            }
        }
        let (kind, decoding) = if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            let bits = rsa_bits(&key).ok_or_else(|| size_of_rsa(None))?;
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                return Err(size_of_rsa(Some(bits)));
            }
            (KeyKind::Rsa, key)
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            let curve = [KeyKind::P256, KeyKind::P384].into_iter().find(|kind| usable(&key, *kind));
            (curve.ok_or("holds an EC key that is neither on P-256 nor on P-384")?, key)
        } else {
            let key = DecodingKey::from_ed_pem(pem).ok().filter(|key| usable(key, KeyKind::Ed25519));
            (KeyKind::Ed25519, key.ok_or("holds no public key that is RSA, EC or Ed25519")?)
        };
        Ok(Self { id: None, kind, only: None, decoding })
    }
}

fn size_of_rsa(bits: Option<usize>) -> String {
    let found = bits.map_or("another size".to_owned(), |bits| format!("{bits} bits"));
    format!("holds an RSA key of {found}; {RSA_BITS_MIN} to {RSA_BITS_MAX} bits can be used")
}

/// The size of an RSA key in DER form; nothing if it is none that the library takes.
fn rsa_bits(key: &DecodingKey) -> Option<usize> {
    let der = key.try_get_as_bytes().ok()?;
    let (modulus, _) = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).ok()?;
    Some(bits(&modulus))
}

/// The bits of a number without its leading zeros.
pub(super) fn bits(number: &[u8]) -> usize {
    let significant = number.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &number[start..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// Whether a key is what it should be: the library looks at a point only when it verifies with it, and
/// takes it for granted that an Ed25519 key has its 32 bytes.
pub(super) fn usable(key: &DecodingKey, kind: KeyKind) -> bool {
    let bytes = key.try_get_as_bytes().unwrap_or_default();
    (kind != KeyKind::Ed25519 || bytes.len() == ED25519_BYTES)
        && jsonwebtoken::crypto::verify("", b"", key, library(kind.algorithms()[0])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_named() {
        let message = |pem: &str| Key::from_pem(pem.as_bytes()).unwrap_err();
        let public = include_str!("testdata/rs256_public.pem");
        assert_eq!(Key::from_pem(public.as_bytes()).unwrap().kind, KeyKind::Rsa);
        assert!(message("").contains("no key in PEM form"));
        assert!(
            message("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").contains("a private key")
        );
        assert!(
            message("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----").contains("a certificate")
        );
        assert!(message(&public.repeat(2)).contains("2 PEM blocks"));
        assert!(
            message("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----").contains("no public key")
        );
        assert!(message("-----BEGIN PUBLIC KEY-----").contains("no public key"));
    }

    #[test]
    fn the_size_of_a_number_is_that_without_zeros() {
        assert_eq!([bits(&[]), bits(&[0, 0]), bits(&[0, 1]), bits(&[0x80, 0])], [0, 0, 1, 16]);
    }
}
