//! JSON Web Tokens: checked with one pinned algorithm, and minted for demonstrations.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::config::{Jwt, JwtAlgorithm, Secret};

/// Longest token that is looked at; larger ones would cost time before they are refused.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Checks tokens.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Verifier")
            .field("algorithms", &self.validation.algorithms)
            .finish_non_exhaustive()
    }
}

/// Why there can be no verifier.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Settings that do not go together.
    #[error("{0}")]
    Combination(&'static str),
    /// The key file cannot be read.
    #[error("the file {path} of setting `jwt.public_key_file` cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key file holds no RSA public key.
    #[error("the file {path} of setting `jwt.public_key_file` holds no RSA public key in PEM form: {source}")]
    NotAKey {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
}

/// Why a token is refused. Clients learn only whether it has expired.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Anything else; the reason is for the log and holds nothing of the token.
    #[error("the token is invalid: {0}")]
    Invalid(&'static str),
}

impl Verifier {
    /// A verifier for the configured key and algorithm.
    ///
    /// # Errors
    /// If key and algorithm do not fit, or the key cannot be read.
    pub fn new(jwt: &Jwt) -> Result<Self, KeyError> {
        let (key, algorithm) = match (pinned(jwt)?, &jwt.secret, &jwt.public_key_file) {
            (JwtAlgorithm::Hs256, Some(secret), _) => {
                (DecodingKey::from_secret(secret.expose().as_bytes()), Algorithm::HS256)
            }
            (JwtAlgorithm::Rs256, _, Some(file)) => {
                let path = file.display().to_string();
                let pem = std::fs::read(file)
                    .map_err(|source| KeyError::Unreadable { path: path.clone(), source })?;
                let key =
                    DecodingKey::from_rsa_pem(&pem).map_err(|source| KeyError::NotAKey { path, source })?;
                (key, Algorithm::RS256)
            }
            (JwtAlgorithm::Hs256, None, _) => {
                return Err(KeyError::Combination(
                    "jwt.algorithm = HS256 needs jwt.secret (TIDINGS_JWT_SECRET)",
                ));
            }
            (JwtAlgorithm::Rs256, _, None) => {
                return Err(KeyError::Combination("jwt.algorithm = RS256 needs jwt.public_key_file"));
            }
        };
        let mut validation = Validation::new(algorithm);
        validation.leeway = jwt.leeway.as_secs();
        validation.validate_nbf = true;
        let mut required = vec!["exp"];
        if !jwt.issuers.is_empty() {
            validation.set_issuer(&jwt.issuers);
            required.push("iss");
        }
        // Without a configured audience a token may name any: the library would refuse it instead.
        validation.validate_aud = !jwt.audiences.is_empty();
        if validation.validate_aud {
            validation.set_audience(&jwt.audiences);
            required.push("aud");
        }
        validation.set_required_spec_claims(&required);
        Ok(Self { key, validation })
    }

    /// The claims of a token that passes.
    ///
    /// # Errors
    /// If it does not.
    pub fn verify(&self, token: &Secret) -> Result<Map<String, Value>, TokenError> {
        if token.expose().len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid("too long"));
        }
        let token = jsonwebtoken::decode::<Map<String, Value>>(token.expose(), &self.key, &self.validation)
            .map_err(|error| refusal(error.kind()))?;
        // RFC 7515, section 4.1.11: what is critical and not understood refuses the token.
        if token.header.crit.is_some() {
            return Err(TokenError::Invalid("it has a critical header, and none is understood"));
        }
        Ok(token.claims)
    }
}

/// The one algorithm: the configured one, else the one that the only key is for.
fn pinned(jwt: &Jwt) -> Result<JwtAlgorithm, KeyError> {
    match (jwt.algorithm, &jwt.secret, &jwt.public_key_file) {
        (_, Some(_), Some(_)) => Err(KeyError::Combination(
            "jwt.secret and jwt.public_key_file are both set: tokens are checked with one key, remove the other",
        )),
        (Some(algorithm), ..) => Ok(algorithm),
        (None, Some(_), None) => Ok(JwtAlgorithm::Hs256),
        (None, None, Some(_)) => Ok(JwtAlgorithm::Rs256),
        (None, None, None) => Err(KeyError::Combination(
            "auth = jwt needs a key: set TIDINGS_JWT_SECRET (HS256, at least 32 bytes) or jwt.public_key_file (RS256)",
        )),
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    TokenError::Invalid(match kind {
        ErrorKind::ExpiredSignature => return TokenError::Expired,
        ErrorKind::InvalidSignature => "its signature does not match",
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
            "its algorithm is not the configured one"
        }
        ErrorKind::ImmatureSignature => "its nbf lies in the future",
        ErrorKind::InvalidIssuer => "its iss is not the configured one",
        ErrorKind::InvalidAudience => "its aud is not the configured one",
        ErrorKind::MissingRequiredClaim(_) => "it lacks exp, iss or aud",
        ErrorKind::InvalidClaimFormat(_) => "one of exp, nbf, iss or aud is of the wrong type",
        _ => "it is not a JSON Web Token",
    })
}

/// Signs claims with a shared secret.
///
/// # Errors
/// If the library cannot sign; it always can with a secret.
pub fn mint(secret: &Secret, claims: &Map<String, Value>) -> Result<String, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn settings() -> Jwt {
        Jwt { secret: Some(Secret::new("s".repeat(32))), ..Config::default().jwt }
    }

    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }

    fn check(jwt: &Jwt, claims: &Value) -> Result<Map<String, Value>, String> {
        let token = mint(&Secret::new("s".repeat(32)), claims.as_object().unwrap()).unwrap();
        Verifier::new(jwt).unwrap().verify(&Secret::new(token)).map_err(|error| error.to_string())
    }

    #[test]
    fn times_issuer_and_audience_are_checked() {
        let later = now() + 60;
        assert_eq!(check(&settings(), &json!({ "sub": "u", "exp": later })).unwrap()["sub"], "u");
        assert_eq!(check(&settings(), &json!({ "exp": now() - 60 })).unwrap_err(), "the token has expired");
        assert!(check(&settings(), &json!({})).unwrap_err().contains("lacks exp"));
        assert!(check(&settings(), &json!({ "exp": later, "nbf": later })).unwrap_err().contains("nbf"));
        assert!(check(&settings(), &json!({ "exp": later, "aud": "anything" })).is_ok());

        let strict = Jwt { issuers: vec!["me".into()], audiences: vec!["you".into()], ..settings() };
        assert!(check(&strict, &json!({ "exp": later, "iss": "me", "aud": ["x", "you"] })).is_ok());
        assert!(check(&strict, &json!({ "exp": later, "iss": "she", "aud": "you" })).is_err());
        assert!(check(&strict, &json!({ "exp": later, "iss": "me", "aud": "x" })).is_err());
        assert!(check(&strict, &json!({ "exp": later, "iss": "me" })).is_err());
        assert!(check(&strict, &json!({ "exp": later, "aud": "you" })).is_err());
    }

    #[test]
    fn only_the_pinned_algorithm_and_key_pass() {
        let verifier = Verifier::new(&settings()).unwrap();
        let refuse = |token: &str| verifier.verify(&Secret::new(token)).unwrap_err().to_string();
        // {"alg":"none"} . {"exp":9999999999} .
        assert!(refuse("eyJhbGciOiJub25lIn0.eyJleHAiOjk5OTk5OTk5OTl9.").contains("invalid"));
        let claims = json!({ "exp": now() + 60 });
        let other = mint(&Secret::new("x".repeat(32)), claims.as_object().unwrap()).unwrap();
        assert!(refuse(&other).contains("signature"));
        let key = EncodingKey::from_secret("s".repeat(32).as_bytes());
        let longer = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims, &key).unwrap();
        assert!(refuse(&longer).contains("algorithm"));
        assert!(refuse(&"a".repeat(TOKEN_BYTES_MAX + 1)).contains("too long"));
        assert!(refuse("").contains("invalid"));
    }

    #[test]
    fn keys_that_do_not_fit_are_refused_by_name() {
        let message = |jwt: Jwt| Verifier::new(&jwt).unwrap_err().to_string();
        assert!(message(Config::default().jwt).contains("TIDINGS_JWT_SECRET"));
        assert!(
            message(Jwt { algorithm: Some(JwtAlgorithm::Rs256), ..settings() }).contains("public_key_file")
        );
        assert!(message(Jwt { public_key_file: Some("k.pem".into()), ..settings() }).contains("both set"));
        let missing = Jwt { public_key_file: Some("no/such.pem".into()), ..Config::default().jwt };
        assert!(message(missing).contains("no/such.pem"));
    }

    /// The private key was thrown away; the token expires in the year 2286.
    #[test]
    fn rs256_is_checked_with_a_public_key_which_is_no_secret() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/access/testdata/rs256_public.pem");
        let jwt = Jwt { public_key_file: Some(file.into()), ..Config::default().jwt };
        let verifier = Verifier::new(&jwt).unwrap();
        let token = include_str!("testdata/rs256_token.txt").trim();
        assert_eq!(verifier.verify(&Secret::new(token)).unwrap()["sub"], "u");

        let (signed, _) = token.rsplit_once('.').unwrap();
        assert!(verifier.verify(&Secret::new(format!("{signed}.AAAA"))).is_err());
        // Algorithm confusion: the public key, which anybody has, used as the secret of HS256.
        let pem = Secret::new(std::fs::read_to_string(file).unwrap());
        let forged = mint(&pem, json!({ "sub": "u", "exp": now() + 60 }).as_object().unwrap()).unwrap();
        assert!(verifier.verify(&Secret::new(forged)).unwrap_err().to_string().contains("algorithm"));
    }
}
