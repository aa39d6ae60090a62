//! Requests that are wrong, sent to a daemon: each gets the error that graphql-js gives, or that of a
//! limit that comes first, and the connection lives on.

use serde_json::{Value, json};
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::source::catalog::Catalog;

use super::documents::verdict;
use super::oracle::{Oracle, exact};
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

/// What is wrong, the payload of the request, and the code of the limit that answers before
/// graphql-js would: it has none.
type BadRequest = (&'static str, Value, Option<&'static str>);

fn bad_requests() -> Vec<BadRequest> {
    let document = |query: &str| json!({ "query": query });
    let with = |query: &str, variables: Value| json!({ "query": query, "variables": variables });
    let channel =
        |text: &str| document(&format!("subscription {{ events(channel: \"{text}\") {{ nope }} }}"));
    let by_variable = "subscription($c: String!, $t: [String!]) { events(channel: $c, types: $t) { id } }";
    vec![
        ("an unknown field", document("subscription { events(channel: \"c\") { nope } }"), None),
        ("a variable of the wrong type", with(by_variable, json!({"c": 5, "t": [1, null, "a"]})), None),
        ("a variable that is missing", with(by_variable, json!({"t": []})), None),
        ("a variable that is null", with(by_variable, json!({"c": null})), None),
        ("two operations, no name", document("query A { __typename } query B { __typename }"), None),
        ("two subscriptions, no name", document("subscription A { a } subscription B { b }"), None),
        ("an anonymous and a named one", document("{ __typename } query B { __typename }"), None),
        ("a mutation", document("mutation { write }"), None),
        (
            "a query mixed in",
            document("query { __typename } subscription { events(channel: \"c\") { id } }"),
            None,
        ),
        ("an empty document", document(""), None),
        ("a blank document", document(" \n # nothing"), None),
        ("1 MB of fields", document(&format!("{{ {} }}", "a ".repeat(500_000))), Some("DOCUMENT_TOO_LARGE")),
        ("1 MB of letters", document(&"a".repeat(1 << 20)), Some("DOCUMENT_TOO_LARGE")),
        ("10,000 levels", document(&"{a".repeat(10_000)), Some("TOO_DEEP")),
        ("10,000 lists", document(&format!("{{ a(b: {}", "[".repeat(10_000))), Some("TOO_DEEP")),
        ("a surrogate pair", channel("\\ud83d\\ude00"), None),
        ("a lone high surrogate", channel("a\\ud83d"), None),
        ("a lone low surrogate", channel("\\ude00a"), None),
        ("a character in braces", channel("\\u{1F600}"), None),
        ("a surrogate in braces", channel("\\u{D83D}"), None),
        ("beyond Unicode", channel("\\u{110000}"), None),
        ("an astral character", channel("😀"), None),
        (
            "an integer beyond int64",
            document("subscription { events(channel: 99999999999999999999) { id } }"),
            None,
        ),
        ("an integer beyond int64 by variable", with(by_variable, json!({"c": u64::MAX, "t": 1e30})), None),
    ]
}

/// What graphql-js says, unless a limit answers.
fn expected(oracle: &mut Oracle, (_, payload, limit): &BadRequest) -> Option<String> {
    if limit.is_some() {
        return None;
    }
    let variables = exact(&payload["variables"]);
    let answer = oracle.ask(&json!({ "query": payload["query"], "variables": variables }));
    Some(verdict(answer["errors"].as_array().unwrap()))
}

fn check(errors: &Value, request: &BadRequest, expected: Option<&String>) {
    let (what, _, limit) = request;
    let errors = errors.as_array().unwrap_or_else(|| panic!("{what}: no errors but {errors}"));
    match limit {
        Some(code) => assert_eq!(errors[0]["extensions"]["code"], *code, "{what}"),
        None => assert_eq!(Some(&verdict(errors)), expected, "{what}: {errors:?}"),
    }
}

async fn daemon() -> Daemon {
    Daemon::builder("postgres://nobody@localhost/nothing").env("TIDINGS_SOURCE", "memory").start().await
}

fn oracle() -> Oracle {
    let schema = Schema::build(&Catalog::default(), SchemaOptions::default()).expect("a schema");
    Oracle::start(&schema.sdl())
}

#[tokio::test]
async fn bad_requests_are_answered_over_websocket_and_the_connection_lives_on() {
    let (daemon, mut oracle) = (daemon().await, oracle());
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    for (index, request) in bad_requests().iter().enumerate() {
        let id = index.to_string();
        socket.send(json!({"type": "subscribe", "id": id, "payload": request.1})).await;
        let answer = socket.receive().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!(id)), "{}", request.0);
        check(&answer["payload"], request, expected(&mut oracle, request).as_ref());
        // The next operation of the same socket is live at once.
        let quiet = format!("quiet {id}");
        socket.subscribe(&quiet, "subscription { events(channel: \"quiet\") { id } }").await;
        socket.send(json!({"type": "complete", "id": quiet})).await;
    }
}

#[tokio::test]
async fn bad_requests_are_answered_over_sse() {
    let (daemon, mut oracle) = (daemon().await, oracle());
    for request in &bad_requests() {
        let mut stream = Sse::post(&daemon, &token("ann", "acme"), &request.1).await;
        let result = stream.next().await;
        check(&result["errors"], request, expected(&mut oracle, request).as_ref());
        assert_eq!(stream.next_event().await.unwrap().event, "complete", "{}", request.0);
    }
}
