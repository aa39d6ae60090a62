//! The same as `killed`, and rows are written while there is no daemon: clients that say where they stood miss
//! nothing and see nothing twice.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::database_with_orders;
use super::killed::{Client, QUERY, builder, gql, insert, live, row, script};
use crate::support::daemon::token;
use crate::support::script::Script;
use crate::support::within;

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

#[tokio::test]
async fn graphql_sse_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("graphql-sse.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn graphql_sse_in_single_connection_mode_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("graphql-sse-single.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn graphql_ws_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("graphql-ws.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn subscriptions_transport_ws_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("subscriptions-transport-ws.mjs", &["--resume"])).await;
}

#[tokio::test]
async fn apollo_over_http_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("apollo.mjs", &["--over", "http", "--resume"])).await;
}

#[tokio::test]
async fn apollo_over_websocket_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("apollo.mjs", &["--over", "ws", "--resume"])).await;
}

#[tokio::test]
async fn urql_by_fetch_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("urql.mjs", &["--over", "fetch", "--resume"])).await;
}

#[tokio::test]
async fn urql_by_forward_subscription_that_names_its_cursor_loses_nothing() {
    loses_nothing(script("urql.mjs", &["--over", "ws", "--resume"])).await;
}

#[tokio::test]
async fn gql_that_names_its_cursor_loses_nothing() {
    loses_nothing(gql("graphql-transport-ws", &["--resume"])).await;
}

#[tokio::test]
async fn gql_over_the_legacy_protocol_that_names_its_cursor_loses_nothing() {
    loses_nothing(gql("graphql-ws", &["--resume"])).await;
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

#[tokio::test]
async fn the_event_source_of_chromium_on_a_reserved_stream_resumes_by_itself_and_loses_nothing() {
    loses_nothing(script("event-source-single.mjs", &[])).await;
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
        within("the end of curl", async {
            while let Some(rest) = self.lines.next_line().await.unwrap() {
                assert!(rest.is_empty(), "nothing but the end of an event: {rest}");
            }
        })
        .await;
        *self = Self::start(&self.url, self.last_event_id.take());
    }
}

#[tokio::test]
async fn curl_that_sends_the_last_id_loses_nothing() {
    loses_nothing(|url| Curl::start(url, None)).await;
}
