//! Tenants see what is theirs, and nothing else.

use serde_json::Value;

use super::database_with_orders;
use crate::support::daemon::{Daemon, token, token_of};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

/// Rows written; every third belongs to acme, every third to globex, every third to nobody.
const ROWS: i32 = 9_999;

#[tokio::test]
async fn over_ten_thousand_events_no_tenant_receives_one_of_another() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = "subscription { orderInserted { id tenant_id } }";
    let mut acme = Sse::open(&daemon, &token("ann", "acme"), query).await;
    let mut globex = Socket::open(&daemon, &token("bob", "globex")).await;
    globex.subscribe("1", query).await;
    let mut nobody = Sse::open(
        &daemon,
        &token_of(serde_json::json!({"sub": "eve"}), crate::support::STEP_TIME_MAX),
        query,
    )
    .await;
    let admin = token_of(serde_json::json!({"sub": "root", "role": "admin"}), crate::support::STEP_TIME_MAX);
    let mut admin = Sse::open(&daemon, &admin, query).await;

    let client = database.connect().await;
    client
        .batch_execute(&format!(
            "do $$ begin for id in 0..{ROWS} loop
                insert into orders values (id, (array['acme', 'globex', null])[id % 3 + 1], 'new');
                if id % 100 = 0 then commit; end if;
             end loop; end $$"
        ))
        .await
        .unwrap();

    for id in (0..=ROWS).step_by(3) {
        assert_row(&acme.next().await, id, "acme");
    }
    for id in (1..=ROWS).step_by(3) {
        assert_row(&globex.next().await, id, "globex");
    }
    for id in 0..=ROWS {
        assert_eq!(admin.next().await["data"]["orderInserted"]["id"], id, "an admin role sees all");
    }
    // A last event that everybody may see comes right after the last of their own.
    client.batch_execute("select detach_trigger('orders')").await.unwrap();
    for stream in [&mut acme, &mut nobody] {
        assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "SCHEMA_CHANGED");
    }
    assert_eq!(globex.receive().await["type"], "error");
}

fn assert_row(result: &Value, id: i32, tenant: &str) {
    let row = &result["data"]["orderInserted"];
    assert_eq!((row["id"].as_i64(), row["tenant_id"].as_str()), (Some(id.into()), Some(tenant)), "{result}");
}

#[tokio::test]
async fn a_row_that_changes_tenant_leaves_one_and_enters_the_other() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = "subscription { orderChanged { operation record { tenant_id } old { tenant_id } } }";
    let mut acme = Sse::open(&daemon, &token("ann", "acme"), query).await;
    let mut globex = Sse::open(&daemon, &token("bob", "globex"), query).await;
    let client = database.connect().await;
    client.batch_execute("insert into orders values (1, 'acme', 'new')").await.unwrap();
    client.batch_execute("update orders set tenant_id = 'globex'").await.unwrap();
    let mut operations = Vec::new();
    for _ in 0..2 {
        let change = acme.next().await["data"]["orderChanged"].take();
        assert_eq!(change["record"]["tenant_id"], "acme");
        operations.push(change["operation"].as_str().unwrap().to_owned());
    }
    assert_eq!(operations, ["INSERT", "DELETE"]);
    let change = globex.next().await["data"]["orderChanged"].take();
    assert_eq!(
        change,
        serde_json::json!({"operation": "INSERT", "record": {"tenant_id": "globex"}, "old": null})
    );
}

#[tokio::test]
async fn a_change_of_tenant_reaches_both_where_only_updates_are_captured() {
    let database = database_with_orders().await;
    let client = database.connect().await;
    client.run("select attach_trigger('orders', 'Order', tenant_column => 'tenant_id', operations => '{UPDATE}')").await;
    client.run("insert into orders values (1, 'acme', 'new')").await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = "subscription { orderChanged { operation } }";
    let mut acme = Sse::open(&daemon, &token("ann", "acme"), query).await;
    let mut globex = Sse::open(&daemon, &token("bob", "globex"), query).await;
    client.run("update orders set tenant_id = 'globex'").await;
    assert_eq!(acme.next().await["data"]["orderChanged"]["operation"], "DELETE");
    assert_eq!(globex.next().await["data"]["orderChanged"]["operation"], "INSERT");
}
