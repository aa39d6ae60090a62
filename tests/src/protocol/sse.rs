//! Part A: GraphQL over SSE, distinct connections mode.

use serde_json::Value;

use super::raw::{Raw, Response};
use super::{QUIET, alice, body, builder, code, daemon};
use crate::support::daemon::Daemon;

/// POSTs a document for an event stream.
async fn open(daemon: &Daemon, query: &str, more: &[&str]) -> Raw {
    let authorization = format!("authorization: Bearer {}", alice());
    let mut headers = vec!["accept: text/event-stream", "content-type: application/json", &authorization];
    headers.extend(more);
    Raw::request(daemon, "POST /graphql", &headers, &body(query)).await
}

/// The one result of a stream that is over at once.
fn only_result(response: &Response) -> Value {
    assert_eq!(response.status, 200);
    let text = response.body.strip_suffix("event: complete\ndata:\n\n").expect("s05: the exact end");
    let (_, data) = text.split_once("event: next\ndata: ").expect("a next");
    assert!(data.ends_with("\n\n") && !data.trim_end().contains('\n'), "s04: on one line: {data:?}");
    serde_json::from_str(data).unwrap()
}

#[tokio::test]
async fn s01_an_operation_arrives_by_get_or_post_on_both_paths() {
    let daemon = daemon().await;
    let authorization = format!("authorization: Bearer {}", alice());
    for path in ["/graphql", "/graphql/stream"] {
        let get = format!("GET {path}?query=%7B__typename%7D");
        let headers = ["accept: text/event-stream", &authorization];
        let response = Raw::request(&daemon, &get, &headers, "").await.response().await;
        assert_eq!(only_result(&response)["data"]["__typename"], "Query");
    }
    let accepts =
        ["text/event-stream, multipart/mixed", "application/graphql-response+json, text/event-stream;q=0.1"];
    for accept in accepts {
        let headers = [&format!("accept: {accept}"), "content-type: application/json", &authorization];
        let response =
            Raw::request(&daemon, "POST /graphql", &headers, &body("{__typename}")).await.response().await;
        assert_eq!(only_result(&response)["data"]["__typename"], "Query");
    }
}

#[tokio::test]
async fn s02_the_answer_is_200_with_headers_against_buffering() {
    let daemon = daemon().await;
    let response = open(&daemon, "{__typename}", &["accept-encoding: gzip, br"]).await.response().await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(response.header("x-accel-buffering"), Some("no"));
    assert_eq!(response.header("content-encoding"), None);
}

#[tokio::test]
async fn s03_errors_before_execution_are_a_next() {
    let daemon = daemon().await;
    for query in ["subscription {", "subscription { nothing }", "subscription A { __typename } query B { x }"]
    {
        let result = only_result(&open(&daemon, query, &[]).await.response().await);
        assert!(result["errors"][0]["message"].is_string(), "{query}: {result}");
        assert!(result.get("data").is_none() && result.get("id").is_none());
    }
}

#[tokio::test]
async fn s05_complete_is_exact_bytes() {
    let daemon = daemon().await;
    let response = open(&daemon, "{__typename}", &[]).await.response().await;
    assert!(response.body.ends_with("\n\nevent: complete\ndata:\n\n"), "{:?}", response.body);
}

#[tokio::test]
async fn s06_closing_ends_the_operation_at_once() {
    let daemon = daemon().await;
    let mut stream = open(&daemon, QUIET, &[]).await;
    stream.until("id: ").await;
    drop(stream);
    let left = std::time::Instant::now();
    daemon.wait_for_log("connection closed").await;
    assert!(left.elapsed().as_secs() < 12, "within one heartbeat: {:?}", left.elapsed());
    let metrics = Raw::request(&daemon, "GET /metrics", &[], "").await.response().await.body;
    assert!(metrics.contains("tidings_subscriptions 0\n"), "{metrics}");
    assert!(metrics.contains("tidings_connections{transport=\"sse\"} 0\n"), "{metrics}");
}

#[tokio::test]
async fn s07_a_query_is_one_next_and_complete() {
    let daemon = daemon().await;
    let result =
        only_result(&open(&daemon, "{ __schema { queryType { name } } }", &[]).await.response().await);
    assert_eq!(result["data"]["__schema"]["queryType"]["name"], "Query");
}

#[tokio::test]
async fn s17_what_is_no_request_is_a_status() {
    let daemon = daemon().await;
    let authorization = format!("authorization: Bearer {}", alice());
    let post = async |content_type: &str, body: &str| {
        let content_type = format!("content-type: {content_type}");
        let headers = ["accept: text/event-stream", &authorization, &content_type];
        Raw::request(&daemon, "POST /graphql", &headers, body).await.response().await.status
    };
    assert_eq!(post("text/plain", "{}").await, 415);
    assert_eq!(post("application/json", "{").await, 400);
    assert_eq!(post("application/json", "{}").await, 400);
    assert_eq!(post("application/json", "[]").await, 400);
    let headers = ["accept: text/event-stream", &authorization];
    let patch = Raw::request(&daemon, "PATCH /graphql", &headers, "").await.response().await;
    assert_eq!((patch.status, patch.header("allow")), (405, Some("GET, POST")));
}

#[tokio::test]
async fn s19_s20_a_stream_starts_with_a_comment_retry_and_its_cursor() {
    let daemon = daemon().await;
    let text = open(&daemon, QUIET, &[]).await.until("id: ").await;
    let (_, stream) = text.split_once("\r\n\r\n").unwrap();
    let (_, stream) = stream.split_once("\r\n").unwrap();
    assert!(stream.starts_with(":\n\nretry: "), "{stream:?}");
    assert_eq!(stream.matches("retry:").count(), 1);
}

#[tokio::test]
async fn s19_a_quiet_stream_says_something_within_12_seconds() {
    let daemon = daemon().await;
    let mut stream = open(&daemon, QUIET, &[]).await;
    stream.until("id: ").await;
    let opened = std::time::Instant::now();
    let text = stream.until("\r\n3\r\n:\n\n").await;
    // To the millisecond it is measured by a test of the daemon on a clock of its own.
    assert!(opened.elapsed().as_secs_f32() < 20.0, "{text}");
}

#[tokio::test]
async fn s21_what_is_no_cursor_is_refused_in_words() {
    let daemon = daemon().await;
    let result = only_result(&open(&daemon, QUIET, &["last-event-id: abc"]).await.response().await);
    assert_eq!(code(&result), "CURSOR_INVALID");
    // A header without a value says nothing: the parameter counts.
    let body = body(QUIET);
    let bearer = format!("authorization: Bearer {}", alice());
    let headers = ["accept: text/event-stream", "content-type: application/json", &bearer, "last-event-id: "];
    let line = "POST /graphql/stream?lastEventId=abc";
    let response = Raw::request(&daemon, line, &headers, &body).await.response().await;
    assert_eq!(code(&only_result(&response)), "CURSOR_INVALID");
}

#[tokio::test]
async fn s22_overload_is_503_or_for_who_resumes_retry_and_close() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS", "1").start().await;
    let mut first = open(&daemon, QUIET, &[]).await;
    first.until("id: ").await;
    let shed = open(&daemon, QUIET, &[]).await.response().await;
    assert_eq!((shed.status, code(&shed.json())), (503, "OVERLOADED"));
    assert!(shed.header("retry-after").is_some());
    let resuming = open(&daemon, QUIET, &["last-event-id: abc"]).await.response().await;
    assert_eq!(resuming.status, 200);
    assert!(resuming.body.starts_with("retry: ") && resuming.body.ends_with("\n\n"), "{:?}", resuming.body);
    drop(first);
    daemon.wait_for_log("connection closed").await;
    open(&daemon, QUIET, &[]).await.until("id: ").await;
}
