//! M1 to M8 of docs/protocols.md: Apollo's multipart subscriptions.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::raw::{Raw, Response};
use super::{QUIET, alice, builder, code, daemon};
use crate::support::daemon::{Daemon, token_of};

const APOLLO: &str = "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json";
const HEARTBEAT: &str = "\r\ncontent-type: application/json\r\n\r\n{}\r\n--graphql";

async fn request(daemon: &Daemon, accept: &str, token: &str, body: &Value) -> Raw {
    let headers = [
        &format!("accept: {accept}"),
        "content-type: application/json",
        "accept-encoding: gzip",
        &format!("authorization: Bearer {token}"),
    ];
    Raw::request(daemon, "POST /graphql", &headers, &body.to_string()).await
}

async fn open(daemon: &Daemon, query: &str) -> Raw {
    request(daemon, APOLLO, &alice(), &json!({ "query": query })).await
}

/// The parts of a stream that has ended, taken apart as RFC 2046 says.
fn parts(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{response:?}");
    let body = response.body.strip_prefix("--graphql\r\n").expect("a delimiter at the start");
    let body = body.strip_suffix("\r\n--graphql--\r\n").expect("m07: a delimiter at the end");
    let parts = body.split("\r\n--graphql\r\n").map(|part| {
        let (headers, json) = part.split_once("\r\n\r\n").expect("headers");
        assert_eq!(headers, "content-type: application/json");
        serde_json::from_str(json).unwrap()
    });
    parts.collect()
}

/// Waits until the subscription is live.
async fn live(stream: &mut Raw) {
    stream.until(HEARTBEAT).await;
}

#[tokio::test]
async fn m01_the_accept_header_decides_with_its_qualities() {
    let daemon = daemon().await;
    let body = json!({ "query": "{__typename}" });
    for (accept, media_type) in [
        (APOLLO, "multipart/mixed"),
        (
            r#"multipart/mixed; boundary="graphql"; subscriptionSpec="1.0", application/json"#,
            "multipart/mixed",
        ),
        ("text/event-stream;q=0.5, multipart/mixed;subscriptionSpec=1.0", "multipart/mixed"),
        ("text/event-stream, multipart/mixed;subscriptionSpec=1.0", "text/event-stream"),
        ("multipart/mixed;subscriptionSpec=1.0;q=0, application/json", "application/json"),
        ("multipart/mixed;deferSpec=20220824, application/json", "application/json"),
    ] {
        let response = request(&daemon, accept, &alice(), &body).await.response().await;
        assert_eq!(response.status, 200);
        let given = response.header("content-type").unwrap();
        assert!(given.starts_with(media_type), "{accept}: {given}");
    }
    let headers = [&format!("accept: {APOLLO}"), &format!("authorization: Bearer {}", alice())];
    let headers: Vec<_> = headers.iter().map(|header| header.as_str()).collect();
    let get = "GET /graphql/stream?query=%7B__typename%7D";
    let response = Raw::request(&daemon, get, &headers, "").await.response().await;
    assert_eq!(parts(&response), [json!({ "payload": { "data": { "__typename": "Query" } } })]);
    let deferring = request(&daemon, "multipart/mixed", &alice(), &json!({ "query": QUIET })).await;
    assert_eq!(deferring.response().await.status, 406);
}

#[tokio::test]
async fn m02_the_answer_names_its_boundary_and_is_not_buffered() {
    let daemon = daemon().await;
    let response = open(&daemon, "{__typename}").await.response().await;
    let media_type = r#"multipart/mixed; boundary="graphql"; subscriptionSpec="1.0""#;
    assert_eq!(response.header("content-type"), Some(media_type));
    assert_eq!(response.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
    assert_eq!(response.header("content-encoding"), None);
    let dash = r#"multipart/mixed;boundary="-";subscriptionSpec=1.0"#;
    let response =
        request(&daemon, dash, &alice(), &json!({ "query": "{__typename}" })).await.response().await;
    assert!(response.header("content-type").unwrap().contains(r#"boundary="-""#));
    assert!(response.body.starts_with("---\r\n") && response.body.ends_with("\r\n-----\r\n"), "{response:?}");
}

#[tokio::test]
async fn m03_m04_a_live_stream_begins_with_a_whole_heartbeat_and_repeats_it() {
    let daemon = daemon().await;
    let mut stream = open(&daemon, QUIET).await;
    let said = Instant::now();
    let text = stream.until("{}\r\n--graphql\r\n").await;
    let (_, chunk) = text.split_once("\r\n\r\n").unwrap();
    let (_, chunk) = chunk.split_once("\r\n").unwrap();
    assert_eq!(chunk.trim_end(), format!("--graphql{HEARTBEAT}"));
    stream.until(&format!("{:x}\r\n{HEARTBEAT}\r\n", HEARTBEAT.len())).await;
    let silence = said.elapsed();
    assert!(silence < Duration::from_millis(12_500), "{silence:?}");
    assert_eq!(daemon.metric("tidings_connections{transport=\"multipart\"}").await, "1");
}

#[tokio::test]
async fn m05_a_result_is_a_payload() {
    let daemon = daemon().await;
    let body = json!({ "query": QUIET, "extensions": { "acknowledge": true } });
    let mut stream = request(&daemon, APOLLO, &alice(), &body).await;
    let text = stream.until("\"subscribed\":true").await;
    let (_, part) = text.rsplit_once("\r\n\r\n").unwrap();
    assert!(part.starts_with(r#"{"payload":{"data":null,"extensions":{"#), "{part}");
    assert!(part.contains(r#""cursor":""#), "{part}");
    let response = open(&daemon, "{ __schema { queryType { name } } }").await.response().await;
    assert_eq!(parts(&response)[0]["payload"]["data"]["__schema"]["queryType"]["name"], "Query");
}

#[tokio::test]
async fn m06_errors_before_execution_are_a_payload() {
    let daemon = daemon().await;
    for query in ["subscription {", "subscription { nothing }"] {
        let parts = parts(&open(&daemon, query).await.response().await);
        assert_eq!(parts.len(), 1);
        assert!(parts[0]["payload"]["errors"][0]["message"].is_string(), "{parts:?}");
        assert!(parts[0].get("errors").is_none() && parts[0]["payload"].get("data").is_none());
    }
    let body = json!({ "query": QUIET, "extensions": { "cursor": "c" } });
    let response = request(&daemon, APOLLO, &alice(), &body).await.response().await;
    assert_eq!(code(&parts(&response)[0]["payload"]), "CURSOR_INVALID");
    // Nor does it begin now where it was asked to go on by the means of server-sent events.
    let (accept, bearer) = (format!("accept: {APOLLO}"), format!("authorization: Bearer {}", alice()));
    let body = json!({ "query": QUIET }).to_string();
    for (path, header) in [("?lastEventId=c", "last-event-id: "), ("", "last-event-id: c")] {
        let line = format!("POST /graphql/stream{path}");
        let headers = [&*accept, &*bearer, header, "content-type: application/json"];
        let response = Raw::request(&daemon, &line, &headers, &body).await.response().await;
        assert_eq!(code(&parts(&response)[0]["payload"]), "CURSOR_INVALID", "{line} {header}");
    }
}

#[tokio::test]
async fn m06_what_is_no_request_is_a_status() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS", "1").start().await;
    let body = json!({ "query": QUIET });
    let unknown = request(&daemon, APOLLO, "abc", &body).await.response().await;
    assert_eq!((unknown.status, code(&unknown.json())), (401, "TOKEN_INVALID"));
    let malformed = request(&daemon, APOLLO, &alice(), &json!({})).await.response().await;
    assert_eq!((malformed.status, code(&malformed.json())), (400, "BAD_REQUEST"));
    let mut first = open(&daemon, QUIET).await;
    live(&mut first).await;
    let shed = open(&daemon, QUIET).await.response().await;
    assert_eq!((shed.status, code(&shed.json())), (503, "OVERLOADED"));
    assert!(shed.header("retry-after").is_some());
}

#[tokio::test]
async fn m07_the_daemon_ends_a_stream_with_errors_beside_the_payload() {
    let mut daemon = builder().env("TIDINGS_JWT_LEEWAY_S", "0").env("TIDINGS_DRAIN_S", "1").start().await;
    let token = token_of(json!({ "sub": "alice" }), Duration::from_secs(2));
    let expiring = request(&daemon, APOLLO, &token, &json!({ "query": QUIET })).await.response().await;
    let mut leaving = open(&daemon, QUIET).await;
    live(&mut leaving).await;
    let (status, left) = tokio::join!(daemon.terminate(), leaving.response());
    assert!(status.success(), "{status}");
    for (response, expected) in [(expiring, "TOKEN_EXPIRED"), (left, "DRAINING")] {
        let parts = parts(&response);
        assert_eq!(parts[0], json!({}));
        assert_eq!((&parts[1]["payload"], code(&parts[1])), (&Value::Null, expected));
        assert_eq!(parts.len(), 2);
    }
}

#[tokio::test]
async fn m08_closing_ends_the_operation_at_once() {
    let daemon = daemon().await;
    let mut stream = open(&daemon, QUIET).await;
    live(&mut stream).await;
    drop(stream);
    daemon.wait_for_log("connection closed").await;
    assert_eq!(daemon.metric("tidings_subscriptions ").await, "0");
    assert_eq!(daemon.metric("tidings_connections{transport=\"multipart\"}").await, "0");
}
