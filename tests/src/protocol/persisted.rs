//! Persisted documents in the shapes that clients send, over every transport.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio::process::Command;

use super::raw::Raw;
use super::{alice, builder, code, daemon};
use crate::support::daemon::Daemon;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const QUERY: &str = "query Version { tidings { version } }";
const QUERY_HASH: &str = "c8b9e5766074991635a2c8a6746ce95fe11b583e18ba8a979cf154cb24d6177c";
const QUIET: &str = "subscription Quiet { events(channel: \"quiet\") { id } }";
const QUIET_HASH: &str = "3d9a5a520fa17e45602e163e40e2e5cb14bbe60a3ba3e699c91cc30309ebbadf";
const UNLISTED: &str = "{ __typename }";

static LISTS: AtomicU32 = AtomicU32::new(0);

/// A file that lists documents; removed when dropped.
struct ListFile(PathBuf);

impl ListFile {
    fn new(content: &Value) -> Self {
        let number = LISTS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidings-list-{}-{number}.json", std::process::id()));
        std::fs::write(&path, content.to_string()).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ListFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn listing_daemon() -> Daemon {
    let list = ListFile::new(&json!({ QUERY_HASH: QUERY, QUIET_HASH: QUIET }));
    builder().env("TIDINGS_DOCUMENT_ALLOW_LIST_FILE", list.path()).start().await
}

fn by_hash(hash: &str) -> Value {
    json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
}

async fn post(daemon: &Daemon, body: Value) -> Value {
    let authorization = format!("authorization: Bearer {}", alice());
    let headers = ["content-type: application/json", &authorization];
    Raw::request(daemon, "POST /graphql", &headers, &body.to_string()).await.response().await.json()
}

async fn get(daemon: &Daemon, query: &str) -> Value {
    let authorization = format!("authorization: Bearer {}", alice());
    Raw::request(daemon, &format!("GET /graphql?{query}"), &[&authorization], "")
        .await
        .response()
        .await
        .json()
}

/// What clients of persisted documents put into the query string.
fn in_url(extensions: &Value) -> String {
    let escaped = extensions.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    format!("operationName=Version&variables=%7B%7D&extensions={escaped}")
}

#[tokio::test]
async fn over_http_a_hash_stands_for_its_document() {
    let daemon = listing_daemon().await;
    let version = json!({ "data": { "tidings": { "version": env!("CARGO_PKG_VERSION") } } });
    assert_eq!(get(&daemon, &in_url(&by_hash(QUERY_HASH))).await, version);
    let request = json!({ "operationName": "Version", "variables": {}, "extensions": by_hash(QUERY_HASH) });
    assert_eq!(post(&daemon, request).await, version);
    assert_eq!(post(&daemon, json!({ "query": QUERY })).await, version);
    let unknown = "f".repeat(64);
    let missed = get(&daemon, &in_url(&by_hash(&unknown))).await;
    assert_eq!(missed["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(code(&missed), "PERSISTED_QUERY_NOT_FOUND");
    let unlisted = post(&daemon, json!({ "query": UNLISTED })).await;
    assert_eq!(code(&unlisted), "PERSISTED_QUERY_REQUIRED");
    let differs = post(&daemon, json!({ "query": QUERY, "extensions": by_hash(QUIET_HASH) })).await;
    assert_eq!(code(&differs), "PERSISTED_QUERY_HASH_MISMATCH");
}

#[tokio::test]
async fn over_sse_a_hash_stands_for_its_document() {
    let daemon = listing_daemon().await;
    let mut extensions = by_hash(QUIET_HASH);
    extensions["acknowledge"] = true.into();
    let mut stream = Sse::post(&daemon, &alice(), &json!({ "extensions": extensions })).await;
    assert_eq!(stream.next().await["extensions"]["subscribed"], true);
    let mut refused = Sse::post(&daemon, &alice(), &json!({ "query": UNLISTED })).await;
    assert_eq!(code(&refused.next().await), "PERSISTED_QUERY_REQUIRED");
    assert_eq!(refused.next_event().await.unwrap().event, "complete");
    let authorization = format!("authorization: Bearer {}", alice());
    let target = format!("GET /graphql?{}", in_url(&by_hash(QUERY_HASH)));
    let headers = ["accept: text/event-stream", &authorization];
    let text = Raw::request(&daemon, &target, &headers, "").await.until("event: complete\ndata:\n\n").await;
    assert!(text.contains(r#"data: {"data":{"tidings":{"version":"#), "{text}");
}

#[tokio::test]
async fn over_websocket_a_hash_stands_for_its_document() {
    let daemon = listing_daemon().await;
    let mut socket = Socket::open(&daemon, &alice()).await;
    let mut extensions = by_hash(QUIET_HASH);
    extensions["acknowledge"] = true.into();
    socket.send(json!({ "type": "subscribe", "id": "a", "payload": { "extensions": extensions } })).await;
    assert_eq!(socket.next().await["extensions"]["subscribed"], true);
    let unknown = json!({ "query": null, "extensions": by_hash(&"f".repeat(64)) });
    for (payload, expected) in
        [(unknown, "PERSISTED_QUERY_NOT_FOUND"), (json!({ "query": UNLISTED }), "PERSISTED_QUERY_REQUIRED")]
    {
        socket.send(json!({ "type": "subscribe", "id": "b", "payload": payload })).await;
        let refused = socket.receive().await;
        assert_eq!(refused["type"], "error");
        assert_eq!(refused["payload"][0]["extensions"]["code"], expected);
    }
    socket.send(json!({ "type": "subscribe", "id": "c", "payload": { "extensions": {} } })).await;
    assert_eq!(socket.closed().await, (4400, "The parameter `query` is missing.".to_owned()));
}

#[tokio::test]
async fn without_a_list_clients_are_told_to_send_the_text() {
    let daemon = daemon().await;
    let refused = get(&daemon, &in_url(&by_hash(QUERY_HASH))).await;
    assert_eq!(refused["errors"][0]["message"], "PersistedQueryNotSupported");
    assert_eq!(code(&refused), "PERSISTED_QUERY_NOT_SUPPORTED");
    let both = json!({ "query": QUERY, "extensions": by_hash(QUERY_HASH) });
    assert!(post(&daemon, both).await["data"]["tidings"].is_object());
}

#[tokio::test]
async fn a_list_with_a_wrong_key_keeps_the_daemon_from_starting() {
    let binary =
        std::env::var("TIDINGS_BIN").expect("TIDINGS_BIN names the daemon's binary; run `make test`");
    let list = ListFile::new(&json!({ "abc": QUERY }));
    let serve = Command::new(binary)
        .args(["serve", "--auth", "none", "--source", "memory", "--document-allow-list-file", list.path()])
        .env_clear()
        .output();
    let output = within("the exit", serve).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(told.contains("document.allow_list_file") && told.contains(QUERY_HASH), "{told}");
}
