//! Tables attached with row_security: their policies decide who sees what.

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::Database;
use crate::support::websocket::Socket;
use serde_json::json;
use std::time::Duration;

const CLOSED: &str = "
    create table docs (id int primary key, owner text);
    alter table docs enable row level security;
    select attach_trigger('docs', type_name => 'Doc', row_security => true)";

#[tokio::test]
async fn a_daemon_that_cannot_evaluate_policies_leaves_the_table_out() {
    let database = Database::new().await;
    database.connect().await.run(CLOSED).await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_EVENTS_ROLES", "auditor").start().await;
    daemon.wait_for_log("is attached with row_security").await;
    let refused = async |role: &str, query: &str| {
        let claims = json!({"sub": "ann", "role": role});
        let mut socket = Socket::open(&daemon, &token_of(claims, Duration::from_secs(600))).await;
        socket.send(json!({"type": "subscribe", "id": "1", "payload": {"query": query}})).await;
        socket.send(json!({"type": "ping"})).await;
        socket.receive().await["payload"][0]["extensions"]["code"].clone()
    };
    assert_eq!(refused("admin", "subscription { docInserted { id } }").await, "GRAPHQL_VALIDATION_FAILED");
    let events = r#"subscription { events(channel: "public.docs") { data } }"#;
    assert_eq!(refused("auditor", events).await, "FORBIDDEN");
    assert!(refused("admin", events).await.is_null(), "administrators read every channel");
}
