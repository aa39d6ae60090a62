//! A node: a hub that tails the model, and replay.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::database::{self, Database, Reader};
use crate::event::Event;
use crate::hub::dispatch::Hub;
use crate::hub::mailbox::EndReason;
use crate::hub::outlet::Due;
use crate::metrics::Metrics;
use crate::service::replay;
use crate::source::Batch;
use crate::source::cursor::Cursor;
use crate::source::recent::Recent;
use crate::source::ring::RingLimits;

pub(super) struct Node {
    pub(super) hub: Arc<Hub>,
    recent: Arc<Recent>,
    database: Arc<Mutex<Database>>,
    seen: Cursor,
    /// A batch that is being dispatched, and how far it has come.
    batch: Option<(Arc<Batch>, usize)>,
    /// Whether the next poll is the first since a crash.
    after_reconnect: bool,
    metrics: Metrics,
    /// What has been dispatched.
    dispatched: Vec<i64>,
    /// What was there before it started, or started anew.
    skipped: HashSet<i64>,
    replay: JoinHandle<()>,
    /// Who is to be written to.
    due: Due,
}

impl Node {
    pub(super) fn new(database: &Arc<Mutex<Database>>, ring: RingLimits) -> Self {
        let metrics = Metrics::default();
        let hub = Arc::new(Hub::new(metrics.clone(), true));
        let seen = database::start(&database.lock());
        hub.start(&seen);
        let reader = Arc::new(Reader(database.clone()));
        let recent = Arc::new(Recent::new(ring, Some(reader), metrics.replay.clone()));
        recent.start(&seen).now_or_never().expect("the model answers at once");
        let replay = tokio::spawn(replay::run(hub.clone(), recent.clone(), metrics.replay.clone()));
        let skipped = database.lock().committed.iter().map(|event| event.id).collect();
        Self {
            hub,
            recent,
            database: database.clone(),
            seen,
            batch: None,
            after_reconnect: false,
            metrics,
            dispatched: Vec::new(),
            skipped,
            replay,
            due: Due::default(),
        }
    }

    pub(super) fn reconnect(&mut self) {
        self.after_reconnect = true;
    }

    /// Reads that the ring answered, and those that it could not.
    pub(super) fn reads(&self) -> [u64; 2] {
        [self.metrics.replay.reads_of_memory.get(), self.metrics.replay.reads.get()]
    }

    pub(super) fn overflows(&self) -> u64 {
        self.metrics.mailbox_overflows.get()
    }

    /// Dispatches some events, after a look at what is new if nothing is left; with no limit, all there is.
    pub(super) fn poll(&mut self, most: usize) {
        if self.batch.is_none() {
            self.look();
        }
        if let Some((batch, from)) = self.batch.take() {
            let next = self.hub.dispatch(&batch, from, most, &mut self.due);
            let upto = next.unwrap_or(batch.events.len());
            self.dispatched.extend(batch.events[from..upto].iter().map(|event| event.id));
            self.batch = next.map(|next| (batch, next));
        }
        if most == usize::MAX && self.batch.is_none() && self.look() {
            self.poll(most);
        }
    }

    /// Writes to those who have lent their sockets.
    pub(super) fn write(&mut self) {
        let (now, mut room) = (Instant::now(), Vec::new());
        for mailbox in self.due.take() {
            mailbox.write_by_outlet(now, &mut room);
        }
    }

    /// Whether no batch is under way: then the hub's position is where a new client starts.
    pub(super) fn is_between_batches(&self) -> bool {
        self.batch.is_none()
    }

    /// What a client that comes now and has seen nothing will not get.
    pub(super) fn everything_before(&self) -> HashSet<i64> {
        self.dispatched.iter().chain(&self.skipped).copied().collect()
    }

    /// Makes a batch of what has become visible; false if nothing has.
    fn look(&mut self) -> bool {
        let database = self.database.lock();
        let expired = database.floor.as_ref().is_some_and(|floor| self.seen.lacks(floor));
        if expired {
            // What a source does: it says so and starts anew.
            let start = database::start(&database);
            self.skipped = database.committed.iter().map(|event| event.id).collect();
            drop(database);
            self.hub.end_all(EndReason::Expired(Default::default()));
            self.recent.start(&start).now_or_never().expect("the model answers at once");
            self.hub.start(&start);
            self.seen = start;
            return false;
        }
        let snapshot = Arc::new(database.snapshot());
        let (seen, reconnected) = (&self.seen, std::mem::take(&mut self.after_reconnect));
        let is_new = |event: &&Event| !seen.seen.sees(event.xid) || (reconnected && event.id > seen.top);
        let mut events: Vec<Event> = database.table.iter().filter(is_new).cloned().collect();
        events.sort_unstable_by_key(|event| event.id);
        let any = !events.is_empty();
        let batch = Arc::new(Batch { events, start: self.seen.clone(), snapshot, last: true });
        self.seen = batch.end();
        self.recent.push(&batch);
        self.batch = Some((batch, 0));
        any
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.replay.abort();
    }
}
