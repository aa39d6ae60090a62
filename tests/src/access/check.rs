//! `tidings check` on settings of access: what is wrong is said, with the setting and what to do.

use serde_json::Value;
use tokio::process::Command;

use super::Files;
use super::key_server::{Answer, KeyServer};
use super::keys::{Pair, rsa};
use crate::support::within;

/// What `tidings check` says about a file of settings, and whether it is content.
async fn check(files: &Files, toml: &str) -> (bool, String) {
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let file = files.write("tidings.toml", &format!("source = \"memory\"\n{toml}"));
    let output = Command::new(binary).args(["check", "--config", &file]).env_clear().output();
    let output = within("the check", output).await.unwrap();
    let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), told)
}

#[tokio::test]
async fn what_is_wrong_with_keys_and_algorithms_is_said() {
    let files = Files::new();
    let small = Pair::rsa(1024);
    let p256 = Pair::p256();
    let public = files.write("rsa.pem", &rsa().public_pem);
    let two = files.write("two.pem", &format!("{}{}", p256.public_pem, rsa().public_pem));
    let private = files.write("private.pem", &p256.private_pem);
    let small = files.write("small.pem", &small.public_pem);
    let nonsense = files.write("nonsense.pem", "not a key");
    let curve = files.write("curve.pem", &p256.public_pem);
    let missing = files.path("missing.pem");
    let secret = |bytes: usize| "s".repeat(bytes);
    for (toml, told) in [
        (format!("[jwt]\nsecret = \"{}\"", secret(31)), "jwt.secret"),
        ("[jwt]\nsecret = \"\"".to_owned(), "at least 32 bytes"),
        (format!("[jwt]\nsecret = \"{}\"\nalgorithm = \"HS384\"", secret(47)), "HS384 needs at least 48"),
        (format!("[jwt]\nsecret = \"{}\"\nalgorithm = \"HS512\"", secret(63)), "HS512 needs at least 64"),
        (format!("[jwt]\nsecret = \"{}\"\nalgorithm = \"none\"", secret(64)), "cannot be \"none\""),
        (format!("[jwt]\nsecret = \"{}\"\nalgorithm = \"ES512\"", secret(64)), "ES384, EdDSA"),
        (
            format!("[jwt]\nsecret = \"{}\"\nalgorithm = \"RS256\"", secret(64)),
            "does not go with `jwt.secret`",
        ),
        (
            format!("[jwt]\npublic_key_file = \"{public}\"\nalgorithm = \"ES256\""),
            "an RSA key: that is for RS256",
        ),
        (format!("[jwt]\npublic_key_file = \"{curve}\"\nalgorithm = \"ES384\""), "an EC key on P-256"),
        (
            format!("[jwt]\npublic_key_file = \"{curve}\"\nalgorithm = [\"ES256\", \"HS256\"]"),
            "HS256 does not go",
        ),
        (format!("[jwt]\npublic_key_file = \"{missing}\""), "cannot be read"),
        (format!("[jwt]\npublic_key_file = \"{nonsense}\""), "holds no key in PEM form"),
        (format!("[jwt]\npublic_key_file = \"{private}\""), "holds a private key"),
        (format!("[jwt]\npublic_key_file = \"{two}\""), "holds 2 PEM blocks"),
        (format!("[jwt]\npublic_key_file = \"{small}\""), "an RSA key of 1024 bits"),
        ("[jwt]\njwks_url = \"http://login.example/keys\"".to_owned(), "an https URL"),
        ("[jwt]\njwks_url = \"https://u:p@login.example/keys\"".to_owned(), "without user and password"),
        (
            "[jwt]\njwks_url = \"http://127.0.0.1/keys\"\njwks_refresh_s = 100\njwks_max_age_s = 50"
                .to_owned(),
            "jwt.jwks_max_age_s",
        ),
        ("[jwt]\njwks_url = \"http://127.0.0.1/keys\"\njwks_refetch_s = 0".to_owned(), "1 to 3600 seconds"),
        ("[[jwt.issuers]]\nissuer = \"a\"".to_owned(), "jwt.issuers[1].secret"),
        (format!("[[jwt.issuers]]\nsecret = \"{}\"", secret(32)), "jwt.issuers[1].issuer"),
        (format!("[jwt]\nsecret = \"{}\"\ntenant_claim = \"a..b\"", secret(32)), "a dotted path"),
        (
            format!("allowed_origins = \"*\"\n[jwt]\nsecret = \"{}\"\ncookie = \"t\"", secret(32)),
            "jwt.cookie",
        ),
        (format!("[jwt]\nsecret = \"{}\"\nquery_parameter = \"token\"", secret(32)), "such as access_token"),
        ("auth = \"none\"\n[jwt]\njwks_url = \"https://login.example/keys\"".to_owned(), "contradicts"),
    ] {
        let (content, said) = check(&files, &toml).await;
        assert!(!content && said.contains(told), "{toml}: {said}");
        assert!(!said.contains(&secret(31)) && !said.contains("u:p@"), "a secret is told: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn keys_of_urls_are_tried() {
    let files = Files::new();
    let server = KeyServer::start(Answer::Keys(vec![Pair::p256().jwk("a"), rsa().jwk("b")])).await;
    let toml = format!("[jwt]\njwks_url = \"{}\"", server.url);
    let (content, said) = check(&files, &toml).await;
    assert!(content && said.contains(&format!("keys:          ok, 2 from {}", server.url)), "{said}");
    server.answer(Answer::Text(Value::Null.to_string()));
    let (content, said) = check(&files, &toml).await;
    assert!(content && said.contains("warning:       no keys from"), "{said}");
    assert!(said.contains("has no audience"), "{said}");
    let (_, said) = check(&files, &format!("{toml}\naudience = \"tidings\"")).await;
    assert!(!said.contains("has no audience"), "{said}");
}

#[tokio::test]
async fn a_machine_that_trusts_nobody_cannot_fetch_keys() {
    let files = Files::new();
    let file =
        files.write("tidings.toml", "source = \"memory\"\n[jwt]\njwks_url = \"https://login.example/keys\"");
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let check = Command::new(binary)
        .args(["check", "--config", &file])
        .env_clear()
        .env("SSL_CERT_FILE", files.write("none.pem", ""))
        .output();
    let output = within("the check", check).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("SSL_CERT_FILE"), "{told}");
}
