//! A client that comes back whatever happens, over any transport, to any node, with the last cursor it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{SinkExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Notify};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::nodes::Nodes;
use crate::streaming::exactly_once::{QUERY, take};
use crate::support::daemon::token;

/// A client waits no longer than this for a daemon to say anything.
const PATIENCE: Duration = Duration::from_secs(3);

/// What all clients together have seen.
#[derive(Default)]
pub struct Counts {
    pub connections: AtomicUsize,
    /// Connections that ended otherwise than by the client's own will.
    pub broken: AtomicUsize,
    /// Those of them on which nothing came any more.
    pub stalled: AtomicUsize,
    pub gaps: AtomicUsize,
    received: AtomicUsize,
    grown: Notify,
}

impl Counts {
    /// Waits until the clients have received so many results more.
    pub async fn more(&self, results: usize) {
        let goal = self.received.load(Ordering::Relaxed) + results;
        self.until(|counts| counts.received.load(Ordering::Relaxed) >= goal).await;
    }

    pub async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if reached(self) {
                return;
            }
            grown.await;
        }
    }

    fn count(&self, counted: &AtomicUsize) {
        counted.fetch_add(1, Ordering::Relaxed);
        self.grown.notify_waiters();
    }
}

/// Results with their cursors, and the cursor at the start of a stream that began without one.
enum Said {
    Start(String),
    Result(Value),
}

type Stream = BoxStream<'static, Said>;

pub struct Client {
    seed: u64,
    nodes: Arc<Nodes>,
    counts: Arc<Counts>,
    cursor: Option<String>,
    received: Vec<(i32, i64)>,
}

impl Client {
    pub fn new(seed: u64, nodes: Arc<Nodes>, counts: Arc<Counts>) -> Self {
        Self { seed, nodes, counts, cursor: None, received: Vec::new() }
    }

    /// Reads until the last row has come. Its name says which transport it used.
    pub async fn run(mut self, started: Arc<Barrier>) -> (String, Vec<(i32, i64)>) {
        let mut random = StdRng::seed_from_u64(self.seed);
        let over_sse = self.seed.is_multiple_of(2);
        let mut is_first = true;
        loop {
            let node = random.random_range(0..2);
            let stream = match self.nodes.address(node) {
                Some(address) if over_sse => sse(&address, self.cursor.as_deref()).await,
                Some(address) => websocket(&address, self.cursor.as_deref()).await,
                None => None,
            };
            let Some(stream) = stream else {
                // As a client does that was refused: nobody tells it when the daemon is back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            self.counts.count(&self.counts.connections);
            let wanted = random.random_range(1..2_000);
            let waits = is_first.then(|| started.clone());
            if self.read(stream, wanted, waits).await {
                let transport = if over_sse { "SSE" } else { "WebSocket" };
                return (format!("client {} over {transport}", self.seed), self.received);
            }
            is_first = self.cursor.is_none();
        }
    }

    /// Reads some results; true if the last row was among them.
    async fn read(&mut self, mut stream: Stream, mut wanted: u32, mut started: Option<Arc<Barrier>>) -> bool {
        while wanted > 0 {
            match tokio::time::timeout(PATIENCE, stream.next()).await {
                Err(_) => {
                    self.counts.count(&self.counts.broken);
                    self.counts.count(&self.counts.stalled);
                    return false;
                }
                Ok(None) => {
                    self.counts.count(&self.counts.broken);
                    return false;
                }
                Ok(Some(Said::Start(cursor))) => {
                    self.cursor.get_or_insert(cursor);
                    if let Some(started) = started.take() {
                        started.wait().await;
                    }
                }
                Ok(Some(Said::Result(result))) => {
                    if !result["errors"].is_null() {
                        assert!(result["errors"].to_string().contains("CURSOR_"), "{result}");
                        self.counts.count(&self.counts.gaps);
                        return false;
                    }
                    let cursor = result["extensions"]["cursor"].as_str().expect("a cursor");
                    self.cursor = Some(cursor.to_owned());
                    self.counts.count(&self.counts.received);
                    if take(&result, &mut self.received) {
                        return true;
                    }
                    wanted -= 1;
                }
            }
        }
        false
    }
}

async fn sse(address: &str, cursor: Option<&str>) -> Option<Stream> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(format!("http://{address}/graphql"))
        .bearer_auth(token("ann", "acme"))
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(json!({ "query": QUERY }).to_string());
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    let response = tokio::time::timeout(PATIENCE, request.send()).await.ok()?.ok()?;
    let chunks = response.error_for_status().ok()?.bytes_stream();
    let mut rest = String::new();
    let blocks = chunks.take_while(|chunk| std::future::ready(chunk.is_ok())).flat_map(move |chunk| {
        rest.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        let complete = rest.rfind("\n\n").map_or(0, |end| end + 2);
        let blocks: String = rest.drain(..complete).collect();
        futures_util::stream::iter(blocks.split("\n\n").filter_map(said).collect::<Vec<_>>())
    });
    Some(blocks.boxed())
}

/// What a block of a stream says.
fn said(block: &str) -> Option<Said> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    match field("event: ") {
        Some("next") => Some(Said::Result(serde_json::from_str(field("data: ")?).unwrap())),
        Some(_) => None,
        None => field("id: ").map(|id| Said::Start(id.to_owned())),
    }
}

async fn websocket(address: &str, cursor: Option<&str>) -> Option<Stream> {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
    let (mut socket, _) = tokio::time::timeout(PATIENCE, connect_async(request)).await.ok()?.ok()?;
    let init = json!({ "type": "connection_init", "payload": { "token": token("bob", "acme") } });
    socket.send(Message::text(init.to_string())).await.ok()?;
    let Ok(Some(Ok(Message::Text(ack)))) = tokio::time::timeout(PATIENCE, socket.next()).await else {
        return None;
    };
    let ack: Value = serde_json::from_str(&ack).unwrap();
    let mut payload = json!({ "query": QUERY });
    if let Some(cursor) = cursor {
        payload["extensions"] = json!({ "cursor": cursor });
    }
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
    let ping = json!({ "type": "ping" });
    socket.send(Message::text(subscribe.to_string())).await.ok()?;
    // Its pong says that the subscription is there.
    socket.send(Message::text(ping.to_string())).await.ok()?;
    let start = ack["payload"]["cursor"].as_str()?.to_owned();
    let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
    let results = messages.filter_map(move |message| {
        let start = start.clone();
        async move {
            let Message::Text(text) = message.ok()? else { return None };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            match message["type"].as_str()? {
                "next" => Some(Said::Result(message["payload"].take())),
                "error" => Some(Said::Result(json!({ "errors": message["payload"] }))),
                "pong" => Some(Said::Start(start)),
                _ => None,
            }
        }
    });
    Some(results.boxed())
}
