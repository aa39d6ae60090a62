//! In the middle of a stream the daemon is killed, rows are written while there is none, another takes its place,
//! and the client goes on by itself: those that can say where they stood miss nothing and see nothing twice.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::database_with_orders;
use crate::support::daemon::{Builder, Daemon, token};
use crate::support::database::Database;
use crate::support::script::Script;
use crate::support::within;

const QUERY: &str = "subscription { orderInserted { id } }";
const ACKNOWLEDGE: [&str; 2] = ["--extensions", r#"{"acknowledge":true}"#];

/// Something that prints the results of [`QUERY`] for ann of acme.
trait Client {
    /// The next result.
    async fn line(&mut self) -> Value;

    /// What a client without a connection of its own does to come back; most do it by themselves.
    async fn come_back(&mut self) {}
}

impl Client for Script {
    async fn line(&mut self) -> Value {
        Self::line(self).await
    }
}

/// Waits until the subscription is live.
async fn live(client: &mut impl Client) {
    while client.line().await["extensions"]["subscribed"] != true {}
}

/// The id of the next row. Signs of life do not count.
async fn row(client: &mut impl Client) -> Value {
    loop {
        let mut line = client.line().await;
        assert!(line.get("errors").is_none() && line.get("closed").is_none(), "{line}");
        if let Some(id) = line.pointer_mut("/data/orderInserted/id") {
            return id.take();
        }
    }
}

/// Rows of acme and of somebody else.
async fn insert(database: &Database, ids: std::ops::RangeInclusive<i32>) {
    let sql = database.connect().await;
    for id in ids {
        sql.run(&format!("insert into orders values ({id}, 'acme'), (-{id}, 'globex')")).await;
    }
}

fn builder(database: &Database) -> Builder {
    Daemon::builder(&database.conninfo()).env("TIDINGS_JWT_QUERY_PARAMETER", "access_token")
}

/// The client of `start`, which gets the URL, misses nothing and sees nothing twice.
async fn loses_nothing<C: Client>(start: impl FnOnce(&str) -> C) {
    let database = database_with_orders().await;
    let mut first = builder(&database).start().await;
    let mut client = start(&format!("http://{}/graphql/stream", first.address));
    live(&mut client).await;
    insert(&database, 1..=3).await;
    for id in 1..=3 {
        assert_eq!(row(&mut client).await, id);
    }
    first.kill().await;
    insert(&database, 4..=6).await;
    let _second = builder(&database).env("TIDINGS_LISTEN", &first.address).start().await;
    client.come_back().await;
    for id in 4..=6 {
        assert_eq!(row(&mut client).await, id, "written while there was no daemon");
    }
    insert(&database, 7..=9).await;
    for id in 7..=9 {
        assert_eq!(row(&mut client).await, id);
    }
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
    live(&mut client).await;
    insert(&database, 2..=3).await;
    for id in 2..=3 {
        assert_eq!(row(&mut client).await, id);
    }
}

/// A script of `tests/clients` that asks for an acknowledgement, with further arguments.
fn script(name: &str, more: &[&str]) -> impl FnOnce(&str) -> Script {
    move |url| Script::start_with(name, url, QUERY, &token("ann", "acme"), &[&ACKNOWLEDGE, more].concat())
}

fn gql(subprotocol: &str, more: &[&str]) -> impl FnOnce(&str) -> Script {
    move |url| {
        let more = [&ACKNOWLEDGE, &["--reconnect", "--subprotocol", subprotocol][..], more].concat();
        Script::start_python("gql_client.py", url, QUERY, &token("ann", "acme"), &more)
    }
}

#[tokio::test]
async fn graphql_sse_comes_back_after_a_kill() {
    comes_back(script("graphql-sse.mjs", &[])).await;
}

#[tokio::test]
async fn graphql_sse_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("graphql-sse.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn graphql_ws_comes_back_after_a_kill() {
    comes_back(script("graphql-ws.mjs", &[])).await;
}

#[tokio::test]
async fn graphql_ws_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("graphql-ws.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn subscriptions_transport_ws_comes_back_after_a_kill() {
    comes_back(script("subscriptions-transport-ws.mjs", &[])).await;
}

#[tokio::test]
async fn subscriptions_transport_ws_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("subscriptions-transport-ws.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn apollo_over_http_comes_back_after_a_kill() {
    comes_back(script("apollo.mjs", &["--over", "http"])).await;
}

#[tokio::test]
async fn apollo_over_http_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("apollo.mjs", &["--over", "http", "--resume"])).await;
}

#[tokio::test]
async fn apollo_over_websocket_comes_back_after_a_kill() {
    comes_back(script("apollo.mjs", &["--over", "ws"])).await;
}

#[tokio::test]
async fn apollo_over_websocket_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("apollo.mjs", &["--over", "ws", "--resume"])).await;
}

#[tokio::test]
async fn urql_by_fetch_comes_back_after_a_kill() {
    comes_back(script("urql.mjs", &["--over", "fetch"])).await;
}

#[tokio::test]
async fn urql_by_fetch_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("urql.mjs", &["--over", "fetch", "--resume"])).await;
}

#[tokio::test]
async fn urql_by_forward_subscription_comes_back_after_a_kill() {
    comes_back(script("urql.mjs", &["--over", "ws"])).await;
}

#[tokio::test]
async fn urql_by_forward_subscription_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("urql.mjs", &["--over", "ws", "--resume"])).await;
}

#[tokio::test]
async fn gql_comes_back_after_a_kill() {
    comes_back(gql("graphql-transport-ws", &[])).await;
}

#[tokio::test]
async fn gql_that_names_its_cursor_loses_nothing() {
    loses_nothing(gql("graphql-transport-ws", &["--resume"])).await;
}

#[tokio::test]
async fn gql_over_the_legacy_protocol_comes_back_after_a_kill() {
    comes_back(gql("graphql-ws", &[])).await;
}

#[tokio::test]
async fn gql_over_the_legacy_protocol_that_names_its_cursor_loses_nothing() {
    loses_nothing(gql("graphql-ws", &["--resume"])).await;
}

#[tokio::test]
async fn the_websocket_of_chromium_comes_back_after_a_kill() {
    comes_back(script("browser-websocket.mjs", &[])).await;
}

#[tokio::test]
async fn the_websocket_of_chromium_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("browser-websocket.mjs", &["--resume"])).await;
}

/// Chromium's EventSource, which says itself when it is open.
struct EventSource(Script);

impl Client for EventSource {
    async fn line(&mut self) -> Value {
        let line = self.0.line().await;
        if line["opened"] == true { serde_json::json!({"extensions": {"subscribed": true}}) } else { line }
    }
}

#[tokio::test]
async fn the_event_source_of_chromium_resumes_by_itself_after_a_kill_and_loses_nothing() {
    let token = token("ann", "acme");
    loses_nothing(|url| EventSource(Script::start_with("event-source.mjs", url, QUERY, &token, &[]))).await;
}

/// curl, which prints the stream, and the last `id:` that it has printed.
struct Curl {
    url: String,
    lines: Lines<BufReader<ChildStdout>>,
    last_event_id: Option<String>,
    _child: Child,
}

impl Curl {
    fn start(url: &str, last_event_id: Option<String>) -> Self {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--no-buffer",
            "--noproxy",
            "*",
            url,
            "--header",
            "accept: text/event-stream",
        ]);
        command.args(["--header", "content-type: application/json", "--data"]);
        command.arg(serde_json::json!({"query": QUERY, "extensions": {"acknowledge": true}}).to_string());
        command.args(["--header", &format!("authorization: Bearer {}", token("ann", "acme"))]);
        if let Some(id) = &last_event_id {
            command.args(["--header", &format!("last-event-id: {id}")]);
        }
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl is installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { url: url.to_owned(), lines, last_event_id, _child: child }
    }
}

impl Client for Curl {
    async fn line(&mut self) -> Value {
        loop {
            let line = within("a line of curl", self.lines.next_line()).await.unwrap();
            let line = line.expect("curl goes on");
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_event_id = Some(id.to_owned());
            } else if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    async fn come_back(&mut self) {
        let end = within("the end of curl", self.lines.next_line()).await.unwrap();
        assert_eq!(end, None, "curl has noticed");
        *self = Self::start(&self.url, self.last_event_id.take());
    }
}

#[tokio::test]
async fn curl_that_sends_the_last_id_loses_nothing() {
    loses_nothing(|url| Curl::start(url, None)).await;
}
