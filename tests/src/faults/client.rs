//! A client that comes back whatever happens, over one transport, to any node, with the last place it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings_daemon::source::cursor::Cursor;
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinHandle;

use super::http::{multipart, reserved, sse};
use super::ledger::Stored;
use super::nodes::Nodes;
use super::transport::{Stream, Subscriber, Transport, patience};
use super::websocket::{LEGACY_WS, TRANSPORT_WS, websocket};
use super::workload::{Change, TENANTS};
use crate::support::STEP_TIME_MAX;

/// Most results after which a client leaves of its own accord, unless it is told another number.
const STAY_MAX: u32 = 2_000;

/// What all clients together have seen.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) connections: AtomicUsize,
    /// Connections that ended otherwise than by the client's own will.
    pub(super) broken: AtomicUsize,
    /// Those of them on which nothing came any more.
    pub(super) stalled: AtomicUsize,
    pub(super) gaps: AtomicUsize,
    received: AtomicUsize,
    /// Open streams of each node.
    streams: [AtomicUsize; 2],
    grown: Notify,
}

impl Counts {
    /// Waits until so many times a client was told of a gap.
    pub(super) async fn gaps(&self, gaps: usize) {
        self.until(|counts| counts.gaps.load(Ordering::Relaxed) >= gaps).await;
    }

    /// Waits until the clients have received so many results more.
    pub(super) async fn more(&self, results: usize) {
        let goal = self.received.load(Ordering::Relaxed) + results;
        self.until(|counts| counts.received.load(Ordering::Relaxed) >= goal).await;
    }

    /// Waits until so many more have found that nothing comes any more.
    pub(super) async fn stalls(&self, stalls: usize) {
        let goal = self.stalled.load(Ordering::Relaxed) + stalls;
        self.until(|counts| counts.stalled.load(Ordering::Relaxed) >= goal).await;
    }

    /// Waits until so many have a stream from a node: a fault of one that nobody listens to is felt by nobody.
    pub(super) async fn streams(&self, node: usize, streams: usize) {
        self.until(|counts| counts.streams[node].load(Ordering::Relaxed) >= streams).await;
    }

    pub(super) async fn until(&self, reached: impl Fn(&Self) -> bool) {
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

    /// Waits until a client has ended, for as long as any still receives something.
    pub(super) async fn end_of(&self, name: usize, mut client: JoinHandle<History>) -> History {
        loop {
            let before = self.received.load(Ordering::Relaxed);
            match tokio::time::timeout(STEP_TIME_MAX, &mut client).await {
                Ok(ended) => return ended.unwrap(),
                Err(_) => {
                    let received = self.received.load(Ordering::Relaxed);
                    assert!(received > before, "client {name} does not end, and nobody receives anything");
                }
            }
        }
    }

    fn count(&self, counted: &AtomicUsize) {
        counted.fetch_add(1, Ordering::Relaxed);
        self.grown.notify_waiters();
    }
}

/// What a client received without a gap.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The cursor that it began at, and that of its last result.
    pub(super) start: Option<String>,
    pub(super) end: Option<String>,
    pub(super) received: Vec<Change>,
}

/// What became of a client.
pub(super) struct History {
    pub(super) name: String,
    /// Which of the tenants it belongs to.
    pub(super) tenant: usize,
    /// Between them are the gaps that it was told of.
    pub(super) parts: Vec<Part>,
}

impl Part {
    /// The ids of the events that were missing at its start and, unless it went on to the last of all, not at its end any
    /// more.
    pub(super) fn covers(&self, events: &[Stored], is_last: bool) -> Vec<i64> {
        let set = |cursor: &Option<String>| cursor.as_deref().map(|cursor| Cursor::decode(cursor).unwrap());
        let (start, end) = (set(&self.start).expect("a start"), set(&self.end));
        let covered = events.iter().filter(|event| {
            let ended = is_last || end.as_ref().is_some_and(|end| end.contains(event.id, event.xid));
            ended && !start.contains(event.id, event.xid)
        });
        covered.map(|event| event.id).collect()
    }
}

pub(super) struct Client {
    seed: u64,
    transport: Transport,
    subscriber: Subscriber,
    nodes: Arc<Nodes>,
    counts: Arc<Counts>,
    parts: Vec<Part>,
    stay_max: u32,
    random: StdRng,
}

impl Client {
    /// Each is a user of its own.
    pub(super) fn new(seed: u64, nodes: Arc<Nodes>, counts: Arc<Counts>) -> Self {
        let transport = Transport::ALL[seed as usize % Transport::ALL.len()];
        let mut client = Self {
            seed,
            transport,
            subscriber: Subscriber::new("", ""),
            nodes,
            counts,
            parts: vec![Part::default()],
            stay_max: STAY_MAX,
            random: StdRng::seed_from_u64(seed),
        };
        client.subscriber = Subscriber::new(&format!("user{seed}"), TENANTS[client.tenant()]);
        client
    }

    /// Leaves after so many results at most.
    pub(super) fn stays(self, stay_max: u32) -> Self {
        Self { stay_max, ..self }
    }

    /// Each transport is used by both tenants.
    fn tenant(&self) -> usize {
        (self.seed as usize / Transport::ALL.len() + self.seed as usize) % TENANTS.len()
    }

    /// Reads until the last row has come.
    pub(super) async fn run(mut self, started: Arc<Barrier>) -> History {
        let mut waits = Some(started);
        loop {
            // Only single connection mode has requests besides that of its stream.
            let [node, put, post] = std::array::from_fn(|_| self.random.random_range(0..2));
            let Some(stream) = self.open(node, put, post).await else {
                // As a client does that was refused: nobody tells it when the daemon is back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            self.counts.count(&self.counts.connections);
            let wanted = self.random.random_range(1..self.stay_max);
            let counts = self.counts.clone();
            counts.count(&counts.streams[node]);
            let has_ended = self.read(stream, wanted, &mut waits).await;
            counts.streams[node].fetch_sub(1, Ordering::Relaxed);
            if has_ended {
                let name = format!("client {} over {}", self.seed, self.transport);
                return History { name, tenant: self.tenant(), parts: self.parts };
            }
        }
    }

    async fn open(&mut self, node: usize, put: usize, post: usize) -> Option<Stream> {
        let [address, put, post] = [node, put, post].map(|node| self.nodes.address(node));
        match self.transport {
            Transport::Sse => sse(address, &self.subscriber, false).await,
            Transport::SseOverHttp2 => sse(address, &self.subscriber, true).await,
            Transport::SingleConnection => reserved([put, post, address], &mut self.subscriber).await,
            Transport::Multipart => multipart(address, &self.subscriber).await,
            Transport::WebSocket => websocket(address, &self.subscriber, &TRANSPORT_WS).await,
            Transport::LegacyWebSocket => websocket(address, &self.subscriber, &LEGACY_WS).await,
        }
    }

    /// Reads some results; true if the last row was among them.
    async fn read(&mut self, mut stream: Stream, wanted: u32, waits: &mut Option<Arc<Barrier>>) -> bool {
        let mut left = wanted;
        while left > 0 {
            let said = match tokio::time::timeout(patience(), stream.next()).await {
                Ok(Some(said)) => said,
                nothing => {
                    if nothing.is_err() {
                        self.counts.count(&self.counts.stalled);
                    }
                    self.counts.count(&self.counts.broken);
                    return false;
                }
            };
            let Some(result) = said.result else {
                self.subscriber.place = said.place;
                continue;
            };
            let part = self.parts.last_mut().unwrap();
            if let Some(error) = result["errors"].get(0) {
                let error = &error["extensions"];
                assert_eq!(error["code"], "CURSOR_HISTORY_CHANGED", "{result}");
                // Half of them want what is left, and half what comes.
                let choice = if self.seed % 4 < 2 { "oldestCursor" } else { "newestCursor" };
                // Without a choice it asks once more.
                if let Some(cursor) = error[choice].as_str() {
                    self.subscriber.begin_at(cursor.to_owned());
                    self.parts.push(Part { start: Some(cursor.to_owned()), ..Part::default() });
                    self.counts.count(&self.counts.gaps);
                }
                return false;
            }
            let cursor = result["extensions"]["cursor"].as_str().expect("a cursor").to_owned();
            (self.subscriber.place, self.subscriber.cursor) = (said.place, Some(cursor.clone()));
            if result["extensions"]["subscribed"] == true {
                part.start.get_or_insert(cursor);
                if let Some(started) = waits.take() {
                    started.wait().await;
                }
                continue;
            }
            let change = Change::of(&result);
            let is_last = change.is_last();
            part.received.push(change);
            part.end = Some(cursor);
            self.counts.count(&self.counts.received);
            if is_last {
                return true;
            }
            left -= 1;
        }
        false
    }
}
