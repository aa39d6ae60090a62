//! Whoever waits for the acknowledgement before publishing misses nothing, however busy the daemon is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const SOCKETS: usize = 4;
const ROUNDS_WS: usize = 75;
const ROUNDS_SSE: usize = 25;

/// A subscription to a channel of its own, which asks to be told when it is live.
fn request(channel: &str) -> Value {
    let query = format!("subscription {{ events(channel: {channel:?}) {{ data }} }}");
    json!({"query": query, "extensions": {"acknowledge": true}})
}

fn assert_acknowledges(result: &Value) {
    assert_eq!(result["data"], Value::Null, "{result}");
    assert_eq!(result["extensions"]["subscribed"], true, "{result}");
    assert!(result["extensions"]["cursor"].is_string(), "{result}");
}

/// Publishes elsewhere, so that batches are under dispatch all the time. At a pace, because one writer is faster than a
/// daemon without optimizations, and what is waited for would come behind all that it has not read.
fn load(database: &Arc<Database>, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (database, stop) = (database.clone(), stop.clone());
    tokio::spawn(async move {
        let sql = database.connect().await;
        let mut published = 0;
        let mut pace = tokio::time::interval(Duration::from_millis(15));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            pace.tick().await;
            sql.run("select publish_event('noise', 'n', '{}') from generate_series(1, 150)").await;
            published += 150;
        }
        published
    })
}

async fn rounds_over_websocket(database: Arc<Database>, daemon: Arc<Daemon>, number: usize) -> usize {
    let sql = database.connect().await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    for round in 0..ROUNDS_WS {
        let channel = format!("ws-{number}-{round}");
        let id = round.to_string();
        socket.send(json!({"type": "subscribe", "id": id, "payload": request(&channel)})).await;
        assert_acknowledges(&socket.next().await);
        sql.run(&format!("select publish_event('{channel}', 'x', '{round}')")).await;
        assert_eq!(socket.next().await["data"]["events"]["data"], round);
        socket.send(json!({"type": "complete", "id": id})).await;
    }
    ROUNDS_WS
}

async fn rounds_over_sse(database: Arc<Database>, daemon: Arc<Daemon>, number: usize) -> usize {
    let sql = database.connect().await;
    for round in 0..ROUNDS_SSE {
        let channel = format!("sse-{number}-{round}");
        let mut stream = Sse::post(&daemon, &token("ann", "acme"), &request(&channel)).await;
        let event = stream.next_event().await.unwrap();
        let result: Value = serde_json::from_str(&event.data).unwrap();
        assert_acknowledges(&result);
        assert_eq!(event.id.as_deref(), result["extensions"]["cursor"].as_str(), "the same place in both");
        sql.run(&format!("select publish_event('{channel}', 'x', '{round}')")).await;
        assert_eq!(stream.next().await["data"]["events"]["data"], round);
    }
    ROUNDS_SSE
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_after_the_acknowledgement_arrives() {
    let database = Arc::new(Database::new().await);
    let daemon = Arc::new(Daemon::start(&database.conninfo()).await);
    let stop = Arc::new(AtomicBool::new(false));
    let noise = load(&database, &stop);
    let mut runs = Vec::new();
    for number in 0..SOCKETS {
        runs.push(tokio::spawn(rounds_over_websocket(database.clone(), daemon.clone(), number)));
        runs.push(tokio::spawn(rounds_over_sse(database.clone(), daemon.clone(), number)));
    }
    let mut rounds = 0;
    for run in runs {
        rounds += run.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let noise = within("the load's end", noise).await.unwrap();
    println!(
        "{rounds} subscriptions published right after their acknowledgement; {rounds} results, none lost, beside {noise} other events"
    );
}

#[tokio::test]
async fn an_acknowledgement_comes_before_what_waits_and_only_to_those_who_ask() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let sql = database.connect().await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    socket.subscribe("plain", "subscription { events(channel: \"c\") { data } }").await;
    socket.send(json!({"type": "subscribe", "id": "asks", "payload": request("c")})).await;
    let first = socket.receive().await;
    assert_eq!(first["id"], "asks");
    assert_acknowledges(&first["payload"]);
    sql.run("select publish_event('c', 'x', '1')").await;
    let mut ids = [socket.receive().await, socket.receive().await].map(|message| message["id"].clone());
    ids.sort_by_key(Value::to_string);
    assert_eq!(ids, ["asks", "plain"]);
}

#[tokio::test]
async fn a_request_that_asks_in_another_way_is_refused() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let token = token("ann", "acme");
    let payload = json!({
        "query": "subscription { events(channel: \"c\") { data } }",
        "extensions": {"acknowledge": 1},
    });
    let mut socket = Socket::open(&daemon, &token).await;
    socket.send(json!({"type": "subscribe", "id": "a", "payload": payload})).await;
    let refused = socket.receive().await;
    let message = "`extensions.acknowledge` must be true or false, not a number";
    assert_eq!((&refused["type"], &refused["payload"][0]["message"]), (&"error".into(), &message.into()));
    let mut stream = Sse::post(&daemon, &token, &payload).await;
    let refused = stream.next().await;
    assert_eq!(refused["errors"][0]["message"], message);
    assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(stream.next_event().await.unwrap().event, "complete");
}
