//! Who gets in, and for how long.

use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use super::raw::Raw;
use super::{QUIET, alice, body, builder, code, daemon};
use crate::support::daemon::{Daemon, SECRET, token, token_of};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

async fn stream(daemon: &Daemon, authorization: &str) -> Raw {
    let headers = ["accept: text/event-stream", "content-type: application/json", authorization];
    Raw::request(daemon, "POST /graphql", &headers, &body(QUIET)).await
}

#[tokio::test]
async fn without_a_good_token_there_is_401_and_no_detail() {
    let daemon = daemon().await;
    let no_name = token_of(json!({ "sub": "alice", "tenant_id": ["acme"] }), Duration::from_secs(60));
    let invalid = "Bearer realm=\"tidings\", error=\"invalid_token\"";
    for (authorization, expected, challenge) in [
        ("x: x".to_owned(), "UNAUTHENTICATED", "Bearer realm=\"tidings\""),
        ("authorization: Bearer abc".to_owned(), "TOKEN_INVALID", invalid),
        ("authorization: Basic YTpi".to_owned(), "TOKEN_INVALID", invalid),
        (format!("authorization: Bearer {no_name}"), "TOKEN_INVALID", invalid),
        (format!("authorization: Bearer {}x", alice()), "TOKEN_INVALID", invalid),
        (
            format!("authorization: Bearer {}\r\nauthorization: Bearer {}", alice(), alice()),
            "TOKEN_INVALID",
            invalid,
        ),
    ] {
        let response = stream(&daemon, &authorization).await.response().await;
        assert_eq!((response.status, code(&response.json())), (401, expected), "{authorization}");
        assert_eq!(response.header("www-authenticate"), Some(challenge));
    }
    assert!(!daemon.log().contains(&alice()), "tokens never appear in logs");
}

#[tokio::test]
async fn an_expired_token_ends_its_stream() {
    let daemon = builder().env("TIDINGS_JWT_LEEWAY_S", "0").start().await;
    let token = token_of(json!({ "sub": "alice" }), Duration::from_secs(2));
    let mut stream = stream(&daemon, &format!("authorization: Bearer {token}")).await;
    let text = stream.until("event: complete\ndata:\n\n").await;
    assert!(text.contains("\"code\":\"TOKEN_EXPIRED\""), "{text}");
}

#[tokio::test]
async fn without_an_auth_setting_the_daemon_does_not_start() {
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let serve = Command::new(binary).arg("serve").env_clear().env("TIDINGS_SOURCE", "memory").output();
    let output = within("the exit", serve).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(told.contains("TIDINGS_JWT_SECRET") && told.contains("TIDINGS_AUTH=none"), "{told}");
}

#[tokio::test]
async fn neither_tokens_nor_claims_are_logged() {
    let daemon = builder().env("TIDINGS_LOG_FILTER", "trace").start().await;
    let token = token("somebody-secret", "tenant-secret");
    let mut socket = Socket::open(&daemon, &token).await;
    socket.subscribe("1", QUIET).await;
    drop(Sse::open(&daemon, &token, QUIET).await);
    let forged = format!("{token}x");
    let mut refused = Socket::connect(&daemon, "graphql-transport-ws").await;
    refused.send(json!({"type": "connection_init", "payload": {"token": forged}})).await;
    assert_eq!(refused.closed().await.0, 4403);
    daemon.wait_for_log("connection closed").await;
    let log = daemon.log();
    let (_, signature) = token.rsplit_once('.').unwrap();
    for secret in [signature, "somebody-secret", "tenant-secret", SECRET] {
        assert!(!log.contains(secret), "{secret:?} is in the log:\n{log}");
    }
}
