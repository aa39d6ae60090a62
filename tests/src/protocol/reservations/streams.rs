//! What a stream carries.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Reservation;
use crate::protocol::raw::Raw;
use crate::protocol::{alice, code};
use crate::support::daemon::{Daemon, token_of};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::within;

pub(super) const CHAT: &str = "subscription { events(channel: \"chat\") { data } }";
pub(super) const NEWS: &str = "subscription { events(channel: \"news\") { data } }";

pub(super) async fn publish(database: &Database, channel: &str, number: i32) {
    let sql = database.connect().await;
    sql.run(&format!("select publish_event('{channel}', 'said', '{number}')")).await;
}

/// The next event: its name, its operation, and its payload.
pub(super) async fn next(stream: &mut Sse) -> (String, String, Value) {
    let event = stream.next_event().await.expect("the stream goes on");
    let mut data: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!(
        event.id.is_some(),
        event.event == "next" && data["payload"].get("errors").is_none() && data["id"] != "query",
        "s20: {event:?}"
    );
    (event.event, data["id"].as_str().unwrap().to_owned(), data["payload"].take())
}

pub(super) fn said(operation: &str, number: i32) -> (String, String, Value) {
    ("next".into(), operation.into(), json!({ "events": { "data": number } }))
}

/// The next event, without the extensions of its payload.
pub(super) async fn next_data(stream: &mut Sse) -> (String, String, Value) {
    let (event, id, mut payload) = next(stream).await;
    assert!(payload["extensions"]["cursor"].is_string(), "{payload}");
    (event, id, payload["data"].take())
}

/// Subscribes, and waits until the operation is live.
pub(super) async fn begin(
    daemon: &Daemon,
    reservation: &Reservation,
    stream: &mut Sse,
    id: &str,
    query: &str,
) {
    let extensions = json!({ "operationId": id, "acknowledge": true });
    let posted = reservation.post_value(daemon, &json!({ "query": query, "extensions": extensions })).await;
    assert_eq!(posted, (202, String::new()));
    let (event, of, payload) = next(stream).await;
    assert_eq!((event.as_str(), of.as_str()), ("next", id));
    assert_eq!(payload["extensions"]["subscribed"], true, "{payload}");
}

#[tokio::test]
async fn s16_s20_events_name_their_operation_and_the_stream_stays_open() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    begin(&daemon, &reservation, &mut stream, "chat", CHAT).await;
    begin(&daemon, &reservation, &mut stream, "a \"quoted\" id", NEWS).await;
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("chat", 1));
    publish(&database, "news", 2).await;
    assert_eq!(next_data(&mut stream).await, said("a \"quoted\" id", 2));
    reservation.subscribe(&daemon, "query", "{ __typename }").await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!(
        (event.as_str(), id.as_str(), payload),
        ("next", "query", json!({ "data": { "__typename": "Query" } }))
    );
    assert_eq!(next(&mut stream).await, ("complete".into(), "query".into(), Value::Null));
    // Its id is free again as soon as it is complete.
    reservation.subscribe(&daemon, "query", "{ __typename }").await;
    assert_eq!(next(&mut stream).await.1, "query");
    assert_eq!(next(&mut stream).await.0, "complete");
    publish(&database, "chat", 3).await;
    assert_eq!(next_data(&mut stream).await, said("chat", 3));
    assert_eq!(daemon.metric("tidings_transport_subscriptions{transport=\"sse-single\"}").await, "2");
}

#[tokio::test]
async fn s15_deleting_a_running_operation_emits_its_complete() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    begin(&daemon, &reservation, &mut stream, "1", CHAT).await;
    begin(&daemon, &reservation, &mut stream, "2", CHAT).await;
    assert_eq!(reservation.delete(&daemon, "1").await, (200, String::new()));
    assert_eq!(next(&mut stream).await, ("complete".into(), "1".into(), Value::Null));
    publish(&database, "chat", 1).await;
    assert_eq!(next_data(&mut stream).await, said("2", 1));
    assert_eq!(daemon.metric("tidings_subscriptions ").await, "1");
}

#[tokio::test]
async fn s19_s20_a_stream_starts_with_a_comment_retry_and_its_place() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let authorization = format!("authorization: Bearer {}", alice());
    let line = format!("GET /graphql/stream?token={}", reservation.token);
    let headers = ["accept: text/event-stream", &authorization];
    let mut stream = Raw::request(&daemon, &line, &headers, "").await;
    let text = stream.until("id: 0.").await;
    let (_, stream) = text.split_once("\r\n\r\n").unwrap();
    let (_, stream) = stream.split_once("\r\n").unwrap();
    assert!(stream.starts_with(":\n\nretry: "), "{stream:?}");
    assert_eq!(stream.matches("retry:").count(), 1);
}

#[tokio::test]
async fn an_operation_that_the_daemon_ends_is_told_and_its_id_is_free_again() {
    let database = Database::new().await;
    let sql = database.connect().await;
    sql.batch_execute(
        "create table orders (id int primary key);
         select attach_trigger('orders', type_name => 'Order')",
    )
    .await
    .unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    begin(&daemon, &reservation, &mut stream, "1", "subscription { orderInserted { id } }").await;
    begin(&daemon, &reservation, &mut stream, "2", CHAT).await;
    sql.run("select detach_trigger('orders')").await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!((event.as_str(), id.as_str(), code(&payload)), ("next", "1", "SCHEMA_CHANGED"));
    assert_eq!(next(&mut stream).await, ("complete".into(), "1".into(), Value::Null));
    begin(&daemon, &reservation, &mut stream, "1", CHAT).await;
    publish(&database, "chat", 1).await;
    let mut both = [next_data(&mut stream).await, next_data(&mut stream).await];
    both.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(both, [said("1", 1), said("2", 1)]);
}

#[tokio::test]
async fn an_expired_token_ends_every_operation_and_the_stream() {
    let database = Database::new().await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_JWT_LEEWAY_S", "0").start().await;
    let claims = json!({ "sub": "alice", "tenant_id": "acme" });
    let reservation = Reservation::make(&daemon, &alice()).await;
    let brief = reservation.stolen_by(&token_of(claims, Duration::from_secs(4)));
    let mut stream = brief.open(&daemon, None).await;
    begin(&daemon, &reservation, &mut stream, "1", CHAT).await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!((event.as_str(), id.as_str(), code(&payload)), ("next", "1", "TOKEN_EXPIRED"));
    assert_eq!(next(&mut stream).await, ("complete".into(), "1".into(), Value::Null));
    assert_eq!(stream.next_event().await, None);
    // By whole seconds the token may be good for a moment more.
    within("the refusal of the token", async { while brief.get(&daemon, None).await.status() != 401 {} })
        .await;
}

#[tokio::test]
async fn a_reservation_that_is_voided_ends_its_stream_in_words() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let mut stream = reservation.open(&daemon, None).await;
    begin(&daemon, &reservation, &mut stream, "1", CHAT).await;
    let sql = database.connect().await;
    sql.run("delete from tidings.connections").await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!((event.as_str(), id.as_str(), code(&payload)), ("next", "1", "RESERVATION_GONE"));
    assert_eq!(next(&mut stream).await.0, "complete");
    assert_eq!(stream.next_event().await, None);
    assert_eq!(reservation.get(&daemon, None).await.status(), 404);
}

#[tokio::test]
async fn a_drain_says_when_to_come_back_and_frees_the_reservation() {
    let database = Database::new().await;
    let mut first = Daemon::builder(&database.conninfo()).env("TIDINGS_DRAIN_S", "0").start().await;
    let reservation = Reservation::make(&first, &alice()).await;
    let mut stream = reservation.open(&first, None).await;
    begin(&first, &reservation, &mut stream, "1", CHAT).await;
    assert!(first.terminate().await.success());
    assert_eq!(stream.next_event().await, None, "nothing is complete");
    let second = Daemon::start(&database.conninfo()).await;
    assert_eq!(reservation.get(&second, None).await.status(), 200, "the lease has ended with the stream");
}

#[tokio::test]
async fn the_store_knows_hashes_and_no_tokens() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    reservation.subscribe(&daemon, "1", CHAT).await;
    let _stream = reservation.open(&daemon, None).await;
    let sql = database.connect().await;
    let row = "select to_jsonb(c)::text || to_jsonb(d)::text || coalesce(c.claims::text, ''), \
               c.token_hash = sha256($1::text::bytea), c.tenant_id, c.user_id \
               from tidings.connections c join tidings.documents d using (token_hash)";
    let row = sql.query_one(row, &[&reservation.token]).await.unwrap();
    let text: String = row.get(0);
    assert!(!text.contains(&reservation.token) && !text.contains(&alice()), "{text}");
    assert!(row.get::<_, bool>(1));
    assert_eq!((row.get(2), row.get(3)), ("acme", "alice"));
    assert!(!daemon.log().contains(&reservation.token));
}
