//! Part B: `graphql-transport-ws`.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::{QUIET, alice, builder, code, daemon};
use crate::support::daemon::{Daemon, token_of};
use crate::support::websocket::Socket;
use crate::support::within;

pub(super) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A socket without any politeness.
async fn connect(daemon: &Daemon, headers: &[(&'static str, &str)]) -> Client {
    let mut request = format!("ws://{}/graphql", daemon.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    within("the upgrade", connect_async(request)).await.unwrap().0
}

/// A socket on which nothing was said yet.
pub(super) async fn bare(daemon: &Daemon) -> Client {
    connect(daemon, &[("sec-websocket-protocol", "graphql-transport-ws")]).await
}

/// The code and reason with which the server closes.
async fn closed(client: &mut Client) -> (u16, String) {
    within("a close", async {
        loop {
            match client.next().await {
                Some(Ok(Message::Close(Some(frame)))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    })
    .await
}

fn because(code: u16, reason: &str) -> (u16, String) {
    (code, reason.to_owned())
}

#[tokio::test]
async fn w02_init_has_three_seconds_and_one_chance() {
    let daemon = daemon().await;
    let start = Instant::now();
    let mut silent = bare(&daemon).await;
    assert_eq!(closed(&mut silent).await, because(4408, "Connection initialisation timeout"));
    assert!((2.9..12.0).contains(&start.elapsed().as_secs_f32()));

    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.send(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.closed().await, because(4429, "Too many initialisation requests"));
}

#[tokio::test]
async fn w02_who_is_rejected_is_told_4403() {
    let daemon = daemon().await;
    for payload in [json!(null), json!({}), json!({ "token": "abc" })] {
        let mut socket = Socket::connect(&daemon, "graphql-transport-ws").await;
        socket.send(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.closed().await, because(4403, "Forbidden"));
    }
}

#[tokio::test]
async fn w02_the_token_may_stand_in_the_header_of_the_upgrade() {
    let daemon = daemon().await;
    let bearer = format!("Bearer {}", alice());
    let mut client =
        connect(&daemon, &[("sec-websocket-protocol", "graphql-transport-ws"), ("authorization", &bearer)])
            .await;
    client.send(Message::text(r#"{"type":"connection_init"}"#)).await.unwrap();
    let ack = within("the ack", client.next()).await.unwrap().unwrap().into_text().unwrap();
    assert!(ack.contains("connection_ack"), "{ack}");
}

#[tokio::test]
async fn w04_a_ping_is_answered_before_init() {
    let daemon = daemon().await;
    let mut socket = Socket::connect(&daemon, "graphql-transport-ws").await;
    socket.send(json!({ "type": "ping", "payload": { "x": 1 } })).await;
    assert_eq!(socket.receive().await, json!({ "type": "pong", "payload": { "x": 1 } }));
}

#[tokio::test]
async fn w05_subscribe_needs_an_ack_and_a_free_id() {
    let daemon = daemon().await;
    let mut early = Socket::connect(&daemon, "graphql-transport-ws").await;
    let subscribe =
        json!({ "type": "subscribe", "id": "1", "payload": { "query": QUIET, "variables": null } });
    early.send(subscribe.clone()).await;
    assert_eq!(early.closed().await, because(4401, "Unauthorized"));

    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.subscribe("1", QUIET).await;
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    socket.subscribe("1", QUIET).await;
    socket.send(subscribe).await;
    assert_eq!(socket.closed().await, because(4409, "Subscriber for 1 already exists"));
}

#[tokio::test]
async fn w07_refused_documents_are_errors_of_the_operation() {
    let daemon = daemon().await;
    let mut socket = Socket::open(&daemon, &alice()).await;
    for query in ["subscription {", "subscription { nothing }"] {
        socket.send(json!({ "type": "subscribe", "id": "1", "payload": { "query": query } })).await;
        let error = socket.receive().await;
        assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("1")));
        assert!(error["payload"][0]["message"].is_string());
    }
    // W9: what comes late for an operation that is over is ignored.
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    socket.send(json!({ "type": "complete", "id": "never" })).await;
    socket.subscribe("1", QUIET).await;
}

#[tokio::test]
async fn w10_what_is_no_message_closes_4400() {
    let daemon = daemon().await;
    for message in [
        Message::text("{"),
        Message::text("[]"),
        Message::binary(vec![0xff]),
        Message::text(r#"{"type":"x"}"#),
    ] {
        let mut client = bare(&daemon).await;
        client.send(message).await.unwrap();
        assert_eq!(closed(&mut client).await.0, 4400);
    }
    let mut client = bare(&daemon).await;
    client.send(Message::binary(br#"{"type":"ping","extra":1}"#.to_vec())).await.unwrap();
    let pong = within("a pong", client.next()).await.unwrap().unwrap().into_text().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&pong).unwrap(), json!({ "type": "pong" }));
}

#[tokio::test]
async fn w10_a_value_that_cannot_be_represented_costs_its_own_operation() {
    let daemon = daemon().await;
    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.subscribe("live", QUIET).await;
    let query = "query($c: Boolean!) { __typename @include(if: $c) }";
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    for value in [r#""\ud800""#, "1e400", &"9".repeat(400), &deep] {
        let payload = format!(r#"{{"query":"{query}","variables":{{"c":{value}}}}}"#);
        let message = format!(r#"{{"id":"1","type":"subscribe","payload":{payload}}}"#);
        socket.send_bytes(message.as_bytes()).await;
        let answer = socket.receive().await;
        assert_eq!((&answer["type"], &answer["id"]), (&json!("error"), &json!("1")), "{answer}");
    }
    socket.send(json!({"type": "ping"})).await;
    assert_eq!(socket.receive().await["type"], "pong", "the socket and its other operations go on");
}

#[tokio::test]
async fn w11_the_subprotocol_must_be_known_and_a_query_is_answered() {
    let daemon = daemon().await;
    for headers in [&[][..], &[("sec-websocket-protocol", "soap")][..]] {
        let mut request = format!("ws://{}/graphql", daemon.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        // A client library refuses an upgrade that ignores what it offered; the socket itself is open.
        match within("the upgrade", connect_async(request)).await {
            Ok((mut client, _)) => {
                assert_eq!(closed(&mut client).await, because(4406, "Subprotocol not acceptable"));
            }
            Err(error) => assert!(error.to_string().contains("subprotocol"), "{error}"),
        }
    }
    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.send(json!({ "type": "subscribe", "id": "q", "payload": { "query": "{__typename}" } })).await;
    assert_eq!(socket.receive().await["payload"]["data"]["__typename"], "Query");
    assert_eq!(socket.receive().await, json!({ "type": "complete", "id": "q" }));
}

#[tokio::test]
async fn w12_a_socket_without_pongs_is_terminated() {
    let daemon = daemon().await;
    let mut client = bare(&daemon).await;
    let token = format!(r#"{{"type":"connection_init","payload":{{"token":"{}"}}}}"#, alice());
    client.send(Message::text(token)).await.unwrap();
    let start = Instant::now();
    // The client library answers pings only while it is polled, so for now it is not.
    tokio::time::timeout(Duration::from_secs(45), daemon.wait_for_log("connection closed")).await.unwrap();
    assert!((23.0..40.0).contains(&start.elapsed().as_secs_f32()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn w13_overload_and_foreign_origins_are_told_after_the_upgrade() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS", "1").start().await;
    let _first = Socket::open(&daemon, &alice()).await;
    assert_eq!(closed(&mut bare(&daemon).await).await.0, 1013);
    let headers = [("sec-websocket-protocol", "graphql-transport-ws"), ("origin", "https://evil.example")];
    assert_eq!(closed(&mut connect(&daemon, &headers).await).await, because(4403, "Forbidden"));
}

#[tokio::test]
async fn w13_an_expired_token_closes_4403_and_a_limit_is_an_error() {
    let daemon =
        builder().env("TIDINGS_JWT_LEEWAY_S", "0").env("TIDINGS_LIMITS_SUBSCRIPTIONS", "1").start().await;
    let token = token_of(json!({ "sub": "alice" }), Duration::from_secs(2));
    let mut socket = Socket::open(&daemon, &token).await;
    socket.subscribe("1", QUIET).await;
    socket.send(json!({ "type": "subscribe", "id": "2", "payload": { "query": QUIET } })).await;
    let error = socket.receive().await;
    assert_eq!(code(&json!({ "errors": error["payload"] })), "TOO_MANY_SUBSCRIPTIONS");
    assert_eq!(socket.closed().await, because(4403, "Forbidden"));
}

#[tokio::test]
async fn w14_the_ack_carries_a_cursor_and_what_is_none_is_refused() {
    let daemon = daemon().await;
    let mut socket = Socket::connect(&daemon, "graphql-transport-ws").await;
    socket.send(json!({ "type": "connection_init", "payload": { "token": alice() } })).await;
    let ack = socket.receive().await;
    assert!(ack["payload"]["cursor"].is_string(), "{ack}");
    let payload = json!({ "query": QUIET, "extensions": { "cursor": "abc" } });
    socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
    let error = socket.receive().await;
    assert_eq!(code(&json!({ "errors": error["payload"] })), "CURSOR_INVALID");
}

#[tokio::test]
async fn w15_messages_have_a_size_whole_or_in_fragments() {
    // Small enough that the daemon has read all of it: what a closing socket leaves unread resets the connection.
    let small = builder().env("TIDINGS_LIMITS_BODY_BYTES", "1024").env("TIDINGS_DOCUMENT_MAX_BYTES", "512");
    let daemon = small.start().await;
    let mut client = bare(&daemon).await;
    client.send(Message::text(" ".repeat(3_000))).await.unwrap();
    assert_eq!(closed(&mut client).await.0, 1009);

    let mut client = bare(&daemon).await;
    for number in 0..3 {
        let opcode = if number == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(vec![b' '; 800], OpCode::Data(opcode), number == 2);
        client.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(closed(&mut client).await.0, 1009);
}
