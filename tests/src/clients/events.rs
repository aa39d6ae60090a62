//! What clients receive, and that they come back when the daemon leaves; the audits of graphql-http.

use serde_json::Value;

use super::database_with_orders;
use crate::support::daemon::{Daemon, token};
use crate::support::note;
use crate::support::script::Script;

async fn receives_typed_events(script: &str, scheme: &str) {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let url = format!("{scheme}://{}/graphql/stream", daemon.address);
    let query = "subscription { orderChanged { operation record { id status total } } }";
    let mut client = Script::start(script, &url, query, &token("ann", "acme"), "2");
    assert_eq!(client.line().await["subscribed"], true);
    let sql = database.connect().await;
    sql.batch_execute(
        "insert into orders values (1, 'globex', 'new', 1), (2, 'acme', 'new', 20.5);
         update orders set status = 'paid'",
    )
    .await
    .unwrap();
    for (operation, status) in [("INSERT", "new"), ("UPDATE", "paid")] {
        let change = client.line().await["data"]["orderChanged"].take();
        let record = serde_json::json!({"id": 2, "status": status, "total": "20.5"});
        assert_eq!(change, serde_json::json!({"operation": operation, "record": record}));
    }
    client.succeeds().await;
}

#[tokio::test]
async fn graphql_sse_in_distinct_mode_receives_typed_events() {
    receives_typed_events("graphql-sse.mjs", "http").await;
}

#[tokio::test]
async fn graphql_ws_receives_typed_events() {
    receives_typed_events("graphql-ws.mjs", "ws").await;
}

/// The client hands the acknowledgement on as a result without data; what is committed then arrives.
async fn receives_what_follows_an_acknowledgement(script: &str, scheme: &str) {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let url = format!("{scheme}://{}/graphql", daemon.address);
    let query = "subscription { orderInserted { id } }";
    let more = ["--extensions", r#"{"acknowledge":true}"#, "--count", "2"];
    let mut client = Script::start_with(script, &url, query, &token("ann", "acme"), &more);
    let mut acknowledgement = client.line().await;
    if acknowledgement.get("data").is_none() {
        // The script's own sign, which comes at about the same time.
        acknowledgement = client.line().await;
    }
    assert_eq!(acknowledgement["data"], Value::Null);
    assert_eq!(acknowledgement["extensions"]["subscribed"], true);
    assert!(acknowledgement["extensions"]["cursor"].is_string(), "{acknowledgement}");
    assert!(acknowledgement.get("errors").is_none());
    let sql = database.connect().await;
    sql.run("insert into orders values (1, 'acme', 'new', 1)").await;
    let mut line = client.line().await;
    if line.get("data").is_none() {
        line = client.line().await;
    }
    assert_eq!(line["data"]["orderInserted"]["id"], 1);
    client.succeeds().await;
}

#[tokio::test]
async fn graphql_sse_hands_the_acknowledgement_on() {
    receives_what_follows_an_acknowledgement("graphql-sse.mjs", "http").await;
}

#[tokio::test]
async fn graphql_ws_hands_the_acknowledgement_on() {
    receives_what_follows_an_acknowledgement("graphql-ws.mjs", "ws").await;
}

/// The client's own sign of life, passed through as a result.
async fn is_acknowledged(client: &mut Script) {
    let acknowledgement = client.line().await;
    assert_eq!(acknowledgement["extensions"]["subscribed"], true, "{acknowledgement}");
}

/// The daemon leaves, another takes its place, and the client goes on by itself. It ends after `count`
/// results.
async fn comes_back_after_a_restart(script: &str, count: &str) {
    let database = database_with_orders().await;
    let mut first = Daemon::builder(&database.conninfo()).env("TIDINGS_DRAIN_S", "0").start().await;
    let url = format!("http://{}/graphql", first.address);
    let query = "subscription { orderInserted { id } }";
    let more = ["--extensions", r#"{"acknowledge":true}"#, "--count", count];
    let mut client = Script::start_with(script, &url, query, &token("ann", "acme"), &more);
    let sql = database.connect().await;
    is_acknowledged(&mut client).await;
    sql.run("insert into orders values (1, 'acme', 'new', 1)").await;
    assert_eq!(client.line().await["data"]["orderInserted"]["id"], 1);
    assert!(first.terminate().await.success());
    let again = Daemon::builder(&database.conninfo()).env("TIDINGS_LISTEN", &first.address);
    let _second = again.start().await;
    is_acknowledged(&mut client).await;
    sql.run("insert into orders values (2, 'globex', 'new', 1), (3, 'acme', 'new', 1)").await;
    assert_eq!(client.line().await["data"]["orderInserted"]["id"], 3);
    client.succeeds().await;
}

#[tokio::test]
async fn subscriptions_transport_ws_comes_back_after_a_restart() {
    comes_back_after_a_restart("subscriptions-transport-ws.mjs", "4").await;
}

#[tokio::test]
async fn apollo_client_comes_back_after_a_restart_by_its_retry_link() {
    comes_back_after_a_restart("apollo.mjs", "2").await;
}

/// The client from PyPI, which offers the legacy protocol first and needs an answer of its own.
async fn gql_receives_events(more: &[&str], subprotocol: &str) {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let url = format!("http://{}/graphql", daemon.address);
    let query = "subscription { orderInserted { id } }";
    let more = [&["--count", "2"], more].concat();
    let mut client = Script::start_python("gql_client.py", &url, query, &token("ann", "acme"), &more);
    let live = serde_json::json!({ "subscribed": true, "subprotocol": subprotocol });
    assert_eq!(client.line().await, live);
    let sql = database.connect().await;
    sql.run(
        "insert into orders values (1, 'acme', 'new', 1), (2, 'globex', 'new', 1), (3, 'acme', 'new', 1)",
    )
    .await;
    for id in [1, 3] {
        assert_eq!(client.line().await["data"]["orderInserted"]["id"], id);
    }
    client.succeeds().await;
}

#[tokio::test]
async fn gql_as_it_comes_gets_the_newer_protocol() {
    gql_receives_events(&[], "graphql-transport-ws").await;
}

#[tokio::test]
async fn gql_receives_events_over_the_legacy_protocol() {
    gql_receives_events(&["--subprotocol", "graphql-ws"], "graphql-ws").await;
}

#[tokio::test]
async fn h08_every_audit_of_graphql_http_is_ok() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let url = format!("http://{}/graphql", daemon.address);
    let mut audits = Script::start("graphql-http-audits.mjs", &url, "", &token("ann", "acme"), "0");
    let mut failed = Vec::new();
    let mut count = 0;
    while let Some(audit) = audits.next().await {
        count += 1;
        if audit["status"] != "ok" {
            failed.push(audit);
        }
    }
    note(&format!("{}/{count}", count - failed.len()));
    assert_eq!((count, failed), (61, Vec::new()));
}
