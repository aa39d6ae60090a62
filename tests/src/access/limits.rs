//! Limits by user and tenant, each at its boundary, and none of them at the cost of somebody else.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use super::places::{ask, builder};
use crate::support::daemon::{Daemon, token, token_of};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const QUIET: &str = "subscription { events(channel: \"quiet\") { id } }";
const CHAT: &str = "subscription { events(channel: \"chat\") { data } }";

async fn open(daemon: &Daemon, token: &str) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client
        .post(format!("http://{}/graphql", daemon.address))
        .bearer_auth(token)
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(json!({ "query": QUIET }).to_string());
    within("the head", request.send()).await.unwrap()
}

async fn refused(response: Response, code: &str) {
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["errors"][0]["extensions"]["code"], code);
}

async fn rejections(daemon: &Daemon, limit: &str) -> String {
    daemon.metric(&format!("tidings_limit_rejections_total{{limit=\"{limit}\"}}")).await
}

/// What a WebSocket is told instead of an acknowledgement.
async fn closed_at_once(daemon: &Daemon, token: &str) -> (u16, String) {
    let mut socket = Socket::connect(daemon, "graphql-transport-ws").await;
    socket.send(json!({ "type": "connection_init", "payload": { "token": token } })).await;
    socket.closed().await
}

#[tokio::test]
async fn a_user_has_so_many_connections_over_all_transports() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS_PER_USER", "2").start().await;
    let alice = token("alice", "acme");
    let stream = open(&daemon, &alice).await;
    let _socket = Socket::open(&daemon, &alice).await;
    refused(open(&daemon, &alice).await, "TOO_MANY_CONNECTIONS").await;
    let (code, reason) = closed_at_once(&daemon, &alice).await;
    assert_eq!(code, 1013); // W13
    assert!(reason.starts_with("This user already has 2 connections"), "{reason}");
    assert_eq!(rejections(&daemon, "connections_per_user").await, "2");

    // Another user, and one of the same name elsewhere, are not concerned.
    assert_eq!(open(&daemon, &token("bob", "acme")).await.status(), 200);
    assert_eq!(open(&daemon, &token("alice", "globex")).await.status(), 200);
    // A query needs no connection.
    let authorization = format!("Bearer {alice}");
    assert_eq!(ask(&daemon, "", &[("authorization", &authorization)]).await.status(), 200);

    // Who leaves makes room. Those that were refused are closed, and logged as such, too.
    let closed = daemon.log().matches("connection closed").count();
    drop(stream);
    daemon.wait_for_logs("connection closed", closed + 1).await;
    within("room for one", async { while open(&daemon, &alice).await.status() != 200 {} }).await;
}

#[tokio::test]
async fn a_tenant_has_so_many_connections() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS_PER_TENANT", "2").start().await;
    let _streams = [open(&daemon, &token("a", "acme")).await, open(&daemon, &token("b", "acme")).await];
    refused(open(&daemon, &token("c", "acme")).await, "TOO_MANY_CONNECTIONS").await;
    let (code, reason) = closed_at_once(&daemon, &token("a", "acme")).await;
    assert_eq!(code, 1013);
    assert!(reason.starts_with("This tenant already has 2 connections"), "{reason}");
    assert_eq!(rejections(&daemon, "connections_per_tenant").await, "2");
    assert_eq!(open(&daemon, &token("c", "globex")).await.status(), 200);
}

#[tokio::test]
async fn who_is_no_user_counts_by_tenant_and_address() {
    let builder = builder().env("TIDINGS_LIMITS_CONNECTIONS_PER_USER", "1");
    let daemon = builder.env("TIDINGS_TRUSTED_PROXIES", "127.0.0.1").start().await;
    let service = token_of(json!({ "tenant_id": "acme" }), Duration::from_secs(600));
    let from = async |address: &str, token: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client
            .get(format!("http://{}/graphql", daemon.address))
            .query(&[("query", QUIET)])
            .bearer_auth(token)
            .header("x-forwarded-for", address)
            .header("accept", "text/event-stream");
        within("the head", request.send()).await.unwrap()
    };
    let first = from("198.51.100.1", &service).await;
    assert_eq!(first.status(), 200);
    refused(from("198.51.100.1", &service).await, "TOO_MANY_CONNECTIONS").await;
    let second = from("198.51.100.2", &service).await;
    assert_eq!(second.status(), 200);
    // A user is the same from everywhere.
    let user = from("198.51.100.1", &token("alice", "acme")).await;
    assert_eq!(user.status(), 200);
    refused(from("198.51.100.2", &token("alice", "acme")).await, "TOO_MANY_CONNECTIONS").await;
}

#[tokio::test]
async fn without_authentication_an_address_is_a_user() {
    let builder = Daemon::builder("postgres://nobody@localhost/nothing")
        .env("TIDINGS_SOURCE", "memory")
        .env("TIDINGS_AUTH", "none")
        .env("TIDINGS_JWT_SECRET", "")
        .env("TIDINGS_LIMITS_CONNECTIONS_PER_USER", "1");
    let daemon = builder.start().await;
    let first = open(&daemon, "whatever").await;
    assert_eq!(first.status(), 200);
    refused(open(&daemon, "another").await, "TOO_MANY_CONNECTIONS").await;
}

#[tokio::test]
async fn a_user_begins_so_many_operations_in_a_minute() {
    let daemon = builder().env("TIDINGS_LIMITS_OPERATIONS_PER_MINUTE", "3").start().await;
    let alice = token("alice", "acme");
    let mut socket = Socket::open(&daemon, &alice).await;
    socket.subscribe("1", QUIET).await;
    socket.subscribe("2", QUIET).await;
    assert_eq!(open(&daemon, &alice).await.status(), 200);

    // W13: an error of the operation; the socket and what runs on it stay.
    let subscribe = |id: &str| json!({ "type": "subscribe", "id": id, "payload": { "query": QUIET } });
    socket.send(subscribe("3")).await;
    let error = socket.receive().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("3")));
    assert_eq!(error["payload"][0]["extensions"]["code"], "TOO_MANY_OPERATIONS");
    assert!(error["payload"][0]["message"].as_str().unwrap().contains("try again in"), "{error}");
    refused(open(&daemon, &alice).await, "TOO_MANY_OPERATIONS").await;
    let authorization = format!("Bearer {alice}");
    refused(ask(&daemon, "", &[("authorization", &authorization)]).await, "TOO_MANY_OPERATIONS").await;

    let mut legacy = Socket::connect(&daemon, "graphql-ws").await;
    legacy.send(json!({ "type": "connection_init", "payload": { "token": alice } })).await;
    assert_eq!(legacy.receive().await["type"], "connection_ack");
    assert_eq!(legacy.receive().await["type"], "ka");
    legacy.send(json!({ "type": "start", "id": "1", "payload": { "query": QUIET } })).await;
    let error = legacy.receive().await;
    assert_eq!(error["payload"]["extensions"]["code"], "TOO_MANY_OPERATIONS", "{error}");
    assert_eq!(rejections(&daemon, "operations_per_minute").await, "4");

    let mut bob = Socket::open(&daemon, &token("bob", "acme")).await;
    bob.subscribe("1", QUIET).await;
    socket.send(json!({ "type": "complete", "id": "1" })).await;
    socket.send(json!({ "type": "ping" })).await;
    assert_eq!(socket.receive().await["type"], "pong");
}

#[tokio::test]
async fn reserved_streams_count_as_all_others_do() {
    let builder = builder().env("TIDINGS_LIMITS_CONNECTIONS_PER_USER", "1");
    let daemon = builder.env("TIDINGS_LIMITS_OPERATIONS_PER_MINUTE", "1").start().await;
    let alice = token("alice", "acme");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/graphql/stream", daemon.address);
    let send = async |request: reqwest::RequestBuilder| {
        within("an answer", request.bearer_auth(&alice).send()).await.unwrap()
    };
    let reserve = async || send(client.put(&url)).await.text().await.unwrap();
    let (first, second) = (reserve().await, reserve().await);
    let stream = async |reservation: &str| {
        let get = client.get(&url).header("accept", "text/event-stream");
        send(get.header("x-graphql-event-stream-token", reservation)).await
    };
    let open = stream(&first).await;
    assert_eq!(open.status(), 200);
    refused(stream(&second).await, "TOO_MANY_CONNECTIONS").await;
    let begin = async |id: &str| {
        let operation = json!({ "query": QUIET, "extensions": { "operationId": id } }).to_string();
        let post = client.post(&url).header("content-type", "application/json").body(operation);
        send(post.header("x-graphql-event-stream-token", &first)).await
    };
    assert_eq!(begin("1").await.status(), 202);
    refused(begin("2").await, "TOO_MANY_OPERATIONS").await;
}

/// A daemon that delivers so many results a second to one user.
async fn delivering(database: &Database, per_second: &str) -> Daemon {
    let builder = Daemon::builder(&database.conninfo());
    builder.env("TIDINGS_LIMITS_DELIVERIES_PER_SECOND", per_second).start().await
}

async fn publish(database: &Database, channel: &str, count: u32) {
    let publish = format!(
        "select publish_event('{channel}', 'posted', jsonb_build_object('n', n, 'key', n % 2))
         from generate_series(1, {count}) n order by n"
    );
    database.connect().await.run(&publish).await;
}

#[tokio::test]
async fn more_than_may_be_delivered_ends_a_subscription_with_a_cursor() {
    let database = Database::new().await;
    let daemon = delivering(&database, "3").await;
    let mut alice = Socket::open(&daemon, &token("alice", "acme")).await;
    alice.subscribe("1", CHAT).await;
    let mut bob = Sse::open(&daemon, &token("bob", "acme"), QUIET).await;
    publish(&database, "chat", 50).await;
    let (mut last, mut count) = (Value::Null, 0);
    let error = loop {
        let message = alice.receive().await;
        if message["type"] == "error" {
            break message;
        }
        count += 1;
        assert_eq!(message["payload"]["data"]["events"]["data"]["n"], count);
        last = message["payload"]["extensions"]["cursor"].clone();
    };
    // Three, and as many more as a slow machine gives time for.
    assert!((3..50).contains(&count), "{count}");
    let error = &error["payload"][0];
    assert_eq!(error["extensions"], json!({ "code": "RATE_LIMITED", "cursor": last }), "{error}");
    assert_eq!(rejections(&daemon, "deliveries_per_second").await, "1");

    // Its connection goes on, and so does everybody else's.
    publish(&database, "quiet", 1).await;
    assert!(bob.next().await["data"]["events"]["id"].is_string());
    alice.send(json!({ "type": "ping" })).await;
    assert_eq!(alice.receive().await["type"], "pong");
}

#[tokio::test]
async fn all_connections_of_a_user_share_what_may_be_delivered() {
    let database = Database::new().await;
    let daemon = delivering(&database, "4").await;
    let alice = token("alice", "acme");
    let mut streams = [Sse::open(&daemon, &alice, CHAT).await, Sse::open(&daemon, &alice, CHAT).await];
    publish(&database, "chat", 40).await;
    let mut delivered = 0;
    for stream in &mut streams {
        loop {
            let event = stream.next_event().await.expect("an end in so many words");
            if event.event == "complete" {
                break;
            }
            delivered += usize::from(!event.data.contains("RATE_LIMITED"));
        }
    }
    assert!((4..40).contains(&delivered), "{delivered}");
    assert_eq!(rejections(&daemon, "deliveries_per_second").await, "2");
}

#[tokio::test]
async fn a_throttled_subscription_conflates_instead() {
    let database = Database::new().await;
    let daemon = delivering(&database, "1").await;
    let throttled =
        "subscription { events(channel: \"chat\") @throttle(ms: 10, key: \"data.key\") { data } }";
    let mut alice = Sse::open(&daemon, &token("alice", "acme"), throttled).await;
    publish(&database, "chat", 100).await;
    let mut last = std::collections::BTreeMap::new();
    let mut count = 0;
    while last.get(&0) != Some(&100) || last.get(&1) != Some(&99) {
        let result = alice.next().await;
        let data = &result["data"]["events"]["data"];
        last.insert(data["key"].as_u64().unwrap(), data["n"].as_u64().unwrap());
        count += 1;
    }
    assert!(count < 100, "the last of each key came, and no more of them than may");
}
