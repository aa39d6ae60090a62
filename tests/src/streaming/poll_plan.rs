//! The poll reads what is new, not what is there.

use serde_json::Value;
use tidings_daemon::source::postgres::poll::{BOUNDS, PLAN_ONCE, POLL, POLL_AFTER_RECONNECT};
use tidings_daemon::source::postgres::session::SESSION_SETTINGS;

use tokio_postgres::Client;

use super::database_with_orders;

#[tokio::test]
async fn the_poll_uses_the_indexes_and_touches_few_rows() {
    let database = database_with_orders().await;
    let client = database.connect().await;
    client.batch_execute(SESSION_SETTINGS).await.unwrap();
    client.batch_execute(PLAN_ONCE).await.unwrap();
    client.batch_execute(&format!("prepare poll(xid8, xid8[], bigint) as {POLL}")).await.unwrap();
    client.batch_execute("execute poll('1', '{}', 1)").await.unwrap();
    let writer = database.connect().await;
    writer
        .batch_execute(
            "do $$ begin for i in 1..50 loop
                perform publish_event('c', 't', '{}') from generate_series(1, 1000); commit;
             end loop; end $$",
        )
        .await
        .unwrap();
    let row = client
        .query_one("select pg_snapshot_xmax(pg_current_snapshot())::text, max(id) from tidings.events", &[]);
    let row = row.await.unwrap();
    let (xmax, top): (String, i64) = (row.get(0), row.get(1));
    writer.batch_execute("select publish_event('c', 't', '{}') from generate_series(1, 3)").await.unwrap();
    client.batch_execute("set plan_cache_mode = force_custom_plan").await.unwrap();
    // What is seen now, and where a backlog beyond it lies.
    let (top, snapshot) = (top.to_string(), format!("'1:{}:'", u64::MAX / 2));
    for (statement, third, fourth) in
        [(POLL, "5001", ""), (POLL_AFTER_RECONNECT, "5001", &*top), (BOUNDS, &*top, &*snapshot)]
    {
        let text = statement
            .replace("$1", &format!("'{xmax}'::xid8"))
            .replace("$2", "array['7', '8']::xid8[]")
            .replace("$3", third)
            .replace("$4", fourth);
        assert_touches_few(&client, &text).await;
    }
    // The plan that is made once, made when the table was empty.
    client.batch_execute(PLAN_ONCE).await.unwrap();
    assert_touches_few(&client, &format!("execute poll('{xmax}', array['7', '8']::xid8[], 5001)")).await;
}

/// Explains a statement that has three new events to find.
async fn assert_touches_few(client: &Client, statement: &str) {
    let row = client.query_one(&format!("explain (analyze, format json) {statement}"), &[]).await.unwrap();
    let plan: Value = row.get(0);
    let mut scans = Vec::new();
    collect_scans(&plan[0]["Plan"], &mut scans);
    assert!(!scans.is_empty(), "{plan:#}");
    for (kind, rows) in scans {
        assert!(kind.starts_with("Bitmap") || kind.starts_with("Index"), "{kind} in {plan:#}");
        assert!(rows <= 3.0, "{kind} touched {rows} rows for 3 new ones: {plan:#}");
    }
    assert!(!plan.to_string().contains("Gather"), "{plan:#}");
}

/// Every node that reads the events or their indexes, with the rows it returned or threw away. The
/// floor is one row in a table of its own.
fn collect_scans(node: &Value, scans: &mut Vec<(String, f64)>) {
    let kind = node["Node Type"].as_str().unwrap();
    if kind.contains("Scan") && node["Relation Name"] != "retention_floor" {
        let number = |name: &str| node[name].as_f64().unwrap_or(0.0);
        scans.push((kind.to_owned(), number("Actual Rows") + number("Rows Removed by Filter")));
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect_scans(child, scans);
    }
}
