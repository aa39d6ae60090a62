//! Row changes and published events at a subscriber, field by field.

use serde_json::json;

use super::database_with_orders;
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

const CHANGES: &str =
    "subscription { orderChanged { operation record { id total } old { status } changedColumns } }";

#[tokio::test]
async fn a_changed_row_arrives_with_exactly_the_selected_fields() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), CHANGES).await;
    let client = database.connect().await;
    client.batch_execute("insert into orders values (1, 'acme', 'new', 12.50)").await.unwrap();
    client.batch_execute("update orders set status = 'paid' where id = 1").await.unwrap();
    client.batch_execute("delete from orders").await.unwrap();
    client.batch_execute("truncate orders").await.unwrap();
    let mut expect = async |change: serde_json::Value| {
        let mut got = stream.next().await;
        assert!(got["extensions"]["cursor"].is_string(), "{got}");
        got.as_object_mut().unwrap().remove("extensions");
        assert_eq!(got, json!({"data": {"orderChanged": change}}));
    };
    let record = json!({"id": 1, "total": "12.50"});
    expect(json!({"operation": "INSERT", "record": record, "old": null, "changedColumns": null})).await;
    expect(json!({"operation": "UPDATE", "record": record, "old": {"status": "new"}, "changedColumns": ["status"]})).await;
    expect(json!({"operation": "DELETE", "record": record, "old": null, "changedColumns": null})).await;
    expect(json!({"operation": "TRUNCATE", "record": null, "old": null, "changedColumns": null})).await;
}

#[tokio::test]
async fn a_primary_key_argument_selects_one_row() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = "subscription($id: Int) { orderInserted(id: $id) { id } }";
    let mut one = Sse::open_with(&daemon, &token("ann", "acme"), query, json!({"id": 2})).await;
    let mut all = Sse::open_with(&daemon, &token("bob", "acme"), query, json!({"id": null})).await;
    let client = database.connect().await;
    client
        .batch_execute("insert into orders select id, 'acme', 'new' from generate_series(1, 3) id")
        .await
        .unwrap();
    assert_eq!(one.next().await["data"]["orderInserted"]["id"], 2);
    for id in 1..=3 {
        assert_eq!(all.next().await["data"]["orderInserted"]["id"], id);
    }
    client.batch_execute("insert into orders values (4, 'acme', 'new')").await.unwrap();
    client.batch_execute("truncate orders; insert into orders values (2, 'acme', 'new')").await.unwrap();
    assert_eq!(one.next().await["data"]["orderInserted"]["id"], 2, "rows 1, 3 and 4 never came");
}

#[tokio::test]
async fn a_published_event_arrives_over_websocket() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    socket
        .subscribe(
            "1",
            r#"subscription { events(channel: "chat", types: ["posted"]) { type data tenantId } }"#,
        )
        .await;
    let client = database.connect().await;
    client
        .batch_execute(
            r#"select publish_event('chat', 'typing', '{}', tenant_id => 'acme');
               select publish_event('chat', 'posted', '{"body":"no"}', tenant_id => 'globex');
               select publish_event('chat', 'posted', '{"body":"hi"}', tenant_id => 'acme')"#,
        )
        .await
        .unwrap();
    let data = &socket.next().await["data"]["events"];
    assert_eq!(*data, json!({"type": "posted", "data": {"body": "hi"}, "tenantId": "acme"}));
}

#[tokio::test]
async fn a_payload_far_over_the_limit_of_notify_arrives() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = r#"subscription { events(channel: "big") { data } }"#;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), query).await;
    let client = database.connect().await;
    for size in [8_000, 900_000] {
        let text = "x".repeat(size);
        client.execute("select publish_event('big', 'text', to_jsonb($1::text))", &[&text]).await.unwrap();
        assert_eq!(stream.next().await["data"]["events"]["data"], text);
    }
}

#[tokio::test]
async fn a_table_attached_later_can_be_subscribed_to_and_a_live_subscription_stays() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let token = token("ann", "acme");
    let mut orders = Sse::open(&daemon, &token, "subscription { orderInserted { id } }").await;
    let client = database.connect().await;
    client
        .batch_execute(
            "create table notes (id uuid primary key, body text);
             select attach_trigger('notes', type_name => 'Note')",
        )
        .await
        .unwrap();
    daemon.wait_for_log("tables=2").await;
    let mut notes = Sse::open(&daemon, &token, "subscription { noteInserted { body } }").await;
    client
        .batch_execute(
            "insert into notes values (gen_random_uuid(), 'hello');
             insert into orders values (1, 'acme', 'new')",
        )
        .await
        .unwrap();
    assert_eq!(notes.next().await["data"]["noteInserted"]["body"], "hello");
    assert_eq!(orders.next().await["data"]["orderInserted"]["id"], 1);

    client.batch_execute("select detach_trigger('orders')").await.unwrap();
    let ended = orders.next().await;
    assert_eq!(ended["errors"][0]["extensions"]["code"], "SCHEMA_CHANGED", "{ended}");
}

#[tokio::test]
async fn events_published_without_a_notification_are_found_by_the_safety_poll() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), "subscription { orderInserted { id } }").await;
    let client = database.connect().await;
    // The names of prepared transactions are the whole server's.
    let name = format!("streaming_{}", std::process::id());
    let insert = "insert into orders values (1, 'acme', 'new')";
    let prepare = format!("set tidings.notify = off; begin; {insert}; prepare transaction '{name}'");
    client.batch_execute(&prepare).await.unwrap();
    client.batch_execute(&format!("commit prepared '{name}'")).await.unwrap();
    assert_eq!(stream.next().await["data"]["orderInserted"]["id"], 1);
}

#[tokio::test]
async fn a_key_argument_matches_however_the_number_is_spelled() {
    let database = database_with_orders().await;
    let client = database.connect().await;
    client.run("create table prices (amount numeric(10, 2) primary key); select attach_trigger('prices', 'Price')").await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut streams = Vec::new();
    for spelling in ["5", "\"5.00\"", "\"50e-1\"", "5.0"] {
        let query = format!("subscription {{ priceInserted(amount: {spelling}) {{ amount }} }}");
        streams.push(Sse::open(&daemon, &token("ann", "acme"), &query).await);
    }
    client.run("insert into prices values (4), (5)").await;
    for stream in &mut streams {
        assert_eq!(stream.next().await["data"]["priceInserted"]["amount"], "5.00");
    }
}
