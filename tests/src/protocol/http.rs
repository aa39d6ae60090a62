//! GraphQL over HTTP (lines H); CORS; and the operators' pages.

use serde_json::json;

use super::raw::{Raw, Response};
use super::{QUIET, alice, body, builder, code, daemon};
use crate::support::daemon::Daemon;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

async fn post(daemon: &Daemon, accept: &str, body: &str) -> Response {
    let (accept, authorization) = (format!("accept: {accept}"), format!("authorization: Bearer {}", alice()));
    let headers = [&accept, &authorization, "content-type: application/json"];
    Raw::request(daemon, "POST /graphql", &headers, body).await.response().await
}

#[tokio::test]
async fn h03_h04_h06_the_status_of_a_refused_document_depends_on_the_media_type() {
    let daemon = daemon().await;
    let refused = body("{ nothing }");
    let json = post(&daemon, "application/json", &refused).await;
    assert_eq!((json.status, json.header("content-type")), (200, Some("application/json; charset=utf-8")));
    let newer = post(&daemon, "application/graphql-response+json", &refused).await;
    let media = "application/graphql-response+json; charset=utf-8";
    assert_eq!((newer.status, newer.header("content-type")), (400, Some(media)));
    assert!(newer.json().get("data").is_none());
    assert_eq!(post(&daemon, "application/json", "{}").await.status, 400);
    assert_eq!(post(&daemon, "text/html", &body("{__typename}")).await.status, 406);
}

#[tokio::test]
async fn h06_a_subscription_without_a_stream_is_406() {
    let daemon = daemon().await;
    let response = post(&daemon, "*/*", &body(QUIET)).await;
    assert_eq!((response.status, code(&response.json())), (406, "NOT_ACCEPTABLE"));
}

#[tokio::test]
async fn a_body_has_a_size_and_a_time() {
    let daemon = builder().env("TIDINGS_LIMITS_REQUEST_S", "1").start().await;
    let large = post(&daemon, "*/*", &body(&" ".repeat(3_000_000))).await;
    assert_eq!((large.status, code(&large.json())), (413, "REQUEST_TOO_LARGE"));
    let authorization = format!("authorization: Bearer {}", alice());
    let headers = ["content-type: application/json", "content-length: 10", &authorization];
    let slow = Raw::request(&daemon, "POST /graphql", &headers, "").await.response().await;
    assert_eq!((slow.status, code(&slow.json())), (408, "REQUEST_TIMEOUT"));
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let daemon = builder().env("TIDINGS_LIMITS_REQUEST_S", "1").start().await;
    Raw::send(&daemon, "GET /graphql HTTP/1.1\r\nhost: x\r\nslow:").await.read_to_end().await;
    Raw::send(&daemon, "GE").await.read_to_end().await;
    let large = format!("GET /graphql HTTP/1.1\r\nhost: x\r\nlarge: {}\r\n\r\n", "x".repeat(40_000));
    let answer = Raw::send(&daemon, &large).await.read_to_end().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn h07_cors_lets_allowed_origins_in() {
    let daemon = builder().env("TIDINGS_ALLOWED_ORIGINS", "https://app.example").start().await;
    let preflight = async |origin: &str| {
        let origin = format!("origin: {origin}");
        let headers = [&origin, "access-control-request-method: POST"];
        Raw::request(&daemon, "OPTIONS /graphql", &headers, "").await.response().await
    };
    let allowed = preflight("https://app.example").await;
    assert_eq!(allowed.status, 204);
    assert_eq!(allowed.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(allowed.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE, OPTIONS"));
    let headers = "content-type, authorization, x-graphql-event-stream-token, last-event-id";
    assert_eq!(allowed.header("access-control-allow-headers"), Some(headers));
    assert_eq!(preflight("https://evil.example").await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_told() {
    let daemon = daemon().await;
    let get = async |path: &str, header: &str| {
        Raw::request(&daemon, &format!("GET {path}"), &[header], "").await.response().await
    };
    assert_eq!(get("/healthz", "x: x").await.status, 200);
    assert_eq!(get("/readyz", "x: x").await.status, 200);
    assert!(get("/metrics", "x: x").await.body.ends_with("# EOF\n"));
    assert_eq!(get("/metrics", "x-forwarded-for: 192.0.2.1").await.status, 403);
}

#[tokio::test]
async fn refused_documents_are_counted_by_code_over_any_transport() {
    let daemon = daemon().await;
    let deep = format!("{}a{}", "{a".repeat(33), "}".repeat(33));
    assert_eq!(code(&post(&daemon, "*/*", &body(&deep)).await.json()), "TOO_DEEP");
    assert_eq!(code(&Sse::open(&daemon, &alice(), &deep).await.next().await), "TOO_DEEP");
    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.send(json!({"type": "subscribe", "id": "a", "payload": {"query": deep}})).await;
    assert_eq!(socket.receive().await["type"], "error");
    let metrics = Raw::request(&daemon, "GET /metrics", &[], "").await.response().await.body;
    assert!(metrics.contains("tidings_document_refusals_total{code=\"TOO_DEEP\"} 3\n"), "{metrics}");
}

#[tokio::test]
async fn s17_h05_a_mutation_by_get_is_405_with_allow() {
    let daemon = daemon().await;
    let authorization = format!("authorization: Bearer {}", alice());
    let headers = [authorization.as_str(), "accept: application/json"];
    let response =
        Raw::request(&daemon, "GET /graphql?query=mutation%7Bwrite%7D", &headers, "").await.response().await;
    assert_eq!((response.status, response.header("allow")), (405, Some("POST")));
    let posted = post(&daemon, "application/json", &body("mutation { write }")).await;
    assert_eq!((posted.status, code(&posted.json())), (200, "GRAPHQL_VALIDATION_FAILED"));
}

#[tokio::test]
async fn introspection_is_answered() {
    let daemon = daemon().await;
    let query = body("{ __schema { subscriptionType { name } } tidings { __typename } }");
    let plain = post(&daemon, "application/json", &query).await.json();
    assert_eq!(plain["data"]["__schema"]["subscriptionType"]["name"], "Subscription", "{plain}");
    assert_eq!(plain["data"]["tidings"]["__typename"], "ServerInfo", "{plain}");
}
