//! Whatever is not exactly a signed token is refused, and nothing panics.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_daemon::access::authenticator::Authenticator;
use tidings_daemon::access::refusal::TokenError;

use super::keys::{Pair, rsa, sign_with_secret};
use super::{Files, authenticator, claims, identify};

const SECRET: &str = "the secret of the tokens that are mutated";

/// Four issuers of different kinds, and a good token of each.
fn victims() -> &'static (Authenticator, Vec<String>) {
    static VICTIMS: OnceLock<(Authenticator, Vec<String>)> = OnceLock::new();
    VICTIMS.get_or_init(|| {
        let files = Files::new();
        let (p256, ed25519) = (Pair::p256(), Pair::ed25519());
        let mut toml = format!("[jwt]\nsecret = \"{SECRET}\"\n");
        let mut tokens = vec![sign_with_secret(Algorithm::HS256, SECRET, &claims("alice"))];
        for (name, pair) in [("r", rsa()), ("p", &p256), ("e", &ed25519)] {
            let file = files.write(&format!("{name}.pem"), &pair.public_pem);
            toml += &format!("[[jwt.issuers]]\nissuer = \"{name}\"\npublic_key_file = \"{file}\"\n");
            let mut claims = claims("alice");
            claims["iss"] = name.into();
            tokens.push(pair.sign(Some("k"), &claims));
        }
        (authenticator(&toml).unwrap(), tokens)
    })
}

/// Nothing waits here: no key has to be fetched.
fn judge(token: &str) -> Result<(), TokenError> {
    let identity = identify(&victims().0, token);
    futures_util::FutureExt::now_or_never(identity).expect("an answer at once").map(drop)
}

fn with_head(head: &str) -> String {
    let (_, rest) = victims().1[0].split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head))
}

#[test]
fn the_victims_pass_as_they_are() {
    for token in &victims().1 {
        assert_eq!(judge(token), Ok(()));
    }
}

/// Every letter of every token changed, and every token cut short.
#[test]
fn no_letter_can_be_changed_or_spared() {
    for token in &victims().1 {
        for place in 0..token.len() {
            assert!(judge(&token[..place]).is_err(), "cut at {place}");
            for bit in [0, 2, 5] {
                let mut bytes = token.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                let mutated = String::from_utf8(bytes).unwrap();
                assert!(judge(&mutated).is_err(), "bit {bit} at {place}: {mutated}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_piece_put_elsewhere_is_refused(
        which in 0..4_usize, other in 0..4_usize, from in 0..2000_usize, to in 0..2000_usize, length in 1..200_usize,
    ) {
        let (token, other) = (&victims().1[which], &victims().1[other]);
        let cut = |text: &str, at: usize| at % text.len();
        let start = cut(other, from);
        let piece = &other[start..(start + length).min(other.len())];
        let place = cut(token, to);
        let inserted = format!("{}{piece}{}", &token[..place], &token[place..]);
        prop_assert!(judge(&inserted).is_err());
        let end = (place + piece.len()).min(token.len());
        let replaced = format!("{}{piece}{}", &token[..place], &token[end..]);
        prop_assert!(replaced == *token || judge(&replaced).is_err());
    }

    #[test]
    fn parts_of_different_tokens_do_not_fit(parts in prop::collection::vec((0..4_usize, 0..3_usize), 0..6)) {
        let tokens: Vec<Vec<&str>> = victims().1.iter().map(|token| token.split('.').collect()).collect();
        let joined = parts.iter().map(|(token, part)| tokens[*token][*part]).collect::<Vec<_>>().join(".");
        prop_assert!(victims().1.contains(&joined) || judge(&joined).is_err());
    }

    #[test]
    fn nonsense_is_refused(text in "\\PC{0,300}", encoded in "[A-Za-z0-9_-]{0,100}(\\.[A-Za-z0-9_-]{0,100}){0,4}") {
        prop_assert!(judge(&text).is_err());
        prop_assert!(judge(&encoded).is_err());
    }

    #[test]
    fn heads_of_any_form_are_refused(
        alg in prop_oneof![Just("HS256"), Just("RS256"), Just("ES256"), Just("EdDSA"), Just("none"), Just("HS384")],
        name in "(alg|kid|typ|crit|jwk|jku|x5c|b64|zip|enc|x5t#S256)",
        value in "(null|true|-1|1e999|\"\"|\"k\"|\\[\\]|\\{\\}|\\[\"b64\"\\]|\\{\"kty\":\"oct\"\\})",
    ) {
        for iss in [json!(null), json!("r"), json!("p"), json!("e")] {
            let head = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{alg}\",\"{name}\":{value}}}"));
            let mut claims = claims("admin");
            claims["iss"] = iss;
            let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
            for signature in ["", "AAAA", &"A".repeat(86), &"A".repeat(342), &"A".repeat(43)] {
                let token = format!("{head}.{payload}.{signature}");
                prop_assert!(judge(&token).is_err());
            }
        }
    }

    /// Claims that are signed may say anything: they name somebody, or are refused, and nothing else happens.
    #[test]
    fn signed_claims_of_any_form_are_bounded(
        name in "(sub|tenant_id|role|exp|nbf|iss|aud|iat)",
        value in "(null|true|-1|0|1\\.5|18446744073709551616|1e999|\"\"|\"x\"|\\[\\]|\\[\"x\"\\]|\\[\\[\\]\\]|\\{\\})",
        depth in 0..200_usize,
    ) {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let payload = format!("{{\"exp\":{},\"deep\":{deep},\"{name}\":{value}}}", super::now() + 600);
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(payload));
        let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256).unwrap();
        let outcome = judge(&format!("{signed}.{signature}"));
        // Deeper than any claim has to be: refused, not followed.
        prop_assert!(depth < 130 || outcome.is_err());
    }
}

#[test]
fn giants_are_refused_before_they_are_read() {
    let kid = with_head(&json!({ "alg": "HS256", "kid": "k".repeat(1 << 20) }).to_string());
    assert_eq!(judge(&kid), Err(TokenError::TooLong));
    assert_eq!(judge(&".".repeat(1 << 20)), Err(TokenError::TooLong));
    let mut claims = claims("alice");
    claims["more"] = Value::String("x".repeat(7000));
    assert_eq!(judge(&sign_with_secret(Algorithm::HS256, SECRET, &claims)), Err(TokenError::TooLong));
    claims["more"] = Value::String("x".repeat(5000));
    assert_eq!(judge(&sign_with_secret(Algorithm::HS256, SECRET, &claims)), Ok(()));
    assert_eq!(judge(&with_head(&"[".repeat(4000))), Err(TokenError::Malformed));
}
