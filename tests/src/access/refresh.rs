//! A new token for a live WebSocket: the connection outlives the old one, as long as nothing else changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::places::builder;
use crate::support::daemon::{Daemon, token_of};
use crate::support::database::Database;
use crate::support::script::Script;
use crate::support::websocket::Socket;

const QUIET: &str = "subscription { events(channel: \"quiet\") { id } }";

async fn daemon() -> Daemon {
    builder().env("TIDINGS_JWT_LEEWAY_S", "0").start().await
}

fn claims() -> Value {
    json!({ "sub": "alice", "tenant_id": "acme", "role": "user", "groups": ["a"] })
}

async fn refresh(socket: &mut Socket, token: &str) {
    let payload = json!({ "authorization": format!("Bearer {token}") });
    socket.send(json!({ "type": "ping", "payload": payload })).await;
}

#[tokio::test]
async fn a_refreshed_connection_outlives_its_first_token() {
    let daemon = daemon().await;
    let mut refreshed = Socket::open(&daemon, &token_of(claims(), Duration::from_secs(2))).await;
    let mut other = Socket::open(&daemon, &token_of(claims(), Duration::from_secs(2))).await;
    refreshed.subscribe("1", QUIET).await;
    let mut later = claims();
    later["jti"] = "another".into();
    later["iat"] = 1.into();
    refresh(&mut refreshed, &token_of(later, Duration::from_secs(600))).await;
    assert_eq!(refreshed.receive().await, json!({ "type": "pong", "payload": { "refreshed": true } }));

    // The other one's end says that the first token has expired.
    assert_eq!(other.closed().await, (4403, "Forbidden".to_owned()));
    refreshed.subscribe("2", QUIET).await;
    refresh(&mut refreshed, &token_of(claims(), Duration::from_secs(2))).await;
    assert_eq!(refreshed.receive().await["payload"]["refreshed"], true);
    assert_eq!(refreshed.closed().await.0, 4403, "it lasts as long as the last token, not the longest");
}

#[tokio::test]
async fn a_token_of_somebody_else_or_with_other_claims_ends_the_connection() {
    let daemon = daemon().await;
    for (name, value) in [
        ("sub", json!("bob")),
        ("tenant_id", json!("globex")),
        ("role", json!("admin")),
        ("groups", json!(["a", "b"])),
        ("iss", json!("another")),
    ] {
        let mut socket = Socket::open(&daemon, &token_of(claims(), Duration::from_secs(600))).await;
        let mut changed = claims();
        changed[name] = value;
        refresh(&mut socket, &token_of(changed, Duration::from_secs(600))).await;
        assert_eq!(socket.closed().await, (4403, "Forbidden".to_owned()), "{name}");
    }
    for bad in ["nonsense".to_owned(), token_of(claims(), Duration::ZERO)] {
        let mut socket = Socket::open(&daemon, &token_of(claims(), Duration::from_secs(600))).await;
        refresh(&mut socket, &bad).await;
        assert_eq!(socket.closed().await.0, 4403, "{bad}");
    }
    assert_eq!(daemon.metric("tidings_refusals_total{code=\"REFRESH_REFUSED\"}").await, "5");
}

#[tokio::test]
async fn refreshes_are_bounded_like_operations_and_cost_nothing_but_an_answer() {
    let daemon = builder().env("TIDINGS_LIMITS_OPERATIONS_PER_MINUTE", "1").start().await;
    let token = token_of(claims(), Duration::from_secs(600));
    let mut socket = Socket::open(&daemon, &token).await;
    refresh(&mut socket, &token).await;
    assert_eq!(socket.receive().await["payload"]["refreshed"], true);
    refresh(&mut socket, &token).await;
    assert_eq!(socket.receive().await["payload"]["refreshed"], false);
    socket.send(json!({ "type": "ping", "payload": { "time": 1 } })).await;
    assert_eq!(socket.receive().await["payload"]["time"], 1, "other pings are as they were");
}

#[tokio::test]
async fn graphql_ws_can_refresh_as_it_comes() {
    let database = Database::new().await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_JWT_LEEWAY_S", "0").start().await;
    let brief = token_of(claims(), Duration::from_secs(6));
    let mut other = Socket::open(&daemon, &brief).await;
    let later = token_of(claims(), Duration::from_secs(600));
    let url = format!("ws://{}/graphql", daemon.address);
    let more = ["--count", "1", "--refresh", &later];
    let mut client = Script::start_with("graphql-ws.mjs", &url, QUIET, &brief, &more);
    let mut told = [client.line().await, client.line().await];
    told.sort_by_key(|line| line.get("refreshed").is_some());
    assert_eq!(told, [json!({ "subscribed": true }), json!({ "refreshed": true })]);

    assert_eq!(other.closed().await.0, 4403, "the first token has expired");
    database.connect().await.run("select publish_event('quiet', 'posted', '{}')").await;
    assert!(client.line().await["data"]["events"]["id"].is_string());
    assert_eq!(daemon.log().matches("connection opened").count(), 2, "it has not come again");
    client.succeeds().await;
}
