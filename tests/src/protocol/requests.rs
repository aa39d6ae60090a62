//! Part D: what is a GraphQL request over HTTP, and what is none.

use serde_json::json;

use super::raw::{Raw, Response};
use super::{alice, body, code, daemon};
use crate::support::daemon::Daemon;

async fn post(daemon: &Daemon, content_type: &str, body: &str) -> Response {
    let authorization = format!("authorization: Bearer {}", alice());
    let headers =
        ["accept: application/graphql-response+json, application/json;q=0.9", content_type, &authorization];
    Raw::request(daemon, "POST /graphql", &headers, body).await.response().await
}

#[tokio::test]
async fn h01_a_post_is_json_in_utf8() {
    let daemon = daemon().await;
    let query = body("{__typename}");
    for taken in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=\"UTF-8\""]
    {
        let response = post(&daemon, &format!("content-type: {taken}"), &query).await;
        assert_eq!(
            (response.status, &response.json()["data"]["__typename"]),
            (200, &json!("Query")),
            "{taken}"
        );
    }
    for refused in [
        "content-type: text/plain",
        "content-type: application/x-www-form-urlencoded",
        "content-type: application/graphql",
        "content-type: application/json; charset=iso-8859-1",
        "content-type: application/json\r\ncontent-encoding: gzip",
        "x-content-type: application/json",
    ] {
        let response = post(&daemon, refused, &query).await;
        assert_eq!((response.status, code(&response.json())), (415, "UNSUPPORTED_MEDIA_TYPE"), "{refused}");
    }
}

#[tokio::test]
async fn h02_optional_parameters_may_be_null_and_unknown_ones_are_ignored() {
    let daemon = daemon().await;
    let nulls =
        json!({ "query": "{__typename}", "variables": null, "operationName": null, "extensions": null });
    let unknown = json!({ "query": "{__typename}", "id": 7, "more": [null], "extensions": { "other": {} } });
    for taken in [nulls, unknown] {
        let response = post(&daemon, "content-type: application/json", &taken.to_string()).await;
        assert_eq!(
            (response.status, &response.json()["data"]["__typename"]),
            (200, &json!("Query")),
            "{taken}"
        );
    }
    let authorization = format!("authorization: Bearer {}", alice());
    let get = "GET /graphql?query=query%20A%7B__typename%7D%20query%20B%7Bb:__typename%7D&operationName=B&variables=&other=1";
    let response = Raw::request(&daemon, get, &[&authorization, "accept: */*"], "").await.response().await;
    assert_eq!((response.status, &response.json()["data"]["b"]), (200, &json!("Query")));
}

#[tokio::test]
async fn h04_a_malformed_request_is_400_with_either_media_type() {
    let daemon = daemon().await;
    let authorization = format!("authorization: Bearer {}", alice());
    for accept in ["accept: application/json", "accept: application/graphql-response+json"] {
        for malformed in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"query":1}"#,
            r#"{"query":"{__typename}","variables":[]}"#,
            r#"{"query":"{__typename}","operationName":1}"#,
            r#"{"query":"{__typename}","extensions":"x"}"#,
        ] {
            let headers = [accept, "content-type: application/json", &authorization];
            let response = Raw::request(&daemon, "POST /graphql", &headers, malformed).await.response().await;
            assert_eq!(
                (response.status, code(&response.json())),
                (400, "BAD_REQUEST"),
                "{accept} {malformed}"
            );
            assert!(response.json().get("data").is_none());
        }
    }
}
