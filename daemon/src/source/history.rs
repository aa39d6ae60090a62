//! Events that were there before: what a subscription that was away, or too slow, has missed.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
pub use tidings_cursor::moment::{Missing, Moment};

use super::cursor::{Cursor, Floor};
use super::ring::RingLimits;
use super::snapshot::Snapshot;
use crate::event::Event;

/// Reads events again.
pub trait History: Debug + Send + Sync {
    /// The moment now, and where what is missing of it lies.
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>>;

    /// What is missing of a moment, from after an id on: those of the next `width` ids, or fewer.
    fn passage<'a>(
        &'a self,
        missing: &'a Missing,
        moment: &'a Moment,
        after: i64,
        width: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>>;

    /// Whether everything that may be missing is at hand, at no cost to anybody.
    fn holds(&self, _: &Missing) -> bool {
        false
    }

    /// The last events of a set, for a ring that starts with it; nothing if they cannot be told.
    fn earlier<'a>(
        &'a self,
        _: &'a Cursor,
        _: RingLimits,
    ) -> BoxFuture<'a, Result<Option<Earlier>, HistoryError>> {
        ready(Ok(None)).boxed()
    }
}

/// The last events of a set.
#[derive(Debug)]
pub struct Earlier {
    /// A set that all others of its events are in.
    pub before: Cursor,
    /// The last, in the order of ids.
    pub events: Vec<Event>,
}

impl Earlier {
    /// The last events of a set, after those up to an id, whose highest xid this is. `floor` is what had been removed
    /// *after* they were read: what was removed while they were is before them, too.
    pub fn new(of: &Cursor, upto: i64, xid: u64, floor: Option<&Floor>, events: Vec<Event>) -> Self {
        let (removed, top) = floor.map_or((0, 0), |floor| (floor.snapshot.xmax(), floor.top));
        let is_removed = |xid: &u64| floor.is_some_and(|floor| floor.snapshot.sees(*xid));
        let running = of.seen.in_progress().iter().filter(|xid| !is_removed(xid)).copied().collect();
        let seen = Arc::new(Snapshot::new(removed.max(xid.saturating_add(1)), running));
        Self { before: Cursor { top: top.max(upto), seen, ..of.clone() }, events }
    }
}

/// A part of what is missing, in the order of ids.
#[derive(Debug)]
pub struct Passage {
    /// The events.
    pub events: Vec<Event>,
    /// Every one up to this id is there.
    pub upto: i64,
    /// The floor by the time they were read.
    pub floor: Option<Floor>,
}

/// Why nothing could be read; it may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HistoryError(pub String);
