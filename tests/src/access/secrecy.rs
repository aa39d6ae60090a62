//! Neither tokens nor what they say, nor what clients send besides, appears in logs or metrics: however much is
//! logged, whatever becomes of the request.
//!
//! The logs of all other daemons of the suite are searched for tokens when they end; see `support/log.rs`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::revocation::tidings;
use crate::support::daemon::{Daemon, SECRET, token_of};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

/// Part of everything that is nobody's business.
const CANARY: &str = "canary";

const CHAT: &str = "subscription { events(channel: \"chat\") { id data } }";

/// A token, all of whose claims are somebody's business only.
fn token(user: &str, good_for: u64) -> String {
    let claims = json!({
        "sub": format!("{user}-canary"), "tenant_id": "tenant-canary", "role": "role-canary",
        "private": { "nested": "claim-canary" }, "iss": "https://canary.example", "aud": "aud-canary",
        "jti": "jti-canary",
    });
    token_of(claims, Duration::from_secs(good_for))
}

/// The same with another signature.
fn forged(token: &str) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", "A".repeat(43))
}

struct Client<'a> {
    daemon: &'a Daemon,
    http: reqwest::Client,
}

impl Client<'_> {
    /// Sends a request, and reads the answer if it ends by itself.
    async fn send(&self, method: Method, parameters: &str, headers: &[(&str, &str)], body: &str) -> String {
        let url = format!("http://{}/graphql{parameters}", self.daemon.address);
        let request = self.http.request(method, url).body(body.to_owned());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = within("an answer", request.send()).await.unwrap();
        within("the whole answer", response.text()).await.unwrap()
    }
}

/// Requests that are answered and refused, with good and bad tokens in every place.
async fn requests(client: &Client<'_>) {
    let json = ("content-type", "application/json");
    let stream = ("accept", "text/event-stream");
    let query = "?query=%7B__typename%7D";
    let (good, bad, old) = (token("alice", 600), forged(&token("alice", 600)), token("alice", 0));
    for token in [good.as_str(), &bad, &old, "token-canary", "eyJ.canary.x"] {
        let (bearer, cookie) = (format!("Bearer {token}"), format!("session={token}"));
        for accept in
            [stream, ("accept", "application/json"), ("accept", "multipart/mixed;subscriptionSpec=1.0")]
        {
            client.send(Method::GET, query, &[accept, ("authorization", &bearer)], "").await;
            client.send(Method::GET, query, &[accept, ("cookie", &cookie)], "").await;
            client.send(Method::GET, &format!("{query}&access_token={token}"), &[accept], "").await;
        }
        client.send(Method::PUT, "/stream", &[("authorization", &bearer)], "").await;
    }
    let bearer = format!("Bearer {good}");
    let authorization = ("authorization", bearer.as_str());
    client.send(Method::GET, query, &[("authorization", "Basic canary")], "").await;
    for body in [
        r#"{"query":"{ canary }"}"#,
        r#"{"query":"{ canary"#,
        "canary",
        r#"{"query":"subscription($c: String!) { events(channel: $c) { id } }","variables":{"c":["canary"]}}"#,
        r#"{"query":"{__typename}","extensions":{"cursor":"canary"}}"#,
        r#"{"query":"subscription { events(channel: \"canary\") { id } }","extensions":{"cursor":"canary"}}"#,
    ] {
        client.send(Method::POST, "", &[json, authorization], body).await;
        client.send(Method::POST, "", &[json, authorization, stream], body).await;
    }
    let forwarded = [authorization, ("forwarded", "for=canary"), ("x-forwarded-for", "canary")];
    client.send(Method::GET, query, &forwarded, "").await;
    client.send(Method::GET, query, &[authorization, stream, ("last-event-id", "canary")], "").await;
    client.send(Method::DELETE, "/stream?token=canary&operationId=canary", &[authorization], "").await;
}

/// Sockets that come in, are refreshed and refused.
async fn sockets(daemon: &Daemon) {
    let (good, bad) = (token("bob", 600), forged(&token("bob", 600)));
    for protocol in ["graphql-transport-ws", "graphql-ws"] {
        for token in [good.as_str(), &bad, "token-canary"] {
            let mut socket = Socket::connect(daemon, protocol).await;
            socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
            socket.send(json!({ "type": "canary", "id": "canary", "payload": "canary" })).await;
            if token == good {
                assert_eq!(socket.receive().await["type"], "connection_ack");
            } else {
                socket.closed().await;
            }
        }
    }
    let mut socket = Socket::open(daemon, &good).await;
    socket.send(json!({ "type": "ping", "payload": { "token": token("bob", 900) } })).await;
    assert_eq!(socket.receive().await["payload"]["refreshed"], true);
    socket.send(json!({ "type": "ping", "payload": { "token": token("carol", 900) } })).await;
    assert_eq!(socket.closed().await.0, 4403);
}

async fn metrics(daemon: &Daemon) -> String {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = request.get(format!("http://{}/metrics", daemon.address)).send();
    within("the metrics", request).await.unwrap().text().await.unwrap()
}

async fn nothing_is_told(format: &str) {
    let database = Database::new().await;
    let mut daemon = Daemon::builder(&database.conninfo())
        .env("TIDINGS_LOG_FORMAT", format)
        .env("TIDINGS_LOG_FILTER", "trace")
        .env("TIDINGS_JWT_COOKIE", "session")
        .env("TIDINGS_JWT_QUERY_PARAMETER", "access_token")
        .env("TIDINGS_JWT_LEEWAY_S", "0")
        .env("TIDINGS_JWT_AUDIENCE", "aud-canary")
        .start()
        .await;
    let client = Client { daemon: &daemon, http: reqwest::Client::builder().no_proxy().build().unwrap() };
    let mut stream = Sse::open(&daemon, &token("dave", 600), CHAT).await;
    requests(&client).await;
    sockets(&daemon).await;
    let publish = "select publish_event('chat', 'posted', '{\"x\": \"payload-canary\"}', metadata => '{\"m\": \"canary\"}')";
    database.connect().await.run(publish).await;
    assert_eq!(stream.next().await["data"]["events"]["data"]["x"], "payload-canary");
    let (content, _) = tidings(&database, &["kick", "--user", "dave-canary"]).await;
    assert!(content);
    let error: Value = stream.next().await;
    assert_eq!(error["errors"][0]["extensions"]["code"], "KICKED");
    assert_eq!(
        client.send(Method::GET, "?query=%7B__typename%7D", &[], "").await.matches("UNAUTHENTICATED").count(),
        1
    );

    let metrics = metrics(&daemon).await;
    assert!(metrics.contains("tidings_token_refusals_total{reason=\"signature\"}"), "{metrics}");
    assert!(!metrics.to_lowercase().contains(CANARY) && !metrics.contains("eyJ"), "{metrics}");
    assert!(daemon.terminate().await.success());
    let log = daemon.log();
    assert!(log.contains("token refused") && log.contains("DEBUG"), "much is logged: {log}");
    let told: Vec<_> =
        log.lines().filter(|line| line.to_lowercase().contains(CANARY) || line.contains(SECRET)).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test]
async fn neither_tokens_nor_claims_are_logged_as_text() {
    nothing_is_told("text").await;
}

#[tokio::test]
async fn neither_tokens_nor_claims_are_logged_as_json() {
    nothing_is_told("json").await;
}
