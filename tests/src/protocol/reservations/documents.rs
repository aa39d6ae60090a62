//! Operations that begin with rows, and those that a function has to allow.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::Reservation;
use super::streams::next;
use crate::protocol::code;
use crate::support::daemon::{Daemon, token_of};
use crate::support::database::{Database, Session};

const ROWS: &str = "subscription { orderChanged @initial { operation record { id } } }";

struct Setting {
    sql: Session,
    daemon: Daemon,
    bearer: String,
    _database: Database,
}

impl Setting {
    async fn new() -> Self {
        let database = Database::new().await;
        let (sql, role) = (database.connect().await, database.role().await);
        sql.run(&format!(
            "create table orders (id int primary key, tenant text);
             insert into orders values (1, 'acme'), (2, 'globex'), (3, 'acme');
             grant select on orders to {role};
             select attach_trigger('orders', type_name => 'Order', tenant_column => 'tenant');
             create table allowed (room text);
             grant select on allowed to {role};
             create function may_enter(event jsonb, arguments jsonb) returns boolean language sql stable
             return exists (select from allowed where room = arguments ->> 'room');
             select define_subscriptions($$
                 type Message {{ body: String! }}
                 extend type Subscription {{
                     posted(room: ID!): Message @event(channel: \"chat\", type: \"posted\") @authorize(function: \"public.may_enter\")
                 }}
             $$)"
        ))
        .await;
        let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &role).start().await;
        let claims = json!({ "sub": "ann", "tenant_id": "acme", "role": role });
        Self { sql, daemon, bearer: token_of(claims, Duration::from_secs(600)), _database: database }
    }
}

fn record(payload: &Value) -> (Value, Value) {
    let change = &payload["data"]["orderChanged"];
    (change["operation"].clone(), change["record"]["id"].clone())
}

#[tokio::test]
async fn s18_rows_come_when_the_stream_is_opened_and_once() {
    let Setting { sql, daemon, bearer, _database } = Setting::new().await;
    let reservation = Reservation::make(&daemon, &bearer).await;
    reservation.subscribe(&daemon, "1", ROWS).await;
    sql.run("insert into orders values (5, 'acme')").await;
    let stream = reservation.open(&daemon, None).await;
    let id = stream.last_id().unwrap();
    assert!(id.contains("!1~"), "it has not come to its beginning: {id}");
    // Taken over before any row was read, it begins anew.
    let mut stream = reservation.open(&daemon, Some(&id)).await;
    for id in [1, 3, 5] {
        let event = stream.next_event().await.unwrap();
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(record(&data["payload"]), (json!("INITIAL"), json!(id)), "{event:?}");
    }
    sql.run("insert into orders values (7, 'acme')").await;
    let (.., payload) = next(&mut stream).await;
    assert_eq!(record(&payload), (json!("INSERT"), json!(7)));
    let id = stream.last_id();
    sql.run("insert into orders values (8, 'globex'), (9, 'acme')").await;
    let mut stream = reservation.open(&daemon, id.as_deref()).await;
    let (.., payload) = next(&mut stream).await;
    assert_eq!(record(&payload), (json!("INSERT"), json!(9)), "the rows do not come again");
}

#[tokio::test]
async fn s13_who_may_not_subscribe_is_told_by_the_post_and_asked_again_when_the_stream_opens() {
    let Setting { sql, daemon, bearer, _database } = Setting::new().await;
    let reservation = Reservation::make(&daemon, &bearer).await;
    let query = "subscription { posted(room: \"7\") { body } }";
    let (status, body) = reservation.post(&daemon, "1", query).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, code(&body)), (403, "FORBIDDEN"), "{body}");
    sql.run("insert into allowed values ('7')").await;
    reservation.subscribe(&daemon, "1", query).await;
    sql.run("delete from allowed").await;
    let mut stream = reservation.open(&daemon, None).await;
    let (event, id, payload) = next(&mut stream).await;
    assert_eq!((event.as_str(), id.as_str(), code(&payload)), ("next", "1", "FORBIDDEN"));
    assert_eq!(next(&mut stream).await.0, "complete");
    sql.run("insert into allowed values ('7')").await;
    reservation.subscribe(&daemon, "1", query).await;
    sql.run("select publish_event('chat', 'posted', '{\"room\":\"7\",\"body\":\"hi\"}')").await;
    let (.., payload) = next(&mut stream).await;
    assert_eq!(payload["data"]["posted"]["body"], "hi");
}
