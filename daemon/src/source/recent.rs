//! Reads events again from memory while they are there, and else from where the source keeps them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::Batch;
use super::cursor::Cursor;
use super::history::{History, HistoryError, Missing, Moment, Passage};
use super::ring::{Ring, RingLimits};
use crate::metrics::ReplayMetrics;

/// Longest time that a start waits for what happened before.
const EARLIER_TIME_MAX: Duration = Duration::from_secs(2);

const WITHOUT: &str =
    "the last events before the start are not kept in memory: who missed some reads the table";

/// A ring, and behind it what keeps more.
#[derive(Debug)]
pub struct Recent {
    ring: Ring,
    /// Nothing if what the ring forgets is gone.
    kept: Option<Arc<dyn History>>,
    metrics: ReplayMetrics,
}

impl Recent {
    /// An empty ring before what keeps more.
    pub fn new(limits: RingLimits, kept: Option<Arc<dyn History>>, metrics: ReplayMetrics) -> Self {
        Self { ring: Ring::new(limits), kept, metrics }
    }

    /// Whether it can have anything to read.
    pub fn keeps(&self) -> bool {
        self.kept.is_some() || self.ring.limits().events > 0
    }

    /// Has the ring start at a cursor, with what happened before as far as it has room.
    pub async fn start(&self, at: &Cursor) {
        self.ring.start(at);
        let limits = self.ring.limits();
        if let Some(kept) = self.kept.as_ref().filter(|_| limits.events > 0) {
            match tokio::time::timeout(EARLIER_TIME_MAX, kept.earlier(at, limits)).await {
                Ok(Ok(Some(earlier))) => self.ring.precede(at, earlier),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(%error, "{WITHOUT}"),
                Err(_) => tracing::warn!("{WITHOUT}: they could not be read within {EARLIER_TIME_MAX:?}"),
            }
        }
        self.measure();
    }

    /// Keeps a batch. Call it before the batch is dispatched: who joins the stream meanwhile has to find in the ring
    /// whatever the stream brought before.
    pub fn push(&self, batch: &Arc<Batch>) {
        self.ring.push(batch);
        self.measure();
    }

    fn measure(&self) {
        let (events, bytes) = self.ring.size();
        self.metrics.ring_events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.metrics.ring_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

impl History for Recent {
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>> {
        if let Some(moment) = self.ring.moment(missing) {
            self.metrics.reads_of_memory.inc();
            return ready(Ok(moment)).boxed();
        }
        match &self.kept {
            Some(kept) => {
                self.metrics.reads.inc();
                kept.moment(missing)
            }
            None => {
                self.metrics.reads_of_memory.inc();
                let moment = self.ring.last_moment(missing);
                ready(moment.ok_or_else(|| HistoryError("the source has not started yet".into()))).boxed()
            }
        }
    }

    fn passage<'a>(
        &'a self,
        missing: &'a Missing,
        moment: &'a Moment,
        after: i64,
        width: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>> {
        if let Some(passage) = self.ring.passage(missing, moment, after, width) {
            self.metrics.reads_of_memory.inc();
            return ready(Ok(passage)).boxed();
        }
        match &self.kept {
            Some(kept) => {
                self.metrics.reads.inc();
                kept.passage(missing, moment, after, width)
            }
            None => {
                self.metrics.reads_of_memory.inc();
                ready(Ok(self.ring.last_passage(missing, moment, after, width))).boxed()
            }
        }
    }

    fn holds(&self, missing: &Missing) -> bool {
        self.ring.holds(missing)
    }
}
