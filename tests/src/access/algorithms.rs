//! Each algorithm passes where it is pinned and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use rsa::RsaPublicKey;
use rsa::pkcs1::EncodeRsaPublicKey;
use rsa::pkcs8::{DecodePublicKey, LineEnding};
use serde_json::json;
use tidings_daemon::access::refusal::TokenError;

use super::keys::{Pair, rsa, sign_with_secret};
use super::{Files, authenticator, claims, identify};

const SECRET: &str = "a secret of at least sixty-four bytes, which is what HS512 asks for";

/// Every algorithm, with a token of it and the setting of its key.
fn all(files: &Files) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = sign_with_secret(algorithm, SECRET, &claims("alice"));
        all.push((format!("{algorithm:?}"), token, format!("secret = \"{SECRET}\"")));
    }
    for pair in [rsa(), &Pair::p256(), &Pair::p384(), &Pair::ed25519()] {
        let file = files.write(&format!("{:?}.pem", pair.algorithms[0]), &pair.public_pem);
        for algorithm in pair.algorithms {
            let token = pair.sign_with(*algorithm, None, &claims("alice"));
            all.push((format!("{algorithm:?}"), token, format!("public_key_file = \"{file}\"")));
        }
    }
    all
}

#[tokio::test]
async fn each_algorithm_passes_where_it_is_pinned_and_nowhere_else() {
    let files = Files::new();
    let all = all(&files);
    assert_eq!(all.len(), 12);
    for (pinned, _, key) in &all {
        let authenticator = authenticator(&format!("[jwt]\nalgorithm = \"{pinned}\"\n{key}")).unwrap();
        for (algorithm, token, _) in &all {
            let identity = identify(&authenticator, token).await;
            if algorithm == pinned {
                assert_eq!(identity.unwrap().user.as_deref(), Some("alice"), "{algorithm}");
            } else {
                assert_eq!(
                    identity.unwrap_err(),
                    TokenError::Algorithm,
                    "{algorithm} where {pinned} is pinned"
                );
            }
        }
    }
}

#[tokio::test]
async fn without_a_setting_the_usual_algorithm_of_the_key_is_pinned() {
    let files = Files::new();
    let usual = ["HS256", "RS256", "ES256", "ES384", "EdDSA"];
    for (algorithm, token, key) in all(&files) {
        let identity = identify(&authenticator(&format!("[jwt]\n{key}")).unwrap(), &token).await;
        assert_eq!(identity.is_ok(), usual.contains(&&*algorithm), "{algorithm}");
    }
}

#[tokio::test]
async fn an_rsa_key_may_be_in_either_form() {
    let files = Files::new();
    let key = RsaPublicKey::from_public_key_pem(&rsa().public_pem).unwrap();
    let file = files.write("pkcs1.pem", &key.to_pkcs1_pem(LineEnding::LF).unwrap());
    let authenticator = authenticator(&format!("[jwt]\npublic_key_file = \"{file}\"")).unwrap();
    assert!(identify(&authenticator, &rsa().sign(None, &claims("alice"))).await.is_ok());
}

/// The attack: a public key, which anybody has, as the secret of an HMAC.
#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let files = Files::new();
    for pair in [rsa(), &Pair::p256(), &Pair::ed25519()] {
        let file = files.write("public.pem", &pair.public_pem);
        let public = authenticator(&format!("[jwt]\npublic_key_file = \"{file}\"")).unwrap();
        for secret in [&*pair.public_pem, pair.public_pem.trim_end()] {
            for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
                let forged = sign_with_secret(algorithm, secret, &claims("admin"));
                assert_eq!(identify(&public, &forged).await.unwrap_err(), TokenError::Algorithm);
            }
        }
        let wrong = authenticator(&format!("[jwt]\nsecret = '''{}'''", pair.public_pem)).unwrap_err();
        assert!(wrong.contains("PEM") && !wrong.contains(&pair.public_pem), "{wrong}");
    }
}

/// Other attacks: no signature, and keys that the token brings along.
#[tokio::test]
async fn a_token_does_not_say_how_it_is_checked() {
    let files = Files::new();
    let pair = Pair::p256();
    let file = files.write("public.pem", &pair.public_pem);
    let authenticator = authenticator(&format!("[jwt]\npublic_key_file = \"{file}\"")).unwrap();
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = pair.sign(None, &claims("alice"));
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    assert!(identify(&authenticator, &good).await.is_ok());
    for alg in ["none", "NONE", "nOnE", ""] {
        let head = encode(json!({ "alg": alg, "typ": "JWT" }));
        for signature in ["", signature] {
            let token = format!("{head}.{payload}.{signature}");
            assert_eq!(identify(&authenticator, &token).await.unwrap_err(), TokenError::Algorithm);
        }
    }
    assert!(identify(&authenticator, &format!("{head}.{payload}.")).await.is_err());

    let attacker = Pair::p256();
    let own = attacker.sign(None, &claims("admin"));
    let (_, rest) = own.split_once('.').unwrap();
    assert_eq!(identify(&authenticator, &own).await.unwrap_err(), TokenError::Signature);
    for extra in
        [json!({ "jwk": attacker.jwk("a") }), json!({ "jku": "http://127.0.0.1:1/" }), json!({ "x5c": [] })]
    {
        let mut head = json!({ "alg": "ES256" });
        head.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        assert!(identify(&authenticator, &format!("{}.{rest}", encode(head))).await.is_err());
    }
}
