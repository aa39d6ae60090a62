//! A visit by Chromium to the demo's shop: a subscription is typed, and its events are seen.

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, token};
use crate::support::database::{Database, Session};
use crate::support::script::Script;

const SHOP: &str = include_str!("../../../demo/shop.sql");
/// What `demo/roles.sql` does, without passwords. Roles outlive the database; nobody else uses them.
const ROLES: &str = "
    do $$ begin
        if not exists (select from pg_roles where rolname = 'tidings_daemon') then
            create role tidings_daemon;
            create role shop_app;
            create role shop_reader;
        end if;
    end $$
";
const QUERY: &str = "subscription { orderUpdated { id status } }";

/// Brings an order of acme to a status.
async fn move_order(sql: &Session, status: &str) {
    let order = "select min(id) from shop.orders where tenant_id = 'acme'";
    sql.run(&format!("update shop.orders set status = '{status}' where id = ({order})")).await;
}

#[tokio::test]
async fn a_subscription_in_graphiql_shows_events_over_both_transports() {
    let database = Database::empty().await;
    let sql = database.connect().await;
    sql.run(ROLES).await;
    sql.run(SHOP).await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let url = format!("http://{}/graphql", daemon.address);
    let token = token("ann", "acme");
    let mut visit = Script::start("graphiql.mjs", &url, QUERY, &token, "1");

    let refused = visit.line().await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "TOKEN_INVALID", "{refused}");
    let refused = visit.line().await["errors"][0]["message"].to_string();
    assert!(refused.contains("4403") && refused.contains("token"), "{refused}");

    assert_eq!(visit.line().await, json!({ "subscribed": "SSE" }));
    move_order(&sql, "paid").await;
    let shown = visit.line().await["data"]["orderChanged"].take();
    assert_eq!(shown["record"]["status"], "paid", "{shown}");
    assert_eq!(shown["old"], json!({ "status": "placed" }), "{shown}");
    assert_eq!(visit.line().await, json!({ "subscribed": "WebSocket" }));
    move_order(&sql, "shipped").await;
    let shown = visit.line().await["data"].take();
    assert_eq!(shown["orderUpdated"]["status"], "shipped", "{shown}");
    let log = daemon.log();
    assert!(log.contains("transport=\"sse\"") && log.contains("transport=\"graphql-transport-ws\""), "{log}");

    let left = visit.line().await;
    visit.succeeds().await;
    assert_eq!(left["addresses"], json!([daemon.address]), "nobody else is asked for anything");
    assert_eq!(unexpected(&left["complaints"]), Vec::<&str>::new());
    let remembered = left["remembered"].to_string();
    assert!(remembered.contains("orderUpdated"), "the history is kept: {remembered}");
    assert!(!remembered.contains(&token), "the token is not: {remembered}");
    assert_eq!(left["remembered"]["tidings:transport"], "websocket");
}

/// What a browser complains about, except for answers to requests without a token.
fn unexpected(complaints: &Value) -> Vec<&str> {
    let all = complaints.as_array().unwrap().iter().filter_map(Value::as_str);
    all.filter(|complaint| !complaint.contains("the server responded with a status of 401")).collect()
}
