//! In the middle of a stream the daemon is killed, another takes its place, and the client comes back by itself.

use serde_json::Value;

use super::database_with_orders;
use crate::support::daemon::{Builder, Daemon, token};
use crate::support::database::Database;
use crate::support::script::Script;
use crate::support::within;

pub(super) const QUERY: &str = "subscription { orderInserted { id } }";
const ACKNOWLEDGE: [&str; 2] = ["--extensions", r#"{"acknowledge":true}"#];

/// Something that prints the results of [`QUERY`] for ann of acme.
pub(super) trait Client {
    /// The next result.
    async fn line(&mut self) -> Value;

    /// What a client does to come back that does not do it by itself.
    async fn come_back(&mut self) {}
}

impl Client for Script {
    async fn line(&mut self) -> Value {
        Self::line(self).await
    }
}

/// Waits until the subscription is live.
pub(super) async fn live(client: &mut impl Client) {
    within("a sign of life", async { while client.line().await["extensions"]["subscribed"] != true {} })
        .await;
}

/// The id of the next row. Signs of life do not count.
pub(super) async fn row(client: &mut impl Client) -> Value {
    within("a row", async {
        loop {
            let mut line = client.line().await;
            assert!(line.get("errors").is_none() && line.get("closed").is_none(), "{line}");
            if let Some(id) = line.pointer_mut("/data/orderInserted/id") {
                return id.take();
            }
        }
    })
    .await
}

/// Rows of acme and of somebody else.
pub(super) async fn insert(database: &Database, ids: std::ops::RangeInclusive<i32>) {
    let sql = database.connect().await;
    for id in ids {
        sql.run(&format!("insert into orders values ({id}, 'acme'), (-{id}, 'globex')")).await;
    }
}

pub(super) fn builder(database: &Database) -> Builder {
    Daemon::builder(&database.conninfo()).env("TIDINGS_JWT_QUERY_PARAMETER", "access_token")
}

/// A client that cannot say where it stood comes back, and sees what happens from then on.
async fn comes_back<C: Client>(start: impl FnOnce(&str) -> C) {
    let database = database_with_orders().await;
    let mut first = builder(&database).start().await;
    let mut client = start(&format!("http://{}/graphql", first.address));
    live(&mut client).await;
    insert(&database, 1..=1).await;
    assert_eq!(row(&mut client).await, 1);
    first.kill().await;
    let _second = builder(&database).env("TIDINGS_LISTEN", &first.address).start().await;
    client.come_back().await;
    live(&mut client).await;
    insert(&database, 2..=3).await;
    for id in 2..=3 {
        assert_eq!(row(&mut client).await, id);
    }
}

/// A script of `tests/clients` that asks for an acknowledgement, with further arguments.
pub(super) fn script(name: &str, more: &[&str]) -> impl FnOnce(&str) -> Script {
    move |url| Script::start_with(name, url, QUERY, &token("ann", "acme"), &[&ACKNOWLEDGE, more].concat())
}

pub(super) fn gql(subprotocol: &str, more: &[&str]) -> impl FnOnce(&str) -> Script {
    move |url| {
        let more = [&["--reconnect", "--subprotocol", subprotocol][..], more].concat();
        Script::start_python("gql_client.py", url, QUERY, &token("ann", "acme"), &more)
    }
}

#[tokio::test]
async fn graphql_sse_comes_back_after_a_kill() {
    comes_back(script("graphql-sse.mjs", &[])).await;
}

#[tokio::test]
async fn graphql_ws_comes_back_after_a_kill() {
    comes_back(script("graphql-ws.mjs", &[])).await;
}

#[tokio::test]
async fn subscriptions_transport_ws_comes_back_after_a_kill() {
    comes_back(script("subscriptions-transport-ws.mjs", &[])).await;
}

#[tokio::test]
async fn apollo_over_http_comes_back_after_a_kill() {
    comes_back(script("apollo.mjs", &["--over", "http"])).await;
}

#[tokio::test]
async fn apollo_over_websocket_comes_back_after_a_kill() {
    comes_back(script("apollo.mjs", &["--over", "ws"])).await;
}

#[tokio::test]
async fn urql_by_fetch_comes_back_after_a_kill() {
    comes_back(script("urql.mjs", &["--over", "fetch"])).await;
}

#[tokio::test]
async fn urql_by_forward_subscription_comes_back_after_a_kill() {
    comes_back(script("urql.mjs", &["--over", "ws"])).await;
}

#[tokio::test]
async fn gql_comes_back_after_a_kill() {
    comes_back(gql("graphql-transport-ws", &[])).await;
}

#[tokio::test]
async fn gql_over_the_legacy_protocol_comes_back_after_a_kill() {
    comes_back(gql("graphql-ws", &[])).await;
}

#[tokio::test]
async fn the_websocket_of_chromium_comes_back_after_a_kill() {
    comes_back(script("browser-websocket.mjs", &[])).await;
}

#[tokio::test]
async fn graphql_sse_in_single_connection_mode_comes_back_after_a_kill() {
    comes_back(script("graphql-sse-single.mjs", &[])).await;
}

#[tokio::test]
async fn graphql_sse_in_eager_single_connection_mode_comes_back_after_a_kill() {
    comes_back(script("graphql-sse-single.mjs", &["--eager"])).await;
}
