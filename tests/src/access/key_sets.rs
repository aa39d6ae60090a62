//! Key sets by URL, against a server that rotates, hangs, sends nonsense and more.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::key_server::{Answer, KeyServer, key_set};
use super::keys::{Pair, rsa};
use super::places::{ask, builder};
use super::{Files, claims};
use crate::support::daemon::{Builder, Daemon};
use crate::support::websocket::Socket;
use crate::support::within;

/// A daemon whose tokens are checked with the keys of a URL, fetched again after a second if need be.
fn following(url: &str) -> Builder {
    builder()
        .env("TIDINGS_JWT_SECRET", "")
        .env("TIDINGS_JWKS_URL", url)
        .env("TIDINGS_JWT_JWKS_REFETCH_S", "1")
        .env("TIDINGS_JWT_JWKS_TIMEOUT_S", "1")
}

/// The status for a token, and the code of the error if there is one.
async fn status(daemon: &Daemon, token: &str) -> (u16, String) {
    let response = ask(daemon, "", &[("authorization", &format!("Bearer {token}"))]).await;
    let status = response.status().as_u16();
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// Asks until the answer is that.
async fn until(daemon: &Daemon, token: &str, wanted: u16) {
    within(&format!("status {wanted}"), async { while status(daemon, token).await.0 != wanted {} }).await;
}

#[tokio::test]
async fn keys_of_every_kind_come_from_a_url() {
    let (p256, p384, ed25519) = (Pair::p256(), Pair::p384(), Pair::ed25519());
    let pairs = [("r", rsa()), ("p", &p256), ("q", &p384), ("e", &ed25519)];
    let mut keys: Vec<_> = pairs.iter().map(|(kid, pair)| pair.jwk(kid)).collect();
    // What sets hold besides.
    keys.extend([json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "s" }), json!({ "kty": "new" }), json!(7)]);
    let server = KeyServer::start(Answer::Keys(keys)).await;
    let daemon = following(&server.url).start().await;
    for (kid, pair) in pairs {
        assert_eq!(status(&daemon, &pair.sign(Some(kid), &claims("alice"))).await.0, 200, "{kid}");
        assert_eq!(status(&daemon, &pair.sign(None, &claims("alice"))).await.0, 200, "{kid} without kid");
        // The kid of another key.
        let other = if kid == "r" { "p" } else { "r" };
        assert_eq!(
            status(&daemon, &pair.sign(Some(other), &claims("alice"))).await.0,
            401,
            "{kid} as {other}"
        );
    }
    // PS256 is for RSA keys, and not pinned.
    let unpinned = rsa().sign_with(jsonwebtoken::Algorithm::PS256, Some("r"), &claims("alice"));
    assert_eq!(status(&daemon, &unpinned).await, refused(401, "TOKEN_INVALID"));
    assert_eq!(daemon.metric("tidings_token_refusals_total{reason=\"algorithm\"}").await, "1");
    assert_eq!(daemon.metric("tidings_keys{issuer=\"jwt\"}").await, "4");
    let fetched: f64 =
        daemon.metric("tidings_keys_fetched_timestamp_seconds{issuer=\"jwt\"}").await.parse().unwrap();
    // The clock of the test counts whole seconds.
    assert!((-1.0..60.0).contains(&(super::now() as f64 - fetched)), "{fetched}");
}

#[tokio::test]
async fn the_algorithm_of_a_key_is_the_only_one_it_is_for() {
    let mut jwk = rsa().jwk("r");
    jwk["alg"] = "PS256".into();
    let server = KeyServer::start(Answer::Keys(vec![jwk])).await;
    let daemon = following(&server.url).env("TIDINGS_JWT_ALGORITHM", "RS256,PS256").start().await;
    for (algorithm, wanted) in [(jsonwebtoken::Algorithm::PS256, 200), (jsonwebtoken::Algorithm::RS256, 401)]
    {
        let token = rsa().sign_with(algorithm, Some("r"), &claims("alice"));
        assert_eq!(status(&daemon, &token).await.0, wanted, "{algorithm:?}");
    }
}

#[tokio::test]
async fn a_rotation_is_noticed_when_the_first_new_token_comes() {
    let (old, new) = (Pair::p256(), Pair::p256());
    let (old_token, new_token) = (old.sign(Some("old"), &claims("a")), new.sign(Some("new"), &claims("a")));
    let server = KeyServer::start(Answer::Keys(vec![old.jwk("old")])).await;
    let daemon = following(&server.url).start().await;
    assert_eq!(status(&daemon, &old_token).await.0, 200);

    server.answer(Answer::Keys(vec![old.jwk("old"), new.jwk("new")]));
    until(&daemon, &new_token, 200).await;
    assert_eq!(status(&daemon, &old_token).await.0, 200);

    // The old key is withdrawn; the next fetch, for whatever reason, removes it here, too.
    server.answer(Answer::Keys(vec![new.jwk("new")]));
    let asked = server.asked();
    let unknown = old.sign(Some("unknown"), &claims("a"));
    within("another fetch", async {
        while server.asked() == asked {
            assert_eq!(status(&daemon, &unknown).await, refused(401, "TOKEN_INVALID"));
        }
    })
    .await;
    until(&daemon, &old_token, 401).await;
    assert_eq!(status(&daemon, &new_token).await.0, 200);
}

#[tokio::test]
async fn many_made_up_kids_cause_few_fetches() {
    let pair = Pair::p256();
    let server = KeyServer::start(Answer::Keys(vec![pair.jwk("a")])).await;
    let daemon = following(&server.url).env("TIDINGS_JWT_JWKS_REFETCH_S", "3600").start().await;
    assert_eq!(status(&daemon, &pair.sign(Some("a"), &claims("a"))).await.0, 200);
    for number in 0..100 {
        let made_up = pair.sign(Some(&format!("k{number}")), &claims("a"));
        assert_eq!(status(&daemon, &made_up).await, refused(401, "TOKEN_INVALID"));
    }
    assert_eq!(server.asked(), 1);
    assert_eq!(daemon.metric("tidings_token_refusals_total{reason=\"unknown_key\"}").await, "100");
}

#[tokio::test]
async fn a_server_that_never_answers_holds_up_nobody_else() {
    let pair = Pair::p256();
    let token = pair.sign(Some("a"), &claims("a"));
    let server = KeyServer::start(Answer::Silence).await;
    let (files, neighbour) = (Files::new(), Pair::ed25519());
    let file = files.write("neighbour.pem", &neighbour.public_pem);
    let table = format!("[[jwt.issuers]]\nissuer = \"neighbour\"\npublic_key_file = \"{file}\"");
    let daemon =
        following(&server.url).env("TIDINGS_CONFIG", &files.write("tidings.toml", &table)).start().await;
    server.wait_until_asked(1).await;
    let mut of_neighbour = claims("bob");
    of_neighbour["iss"] = "neighbour".into();
    assert_eq!(status(&daemon, &neighbour.sign(None, &of_neighbour)).await.0, 200);
    let start = Instant::now();
    let response = ask(&daemon, "", &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"5".parse().unwrap())
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let body = response.text().await.unwrap();
    assert!(body.contains("KEYS_UNAVAILABLE") && body.contains("not available"), "{body}");
    // Without a token nobody has to wait.
    assert_eq!(ask(&daemon, "", &[]).await.status(), 401);
    for path in ["healthz", "readyz", "metrics"] {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let response = client.get(format!("http://{}/{path}", daemon.address)).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }

    let mut socket = Socket::connect(&daemon, "graphql-transport-ws").await;
    socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(code, 1013, "{reason}");
    assert!(reason.contains("keys"), "{reason}");

    // A socket that comes a little too early waits for the keys.
    server.answer(Answer::Keys(vec![pair.jwk("a")]));
    let asked = server.asked();
    server.wait_until_asked(asked + 1).await;
    Socket::open(&daemon, &token).await;
    assert_eq!(daemon.metric("tidings_key_fetches_total{issuer=\"jwt\",outcome=\"ok\"}").await, "1");
}

#[tokio::test]
async fn whatever_a_broken_server_does_the_old_keys_stay() {
    let pair = Pair::p256();
    let token = pair.sign(Some("a"), &claims("a"));
    let good = Answer::Keys(vec![pair.jwk("a")]);
    let server = KeyServer::start(good.clone()).await;
    let daemon = following(&server.url).env("TIDINGS_JWT_JWKS_REFRESH_S", "1").start().await;
    assert_eq!(status(&daemon, &token).await.0, 200);
    let many = key_set(&vec![pair.jwk("a"); 300]);
    for (answer, told) in [
        (Answer::Text("<html>no</html>".into()), "is not a JSON Web Key Set"),
        (Answer::Text(String::new()), "is not a JSON Web Key Set"),
        (Answer::Text("[".repeat(200_000)), "is not a JSON Web Key Set"),
        (Answer::Text("{\"keys\":[]}".into()), "it is empty"),
        (Answer::Text(many), "300 keys"),
        (Answer::Keys(vec![json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" })]), "a broken key"),
        (Answer::Keys(vec![json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" })]), "a broken key"),
        (Answer::Endless, "larger than 262144 bytes"),
        (Answer::Hang, "no whole answer within 1s"),
        (Answer::Silence, "no whole answer within 1s"),
        (Answer::Redirect, "redirects are not followed"),
        (Answer::Status(500), "status 500"),
        (Answer::Status(204), "status 204"),
        (Answer::Status(404), "status 404"),
    ] {
        let lines = daemon.log().matches(told).count();
        server.answer(answer);
        daemon.wait_for_logs(told, lines + 1).await;
        assert_eq!(status(&daemon, &token).await.0, 200, "{told}");
    }
    assert_eq!(server.followed(), 0);
    // It could be the key that came meanwhile, so nobody says that the token is bad.
    let other = pair.sign(Some("b"), &claims("a"));
    assert_eq!(status(&daemon, &other).await, refused(503, "KEYS_UNAVAILABLE"));
    server.answer(good);
    until(&daemon, &other, 401).await;
    for outcome in ["ok", "timeout", "status", "too_large", "invalid"] {
        let count = daemon
            .metric(&format!("tidings_key_fetches_total{{issuer=\"jwt\",outcome=\"{outcome}\"}}"))
            .await;
        assert_ne!(count, "0", "{outcome}");
    }
}

#[tokio::test]
async fn keys_that_nobody_confirms_end_some_day() {
    let pair = Pair::p256();
    let token = pair.sign(Some("a"), &claims("a"));
    let server = KeyServer::start(Answer::Keys(vec![pair.jwk("a")])).await;
    let daemon = following(&server.url)
        .env("TIDINGS_JWT_JWKS_REFRESH_S", "1")
        .env("TIDINGS_JWT_JWKS_MAX_AGE_S", "2")
        .start()
        .await;
    assert_eq!(status(&daemon, &token).await.0, 200);
    let mut running = Socket::open(&daemon, &token).await;
    server.answer(Answer::Status(503));
    until(&daemon, &token, 503).await;
    // Who is in stays in: the token was good, and has its own end.
    running.subscribe("1", "subscription { events(channel: \"quiet\") { id } }").await;
    server.answer(Answer::Keys(vec![pair.jwk("a")]));
    until(&daemon, &token, 200).await;
}

#[tokio::test]
async fn neither_kids_nor_urls_with_keys_are_logged() {
    let pair = Pair::p256();
    let server = KeyServer::start(Answer::Keys(vec![pair.jwk("a")])).await;
    let url = format!("{}?apikey=hidden-in-the-query", server.url);
    let daemon = following(&url).env("TIDINGS_LOG_FILTER", "trace").start().await;
    let token = pair.sign(Some("kid-of-the-token"), &claims("name-in-the-token"));
    assert_eq!(status(&daemon, &token).await.0, 401);
    daemon.wait_for_log("keys fetched").await;
    let log = daemon.log();
    let (_, signature) = token.rsplit_once('.').unwrap();
    for secret in ["hidden-in-the-query", "kid-of-the-token", "name-in-the-token", signature] {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }
}
