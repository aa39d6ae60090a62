//! `docs/openapi.json` says what the HTTP forms answer, and the daemon does.

use serde_json::json;

use super::{alice, builder};
use crate::support::note;
use crate::support::script::Script;

/// Requests, in turn of each operation.
const REQUESTS: &str = "1000";

#[tokio::test]
async fn every_answer_is_one_that_the_description_names() {
    let daemon = builder()
        .env("TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE", "0")
        .env("TIDINGS_LIMITS_OPERATIONS_PER_MINUTE", "0");
    let daemon = daemon.start().await;
    let url = format!("http://{}/graphql", daemon.address);
    let mut requests = Script::start("openapi.mjs", &url, "", &alice(), REQUESTS);
    let mut wrong = Vec::new();
    let summary = loop {
        let line = requests.line().await;
        if line["sent"].is_number() {
            break line;
        }
        wrong.push(line);
    };
    assert!(wrong.is_empty(), "{} answers differ, the first is {:#}", wrong.len(), wrong[0]);
    note(&summary.to_string());
    // What was sent reached all of this.
    for expected in [
        "GET 200",
        "GET 400",
        "GET 401",
        "GET 404",
        "GET 406",
        "POST 200",
        "POST 400",
        "POST 401",
        "POST 406",
        "PUT 201",
        "DELETE 404",
        "PATCH 405",
    ] {
        assert!(summary["statuses"].get(expected).is_some(), "{expected} was never answered: {summary}");
    }
    assert_eq!(summary["sent"], json!(1000));
}
