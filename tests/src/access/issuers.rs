//! Several issuers: each vouches for its own tokens only.

use serde_json::json;
use tidings_daemon::access::refusal::TokenError;

use super::keys::{Pair, sign_with_secret};
use super::{Files, authenticator, claims, identify};

const SECRET: &str = "the secret of the main issuer, long enough";

fn of(issuer: &str) -> serde_json::Value {
    let mut claims = claims("alice");
    claims["iss"] = issuer.into();
    claims
}

#[tokio::test]
async fn the_iss_chooses_and_the_signature_decides() {
    let files = Files::new();
    let (a, b) = (Pair::p256(), Pair::ed25519());
    let toml = format!(
        "[[jwt.issuers]]\nissuer = \"https://a\"\npublic_key_file = \"{}\"\naudience = [\"tidings\"]\n\
         [[jwt.issuers]]\nissuer = [\"https://b\", \"https://old.b\"]\npublic_key_file = \"{}\"\n\
         tenant_claim = '\"https://b/claims\".tenant'\nrole_claim = \"roles\"\n",
        files.write("a.pem", &a.public_pem),
        files.write("b.pem", &b.public_pem)
    );
    let authenticator = authenticator(&toml).unwrap();
    let mut from_a = of("https://a");
    from_a["aud"] = json!(["x", "tidings"]);
    assert_eq!(
        identify(&authenticator, &a.sign(None, &from_a)).await.unwrap().tenant.as_deref(),
        Some("acme")
    );
    from_a["aud"] = json!("x");
    assert_eq!(identify(&authenticator, &a.sign(None, &from_a)).await.unwrap_err(), TokenError::Audience);

    // The paths of one issuer are not those of the other.
    for name in ["https://b", "https://old.b"] {
        let mut from_b = of(name);
        from_b["https://b/claims"] = json!({ "tenant": "emca" });
        from_b["roles"] = json!(["first", "second"]);
        let identity = identify(&authenticator, &b.sign(None, &from_b)).await.unwrap();
        assert_eq!((identity.tenant.as_deref(), identity.role.as_deref()), (Some("emca"), Some("first")));
    }

    for (pair, issuer, refusal) in [
        // Signed by the other one: with another algorithm, so it is not even tried.
        (&a, "https://b", TokenError::Algorithm),
        (&b, "https://a", TokenError::Algorithm),
        (&a, "https://c", TokenError::Issuer),
        (&Pair::p256(), "https://a", TokenError::Signature),
    ] {
        assert_eq!(
            identify(&authenticator, &pair.sign(None, &of(issuer))).await.unwrap_err(),
            refusal,
            "{issuer}"
        );
    }
    assert_eq!(
        identify(&authenticator, &a.sign(None, &claims("alice"))).await.unwrap_err(),
        TokenError::Issuer
    );
    let mut list = of("https://a");
    list["iss"] = json!(["https://a", "https://b"]);
    assert_eq!(identify(&authenticator, &a.sign(None, &list)).await.unwrap_err(), TokenError::Issuer);
}

#[tokio::test]
async fn keys_of_one_kind_are_not_mixed_up_either() {
    let files = Files::new();
    let (a, b) = (Pair::p256(), Pair::p256());
    let toml = format!(
        "[[jwt.issuers]]\nissuer = \"a\"\npublic_key_file = \"{}\"\n\
         [[jwt.issuers]]\nissuer = \"b\"\npublic_key_file = \"{}\"\n",
        files.write("a.pem", &a.public_pem),
        files.write("b.pem", &b.public_pem)
    );
    let authenticator = authenticator(&toml).unwrap();
    assert!(identify(&authenticator, &a.sign(None, &of("a"))).await.is_ok());
    assert_eq!(identify(&authenticator, &a.sign(None, &of("b"))).await.unwrap_err(), TokenError::Signature);
}

#[tokio::test]
async fn the_single_issuer_of_old_stays_beside_the_tables() {
    let files = Files::new();
    let a = Pair::p256();
    let table = format!(
        "[[jwt.issuers]]\nissuer = \"a\"\npublic_key_file = \"{}\"\n",
        files.write("a.pem", &a.public_pem)
    );
    let sign = |claims| sign_with_secret(jsonwebtoken::Algorithm::HS256, SECRET, &claims);

    // Without a name it has whoever has no table.
    let open = authenticator(&format!("[jwt]\nsecret = \"{SECRET}\"\n{table}")).unwrap();
    for token in [sign(claims("alice")), sign(of("anybody")), a.sign(None, &of("a"))] {
        assert!(identify(&open, &token).await.is_ok());
    }
    // Its key does not vouch for those who have one.
    assert_eq!(identify(&open, &sign(of("a"))).await.unwrap_err(), TokenError::Algorithm);

    let named = authenticator(&format!("[jwt]\nsecret = \"{SECRET}\"\nissuer = \"me\"\n{table}")).unwrap();
    assert!(identify(&named, &sign(of("me"))).await.is_ok());
    assert_eq!(identify(&named, &sign(of("anybody"))).await.unwrap_err(), TokenError::Issuer);
    assert_eq!(identify(&named, &sign(claims("alice"))).await.unwrap_err(), TokenError::Issuer);
}
