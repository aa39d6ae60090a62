//! Part C: the legacy subprotocol `graphql-ws` of subscriptions-transport-ws.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{QUIET, alice, builder, daemon};
use crate::support::daemon::{Daemon, token_of};
use crate::support::websocket::Socket;

fn init(token: &str) -> Value {
    json!({ "type": "connection_init", "payload": { "Authorization": format!("Bearer {token}") } })
}

/// A `start` whose subscription says when it is live.
fn start(id: &str, query: &str) -> Value {
    let payload = json!({ "query": query, "variables": null, "operationName": null,
        "extensions": { "acknowledge": true } });
    json!({ "type": "start", "id": id, "payload": payload })
}

async fn connect(daemon: &Daemon) -> Socket {
    Socket::connect(daemon, "graphql-ws").await
}

async fn acknowledged(socket: &mut Socket) {
    assert_eq!(socket.receive().await["type"], "connection_ack");
    assert_eq!(socket.receive().await, json!({ "type": "ka" }));
}

async fn open(daemon: &Daemon) -> Socket {
    let mut socket = connect(daemon).await;
    socket.send(init(&alice())).await;
    acknowledged(&mut socket).await;
    socket
}

/// Waits until an operation is live.
async fn live(socket: &mut Socket, id: &str) {
    let data = socket.receive().await;
    assert_eq!((&data["type"], &data["id"]), (&json!("data"), &json!(id)), "{data}");
    assert_eq!(data["payload"]["extensions"]["subscribed"], true);
    assert!(data["payload"]["extensions"]["cursor"].is_string());
}

async fn subscribe(socket: &mut Socket, id: &str) {
    socket.send(start(id, QUIET)).await;
    live(socket, id).await;
}

/// The message and the code of an `error`.
async fn error(socket: &mut Socket, id: Option<&str>) -> (String, String) {
    let error = socket.receive().await;
    assert_eq!((&error["type"], error["id"].as_str()), (&json!("error"), id), "{error}");
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("one object: {error}")).to_owned();
    (text(&error["payload"]["message"]), text(&error["payload"]["extensions"]["code"]))
}

/// Nothing was waiting: what comes next is the answer to a query.
async fn is_quiet(socket: &mut Socket) {
    socket.send(json!({ "type": "start", "id": "q", "payload": { "query": "{__typename}" } })).await;
    let data = json!({ "id": "q", "type": "data", "payload": { "data": { "__typename": "Query" } } });
    assert_eq!(socket.receive().await, data);
    assert_eq!(socket.receive().await, json!({ "id": "q", "type": "complete" }));
}

/// How many subscriptions the daemon runs.
async fn running(daemon: &Daemon) -> String {
    daemon.metric("tidings_transport_subscriptions{transport=\"graphql-ws\"}").await
}

#[tokio::test]
async fn l01_an_ack_is_followed_by_ka_at_once_and_within_15_seconds() {
    let daemon = daemon().await;
    let mut socket = connect(&daemon).await;
    socket.send(init(&alice())).await;
    let ack = socket.receive().await;
    assert_eq!(ack["type"], "connection_ack");
    assert!(ack["payload"]["cursor"].is_string(), "{ack}");
    assert_eq!(socket.receive().await, json!({ "type": "ka" }));
    for _ in 0..2 {
        let said = Instant::now();
        assert_eq!(socket.receive().await, json!({ "type": "ka" }));
        assert!(said.elapsed() < Duration::from_secs(15), "{:?}", said.elapsed());
    }
    assert_eq!(daemon.metric("tidings_connections{transport=\"graphql-ws\"}").await, "1");
}

#[tokio::test]
async fn l01_who_is_rejected_is_told_why_then_1011() {
    let daemon = daemon().await;
    for (payload, message) in [
        (json!(null), "A token is needed"),
        (json!({ "token": "abc" }), "The token is invalid."),
        (json!(7), "The payload of connection_init is not an object."),
    ] {
        let mut socket = connect(&daemon).await;
        socket.send(start("1", QUIET)).await;
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        let error = socket.receive().await;
        assert_eq!(error["type"], "connection_error");
        assert!(error["payload"]["message"].as_str().unwrap().starts_with(message), "{error}");
        assert_eq!(socket.closed().await, (1011, "Forbidden".into()));
    }
}

#[tokio::test]
async fn l02_a_start_before_the_ack_waits_for_it() {
    let daemon = builder().env("TIDINGS_LIMITS_SUBSCRIPTIONS", "2").start().await;
    let mut socket = connect(&daemon).await;
    for id in ["1", "2"] {
        socket.send(start(id, QUIET)).await;
    }
    socket.send(start("3", QUIET)).await;
    assert_eq!(error(&mut socket, Some("3")).await.1, "TOO_MANY_SUBSCRIPTIONS");
    assert_eq!(daemon.metric("tidings_refusals_total{code=\"TOO_MANY_SUBSCRIPTIONS\"}").await, "1");
    socket.send(json!({ "type": "stop", "id": "1" })).await;
    assert_eq!(socket.receive().await, json!({ "id": "1", "type": "complete" }));
    socket.send(init(&alice())).await;
    acknowledged(&mut socket).await;
    live(&mut socket, "2").await;
    is_quiet(&mut socket).await;
    assert_eq!(running(&daemon).await, "1");
}

#[tokio::test]
async fn l03_results_are_data_and_a_stop_is_completed() {
    let daemon = daemon().await;
    let mut socket = open(&daemon).await;
    subscribe(&mut socket, "1").await;
    socket.send(json!({ "type": "stop", "id": "1", "payload": null })).await;
    assert_eq!(socket.receive().await, json!({ "id": "1", "type": "complete" }));
    for id in ["1", "never"] {
        socket.send(json!({ "type": "stop", "id": id })).await;
    }
    is_quiet(&mut socket).await;
    assert_eq!(running(&daemon).await, "0");
}

#[tokio::test]
async fn l04_a_second_start_takes_the_place_of_the_first() {
    let daemon = builder().env("TIDINGS_LIMITS_SUBSCRIPTIONS", "1").start().await;
    let mut socket = open(&daemon).await;
    for _ in 0..3 {
        subscribe(&mut socket, "1").await;
    }
    assert_eq!(running(&daemon).await, "1");
    socket.send(start("1", "subscription { nothing }")).await;
    error(&mut socket, Some("1")).await;
    is_quiet(&mut socket).await;
    assert_eq!(running(&daemon).await, "0");
}

#[tokio::test]
async fn l05_a_refused_document_is_an_error_with_one_object() {
    let daemon = builder().env("TIDINGS_LIMITS_SUBSCRIPTIONS", "1").start().await;
    let mut socket = open(&daemon).await;
    for query in ["subscription {", "subscription { nothing other }"] {
        socket.send(start("1", query)).await;
        assert!(!error(&mut socket, Some("1")).await.0.is_empty());
    }
    let resuming = json!({ "query": QUIET, "extensions": { "cursor": "c" } });
    socket.send(json!({ "type": "start", "id": "1", "payload": resuming })).await;
    assert_eq!(error(&mut socket, Some("1")).await.1, "CURSOR_INVALID");
    subscribe(&mut socket, "1").await; // the id is free
    socket.send(start("2", QUIET)).await;
    assert_eq!(error(&mut socket, Some("2")).await.1, "TOO_MANY_SUBSCRIPTIONS");
}

#[tokio::test]
async fn l06_what_is_no_message_is_answered_and_the_socket_stays() {
    let daemon = daemon().await;
    let mut socket = open(&daemon).await;
    for bytes in [&b"{"[..], b"[]", b"{\"type\":\"\xff\"}"] {
        socket.send_bytes(bytes).await;
        let error = socket.receive().await;
        let payload = json!({ "message": "The message is not a JSON object." });
        assert_eq!(error, json!({ "type": "connection_error", "payload": payload }));
    }
    for (message, id) in [
        (json!({ "type": "subscribe", "id": "1", "payload": { "query": QUIET } }), Some("1")),
        (json!({ "type": "ping" }), None),
        (json!({ "type": 1 }), None),
        (json!({ "type": "start", "payload": { "query": QUIET } }), None),
        (json!({ "type": "start", "id": "1", "payload": null }), Some("1")),
        (json!({ "type": "stop" }), None),
    ] {
        socket.send(message).await;
        assert_eq!(error(&mut socket, id).await.1, "BAD_REQUEST");
    }
    is_quiet(&mut socket).await;
}

#[tokio::test]
async fn l07_terminate_closes_and_a_second_init_is_acked_again() {
    let daemon = daemon().await;
    let mut socket = open(&daemon).await;
    subscribe(&mut socket, "1").await;
    // Who the client is remains as it is.
    socket.send(json!({ "type": "connection_init", "payload": { "token": "abc" } })).await;
    assert_eq!(socket.receive().await, json!({ "type": "connection_ack" }));
    assert_eq!(socket.receive().await, json!({ "type": "ka" }));
    assert_eq!(running(&daemon).await, "1");
    socket.send(json!({ "type": "connection_terminate" })).await;
    assert_eq!(socket.closed().await, (1000, String::new()));
    drop(socket);
    daemon.wait_for_log("connection closed").await;
    assert_eq!(running(&daemon).await, "0");
}

#[tokio::test]
async fn w11_the_newer_protocol_is_chosen_if_both_are_offered() {
    let daemon = daemon().await;
    for offered in ["graphql-ws, graphql-transport-ws", "graphql-transport-ws, graphql-ws"] {
        let mut socket = Socket::connect(&daemon, offered).await;
        socket.send(json!({ "type": "ping" })).await;
        assert_eq!(socket.receive().await, json!({ "type": "pong" }), "{offered}");
    }
}

#[tokio::test]
async fn w02_w13_what_the_legacy_protocol_leaves_open_is_as_in_the_newer_one() {
    let daemon =
        builder().env("TIDINGS_JWT_LEEWAY_S", "0").env("TIDINGS_LIMITS_CONNECTIONS", "1").start().await;
    let mut silent = connect(&daemon).await;
    assert_eq!(connect(&daemon).await.closed().await.0, 1013);
    assert_eq!(silent.closed().await, (4408, "Connection initialisation timeout".into()));
    drop(silent);
    daemon.wait_for_log("connection closed").await;
    let mut socket = connect(&daemon).await;
    socket.send(init(&token_of(json!({ "sub": "alice" }), Duration::from_secs(2)))).await;
    acknowledged(&mut socket).await;
    subscribe(&mut socket, "1").await;
    assert_eq!(socket.closed().await, (4403, "Forbidden".into()));
}
