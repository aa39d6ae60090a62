//! JSON Web Tokens: checked with pinned algorithms, and minted for demonstrations.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{EncodingKey, Header, Validation};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Map, Value};

use super::issuer::{Issuer, Keys};
use super::key::{Key, library};
use super::refusal::TokenError;
use crate::config::{JwtAlgorithm, Secret};

/// Longest token that is looked at; larger ones would cost time before they are refused.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Checks the tokens of one issuer.
#[derive(Debug)]
pub struct Verifier {
    issuer: Issuer,
    validations: HashMap<JwtAlgorithm, Validation>,
}

/// What of a token's header is looked at. Keys that a token brings along, or says where to find, are not.
#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// Whom a token says that it is from, before anything of it is verified: for choosing who verifies.
#[derive(Deserialize)]
struct Claimed {
    iss: Option<Value>,
}

/// What an unverified token says about its issuer; nothing if it says nothing.
///
/// # Errors
/// If it is no token, or names its issuer in another form than a text.
pub fn claimed_issuer(token: &Secret) -> Result<Option<String>, TokenError> {
    if token.expose().len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong);
    }
    match part::<Claimed>(token, 1)?.iss {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(_) => Err(TokenError::Issuer),
    }
}

fn part<T: DeserializeOwned>(token: &Secret, number: usize) -> Result<T, TokenError> {
    let mut parts = token.expose().split('.');
    let encoded = parts.nth(number).ok_or(TokenError::Malformed)?;
    let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&decoded).map_err(|_| TokenError::Malformed)
}

impl Verifier {
    /// A verifier for an issuer, with a tolerance between clocks.
    pub fn new(issuer: Issuer, leeway: Duration) -> Self {
        let validation = |algorithm: &JwtAlgorithm| (*algorithm, validation(&issuer, *algorithm, leeway));
        let validations = issuer.algorithms.iter().map(validation).collect();
        Self { issuer, validations }
    }

    /// The issuer.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The claims of a token that passes. Waits, not for long, for keys that have to be fetched.
    ///
    /// # Errors
    /// If it does not.
    pub async fn verify(&self, token: &Secret) -> Result<Map<String, Value>, TokenError> {
        if token.expose().len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let head: Head = part(token, 0)?;
        if head.crit.is_some() {
            return Err(TokenError::Critical);
        }
        let pinned = self.issuer.algorithms.iter().find(|algorithm| algorithm.name() == head.alg);
        let algorithm = *pinned.ok_or(TokenError::Algorithm)?;
        let validation = self.validations.get(&algorithm).ok_or(TokenError::Algorithm)?;
        let id = head.kid.as_deref();
        let keys: Vec<Key> = match &self.issuer.keys {
            Keys::Local(keys) => keys.candidates(id, algorithm).cloned().collect(),
            Keys::Remote(keys, _) => keys.candidates(id, algorithm).await?,
        };
        let mut refused = TokenError::UnknownKey;
        for key in keys {
            match jsonwebtoken::decode::<Map<String, Value>>(token.expose(), &key.decoding, validation) {
                Ok(token) => return self.accept(token.claims),
                Err(error) => refused = refusal(error.kind()),
            }
            if refused != TokenError::Signature {
                break;
            }
        }
        Err(refused)
    }

    fn accept(&self, claims: Map<String, Value>) -> Result<Map<String, Value>, TokenError> {
        // RFC 7519, section 4.1.1: one text. The library takes a list, too.
        if !self.issuer.names.is_empty() && !claims.get("iss").is_some_and(Value::is_string) {
            return Err(TokenError::Claims);
        }
        Ok(claims)
    }
}

fn validation(issuer: &Issuer, algorithm: JwtAlgorithm, leeway: Duration) -> Validation {
    let mut validation = Validation::new(library(algorithm));
    validation.leeway = leeway.as_secs();
    // Not accepted "on or after" that moment (RFC 7519, section 4.1.4); the library would, for the rest of the second.
    validation.reject_tokens_expiring_in_less_than = 1;
    validation.validate_nbf = true;
    let mut required = vec!["exp"];
    if !issuer.names.is_empty() {
        validation.set_issuer(&issuer.names);
        required.push("iss");
    }
    // Without a configured audience a token may name any: the library would refuse it instead.
    validation.validate_aud = !issuer.audiences.is_empty();
    if validation.validate_aud {
        validation.set_audience(&issuer.audiences);
        required.push("aud");
    }
    validation.set_required_spec_claims(&required);
    validation
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::MissingAlgorithm => {
            TokenError::Algorithm
        }
        ErrorKind::ImmatureSignature => TokenError::Immature,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => TokenError::Claims,
        _ => TokenError::Malformed,
    }
}

/// Signs claims with a shared secret.
///
/// # Errors
/// If the algorithm is for keys of another kind.
pub fn mint(
    secret: &Secret,
    algorithm: JwtAlgorithm,
    claims: &Map<String, Value>,
) -> Result<String, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(library(algorithm)), claims, &key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    const SECRET: &str = "a secret of at least sixty-four bytes, which is what HS512 asks for";

    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    }

    fn settings() -> Config {
        let mut config = Config::default();
        config.jwt.main.secret = Some(Secret::new(SECRET));
        config
    }

    fn verifier(config: &Config) -> Verifier {
        Verifier::new(Issuer::all(config).unwrap().remove(0), config.jwt.leeway)
    }

    async fn check(config: &Config, claims: &Value) -> Result<Map<String, Value>, TokenError> {
        let token = mint(&Secret::new(SECRET), JwtAlgorithm::Hs256, claims.as_object().unwrap()).unwrap();
        verifier(config).verify(&Secret::new(token)).await
    }

    #[tokio::test]
    async fn times_issuer_and_audience_are_checked() {
        let later = now() + 60;
        let refused = async |claims: Value| check(&settings(), &claims).await.unwrap_err();
        assert_eq!(check(&settings(), &json!({ "sub": "u", "exp": later })).await.unwrap()["sub"], "u");
        assert!(check(&settings(), &json!({ "exp": later, "aud": "anything" })).await.is_ok());
        assert_eq!(refused(json!({ "exp": now() - 60 })).await, TokenError::Expired);
        assert_eq!(refused(json!({ "exp": later, "nbf": later })).await, TokenError::Immature);
        for exp in [json!(null), json!("9999999999"), json!(-1), json!(true), json!(1e300)] {
            assert_eq!(refused(json!({ "exp": exp })).await, TokenError::Claims, "{exp}");
        }
        assert_eq!(refused(json!({})).await, TokenError::Claims);
        assert_eq!(refused(json!({ "exp": [later] })).await, TokenError::Malformed);
        assert_eq!(refused(json!({ "exp": later, "nbf": "soon" })).await, TokenError::Claims);

        let mut strict = settings();
        strict.jwt.main.names = vec!["me".into(), "myself".into()];
        strict.jwt.main.audiences = vec!["you".into()];
        let judge = async |iss: Value, aud: Value| {
            check(&strict, &json!({ "exp": later, "iss": iss, "aud": aud })).await.err()
        };
        assert_eq!(judge(json!("me"), json!(["x", "you"])).await, None);
        assert_eq!(judge(json!("myself"), json!("you")).await, None);
        assert_eq!(judge(json!("she"), json!("you")).await, Some(TokenError::Issuer));
        assert_eq!(judge(json!("me"), json!("x")).await, Some(TokenError::Audience));
        assert_eq!(judge(json!("me"), json!([])).await, Some(TokenError::Audience));
        for (iss, aud) in [
            (json!("me"), json!(null)),
            (json!(null), json!("you")),
            (json!(["me"]), json!("you")),
            (json!("me"), json!({ "you": 1 })),
            (json!("me"), json!(["you", 1])),
        ] {
            assert_eq!(judge(iss.clone(), aud.clone()).await, Some(TokenError::Claims), "{iss} {aud}");
        }
    }

    #[tokio::test]
    async fn clocks_may_differ_by_the_leeway() {
        let mut config = settings();
        config.jwt.leeway = Duration::from_secs(30);
        assert!(check(&config, &json!({ "exp": now() - 20, "nbf": now() + 20 })).await.is_ok());
        assert!(check(&config, &json!({ "exp": now() - 40 })).await.is_err());
        assert!(check(&config, &json!({ "exp": now() - 30 })).await.is_err(), "on that moment, it is over");
        assert!(check(&config, &json!({ "exp": now() + 60, "nbf": now() + 40 })).await.is_err());
    }

    #[tokio::test]
    async fn only_pinned_algorithms_and_keys_pass() {
        let verifier = verifier(&settings());
        let refuse = async |token: String| verifier.verify(&Secret::new(token)).await.unwrap_err();
        let encoded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let claims = json!({ "exp": now() + 60 });
        for alg in ["none", "None", "", "hs256", "HS384", "RS256", "ES512"] {
            let token = format!("{}.{}.", encoded(json!({ "alg": alg })), encoded(claims.clone()));
            assert_eq!(refuse(token).await, TokenError::Algorithm, "{alg}");
        }
        let claims = claims.as_object().unwrap();
        let other = mint(&Secret::new("x".repeat(32)), JwtAlgorithm::Hs256, claims).unwrap();
        assert_eq!(refuse(other).await, TokenError::Signature);
        let longer = mint(&Secret::new(SECRET), JwtAlgorithm::Hs512, claims).unwrap();
        assert_eq!(refuse(longer).await, TokenError::Algorithm);
        assert_eq!(refuse("a".repeat(TOKEN_BYTES_MAX + 1)).await, TokenError::TooLong);
        for nonsense in ["", ".", "..", "a.b.c", "e30.e30.", "bnVsbA.e30.", "W10.e30.e30"] {
            assert_eq!(refuse(nonsense.to_owned()).await, TokenError::Malformed, "{nonsense}");
        }
        for head in [json!({ "alg": "HS256", "crit": ["b64"] }), json!({ "alg": "HS256", "crit": [] })] {
            assert_eq!(refuse(format!("{}.e30.", encoded(head))).await, TokenError::Critical);
        }
    }

    #[tokio::test]
    async fn several_algorithms_of_one_key_may_be_pinned() {
        let mut config = settings();
        config.jwt.main.algorithms = vec![JwtAlgorithm::Hs384, JwtAlgorithm::Hs512];
        let verifier = verifier(&config);
        let claims = json!({ "exp": now() + 60 });
        for (algorithm, passes) in
            [(JwtAlgorithm::Hs256, false), (JwtAlgorithm::Hs384, true), (JwtAlgorithm::Hs512, true)]
        {
            let token = mint(&Secret::new(SECRET), algorithm, claims.as_object().unwrap()).unwrap();
            assert_eq!(verifier.verify(&Secret::new(token)).await.is_ok(), passes, "{algorithm:?}");
        }
    }

    /// The private key was thrown away; the token expires in the year 2286.
    #[tokio::test]
    async fn a_public_key_is_no_secret() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/access/testdata/rs256_public.pem");
        let mut config = Config::default();
        config.jwt.main.public_key_file = Some(file.into());
        let public = verifier(&config);
        let token = include_str!("testdata/rs256_token.txt").trim();
        assert_eq!(public.verify(&Secret::new(token)).await.unwrap()["sub"], "u");

        let (signed, _) = token.rsplit_once('.').unwrap();
        assert!(public.verify(&Secret::new(format!("{signed}.AAAA"))).await.is_err());
        // Algorithm confusion: the public key, which anybody has, used as the secret of HS256.
        let pem = Secret::new(std::fs::read_to_string(file).unwrap());
        let claims = json!({ "sub": "u", "exp": now() + 60 });
        let forged = mint(&pem, JwtAlgorithm::Hs256, claims.as_object().unwrap()).unwrap();
        assert_eq!(public.verify(&Secret::new(forged)).await.unwrap_err(), TokenError::Algorithm);
        // The other way round: the operator puts it where the secret belongs.
        let mut config = Config::default();
        config.jwt.main.secret = Some(pem);
        assert!(Issuer::all(&config).unwrap_err().to_string().contains("PEM"));
    }

    #[test]
    fn the_issuer_is_read_from_well_formed_claims_only() {
        let issuer =
            |claims: &str| claimed_issuer(&Secret::new(format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))));
        assert_eq!(issuer(r#"{"iss":"a"}"#), Ok(Some("a".into())));
        assert_eq!(issuer("{}"), Ok(None));
        assert_eq!(issuer(r#"{"iss":["a"]}"#), Err(TokenError::Issuer));
        assert_eq!(issuer(r#"{"iss":"a","iss":"b"}"#), Err(TokenError::Malformed));
        let deep = format!("{{\"iss\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
        assert_eq!(issuer(&deep), Err(TokenError::Malformed));
        assert_eq!(claimed_issuer(&Secret::new("a.".repeat(TOKEN_BYTES_MAX))), Err(TokenError::TooLong));
    }
}
