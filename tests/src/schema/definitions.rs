//! From `define_subscriptions` to typed results at clients.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, token, token_of};
use crate::support::database::Database;
use crate::support::websocket::Socket;

const CHAT: &str = "select define_subscriptions($$
    enum Mood { GLAD SAD }
    type Message { id: ID! author: String! body: String! mood: Mood ip: String @visibleTo(roles: [\"moderator\"]) }
    extend type Subscription {
      messagePosted(room: ID!, author: [String!]): Message! @event(channel: \"chat\", type: \"posted\")
    }
$$)";

fn posted(tenant: &str, payload: &Value) -> String {
    format!("select publish_event('chat', 'posted', '{payload}', tenant_id => '{tenant}')")
}

async fn message(socket: &mut Socket) -> Value {
    socket.next().await["data"]["messagePosted"].clone()
}

#[tokio::test]
async fn published_events_arrive_typed_matched_and_redacted() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(CHAT).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let query =
        |arguments: &str| format!("subscription {{ messagePosted({arguments}) {{ id author mood ip }} }}");
    let mut ann = Socket::open(&daemon, &token("ann", "acme")).await;
    ann.subscribe("1", &query("room: 7")).await;
    let moderator =
        token_of(json!({"sub": "mo", "tenant_id": "acme", "role": "moderator"}), Duration::from_secs(600));
    let mut moderator = Socket::open(&daemon, &moderator).await;
    moderator.subscribe("1", &query(r#"room: "7", author: ["bob", "eve"]"#)).await;
    let post = |tenant: &'static str, id: u32, room: Value, author: &'static str| {
        posted(
            tenant,
            &json!({"id": id, "room": room, "author": author, "body": "b", "mood": "GLAD", "ip": "::1"}),
        )
    };
    for statement in [
        post("acme", 1, json!(7), "ann"),
        post("globex", 2, json!(7), "bob"),
        post("acme", 3, json!(8), "bob"),
        post("acme", 4, json!("7"), "bob"),
    ] {
        client.batch_execute(&statement).await.unwrap();
    }
    assert_eq!(message(&mut ann).await, json!({"id": "1", "author": "ann", "mood": "GLAD", "ip": null}));
    assert_eq!(message(&mut ann).await, json!({"id": "4", "author": "bob", "mood": "GLAD", "ip": null}));
    assert_eq!(
        message(&mut moderator).await,
        json!({"id": "4", "author": "bob", "mood": "GLAD", "ip": "::1"})
    );

    ann.send(json!({"type": "subscribe", "id": "2", "payload":
        {"query": r#"subscription { events(channel: "chat") { data } }"#}}))
        .await;
    let refused = ann.receive().await;
    assert_eq!(refused["payload"][0]["extensions"]["code"], "FORBIDDEN", "{refused}");
}

#[tokio::test]
async fn a_new_definition_reaches_running_clients_and_costs_only_what_it_breaks() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(CHAT).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    socket.subscribe("stays", "subscription { messagePosted(room: 1) { body } }").await;
    socket.subscribe("breaks", "subscription { messagePosted(room: 1) { mood } }").await;
    let changed = "select define_subscriptions($$
        type Message { body: String! language: String }
        extend type Subscription { messagePosted(room: ID!): Message! @event(channel: \"chat\", type: \"posted\") }
    $$)";
    client.batch_execute(changed).await.unwrap();
    let ended = socket.receive().await;
    assert_eq!((&ended["type"], &ended["id"]), (&json!("error"), &json!("breaks")), "{ended}");
    assert_eq!(ended["payload"][0]["extensions"]["code"], "SCHEMA_CHANGED");
    socket.subscribe("new", "subscription { messagePosted(room: 1) { language } }").await;
    client.batch_execute(&posted("acme", &json!({"room": 1, "body": "hi", "language": "en"}))).await.unwrap();
    let mut got = [socket.receive().await, socket.receive().await];
    got.sort_by_key(|message| message["id"].as_str().map(str::to_owned));
    assert_eq!(got[0]["payload"]["data"]["messagePosted"], json!({"language": "en"}));
    assert_eq!(got[1]["payload"]["data"]["messagePosted"], json!({"body": "hi"}));

    client.batch_execute("select drop_subscriptions()").await.unwrap();
    let mut ended = [socket.receive().await, socket.receive().await];
    ended.sort_by_key(|message| message["id"].as_str().map(str::to_owned));
    for (message, id) in ended.iter().zip(["new", "stays"]) {
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message}");
    }
}
