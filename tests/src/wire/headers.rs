//! Headers that keep browsers from making something else of an answer.

use super::{authorization, body, daemon};
use crate::support::raw::{Raw, Response};

const EVERYWHERE: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn has(response: &Response, name: &str, value: &str) {
    assert_eq!(response.header(name), Some(value), "{name}: {response:?}");
}

#[tokio::test]
async fn every_answer_has_them() {
    let daemon = daemon().await;
    let authorization = authorization();
    let mut answers = Vec::new();
    for (line, headers, body) in [
        ("POST /graphql", vec![&*authorization, "content-type: application/json"], body("{__typename}")),
        ("POST /graphql", vec!["content-type: application/json"], body("{__typename}")),
        ("GET /nowhere", vec![], String::new()),
        ("GET /healthz", vec![], String::new()),
        ("GET /metrics", vec!["x-forwarded-for: 192.0.2.1"], String::new()),
        ("GET /graphql/ui/nothing.js", vec![], String::new()),
        ("OPTIONS /graphql", vec!["origin: https://evil.example"], String::new()),
    ] {
        answers.push(Raw::request(&daemon, line, &headers, &body).await.response().await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 401, 404, 200, 403, 404, 204]);
    for answer in &answers {
        for (name, value) in EVERYWHERE {
            has(answer, name, value);
        }
        has(answer, "cache-control", "no-store");
        has(answer, "content-security-policy", "default-src 'none'; frame-ancestors 'none'");
        assert_eq!(answer.header("strict-transport-security"), None, "not without TLS");
    }
}

#[tokio::test]
async fn pages_and_streams_keep_their_own() {
    let daemon = daemon().await;
    let page = Raw::request(&daemon, "GET /graphql", &["accept: text/html"], "").await.response().await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    has(&page, "cache-control", "no-cache");
    let script = page.body.split('"').find(|text| text.ends_with(".js")).unwrap().to_owned();
    let script = Raw::request(&daemon, &format!("GET {script}"), &[], "").await.response().await;
    has(&script, "cache-control", "public, max-age=31536000, immutable");
    let authorization = authorization();
    let headers = ["accept: text/event-stream", &authorization];
    let stream = Raw::request(&daemon, "GET /graphql?query=%7B__typename%7D", &headers, "").await;
    let stream = stream.response().await;
    has(&stream, "cache-control", "no-cache, no-transform");
    for answer in [&page, &script, &stream] {
        for (name, value) in EVERYWHERE {
            has(answer, name, value);
        }
    }
}
