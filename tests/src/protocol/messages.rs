//! Part B: the shape of every message of `graphql-transport-ws`, and when none is sent.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::websocket::{Client, bare};
use super::{QUIET, alice, daemon};
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::websocket::Socket;
use crate::support::within;

/// The next message, as it was sent: W1 asks for an object in a text frame, with a string `type`.
async fn message(client: &mut Client) -> Value {
    loop {
        match within("a message", client.next()).await.unwrap().unwrap() {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                assert!(message.is_object() && message["type"].is_string(), "w01: {text}");
                for (name, member) in message.as_object().unwrap() {
                    assert!(!member.is_null(), "w03: {name} is null: {text}");
                }
                return message;
            }
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("w01: not a text frame: {other:?}"),
        }
    }
}

async fn say(client: &mut Client, message: &Value) {
    client.send(Message::text(message.to_string())).await.unwrap();
}

#[tokio::test]
async fn w01_w03_w06_every_message_is_an_object_in_a_text_frame_and_the_ack_is_the_first() {
    let daemon = daemon().await;
    let mut client = bare(&daemon).await;
    let payload = json!({ "token": alice() });
    for said in [
        json!({ "type": "ping" }),
        json!({ "type": "connection_init", "payload": payload }),
        json!({ "type": "subscribe", "id": "s", "payload": { "query": QUIET, "extensions": { "acknowledge": true } } }),
        json!({ "type": "subscribe", "id": "q", "payload": { "query": "{__typename}" } }),
        json!({ "type": "subscribe", "id": "e", "payload": { "query": "{" } }),
    ] {
        say(&mut client, &said).await;
    }
    assert_eq!(message(&mut client).await, json!({ "type": "pong" }));
    let ack = message(&mut client).await;
    assert_eq!(ack["type"], "connection_ack");
    assert!(ack["payload"]["cursor"].is_string());
    let mut seen = Vec::new();
    for _ in 0..4 {
        let message = message(&mut client).await;
        let mut keys: Vec<_> = message.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        seen.push(format!(
            "{} {} {keys:?}",
            message["type"].as_str().unwrap(),
            message["id"].as_str().unwrap()
        ));
    }
    seen.sort_unstable();
    let expected = [
        r#"complete q ["id", "type"]"#,
        r#"error e ["id", "payload", "type"]"#,
        r#"next q ["id", "payload", "type"]"#,
        r#"next s ["id", "payload", "type"]"#,
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn w08_w09_after_complete_nothing_more_is_sent_for_an_id_and_late_messages_are_ignored() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &alice()).await;
    let query = "subscription { events(channel: \"c\") { data } }";
    for id in ["ended", "kept"] {
        socket.subscribe(id, query).await;
    }
    let sql = database.connect().await;
    sql.run("select publish_event('c', 't', '1')").await;
    let mut both = [socket.receive().await, socket.receive().await];
    both.sort_by_key(|message| message["id"].to_string());
    assert_eq!((&both[0]["id"], &both[1]["id"]), (&json!("ended"), &json!("kept")), "both are live");
    // The same again, and for an id that never was: both are late.
    for id in ["ended", "ended", "never"] {
        socket.send(json!({ "type": "complete", "id": id })).await;
    }
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.receive().await, json!({ "type": "pong" }), "the completion itself is not answered");
    sql.run("select publish_event('c', 't', to_jsonb(n)) from generate_series(2, 4) n").await;
    for number in 2..=4 {
        let next = socket.receive().await;
        assert_eq!(
            (&next["id"], &next["payload"]["data"]["events"]["data"]),
            (&json!("kept"), &json!(number))
        );
    }
    assert_eq!(
        daemon.metric("tidings_transport_subscriptions{transport=\"graphql-transport-ws\"}").await,
        "1"
    );
}

#[tokio::test]
async fn w12_w14_the_server_pings_every_12_seconds_and_takes_its_pongs() {
    let daemon = daemon().await;
    let mut client = bare(&daemon).await;
    let start = Instant::now();
    say(&mut client, &json!({ "type": "connection_init", "payload": { "token": alice() } })).await;
    // The client library answers each ping while it is asked for the next message.
    let (mut pings, mut cursor) = (Vec::new(), None);
    while cursor.is_none() {
        match within("a ping", client.next()).await.unwrap().unwrap() {
            Message::Ping(_) => pings.push(start.elapsed()),
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["type"] == "ping" {
                    cursor = message["payload"]["cursor"].as_str().map(str::to_owned);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(pings.len() >= 4, "{pings:?}");
    for (at, number) in pings.iter().zip(1..) {
        let due = Duration::from_secs(12 * number);
        assert!(*at + Duration::from_secs(1) > due && *at < due + Duration::from_secs(10), "{pings:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(70), "a cursor about once a minute: {:?}", start.elapsed());
}
