//! Subscriptions that begin with what is there: the current rows first, then every change that those rows
//! do not contain yet.
//!
//! Such a subscription is registered before its rows are read, so that no change is missed. What is dispatched
//! meanwhile waits in its mailbox behind the rows. Once they are there, the moment at which they were
//! read, a set of events like every cursor, decides about each of those: what is in the set is dropped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::mailbox::{CursorText, EndReason, Mailbox};
use crate::source::Batch;
use crate::source::cursor::{Cursor, Within};
use crate::source::snapshot::Snapshot;

/// Reads what subscriptions begin with.
pub trait Beginning: fmt::Debug + Send + Sync {
    /// Begins to read for one of them. Every duty is done in bounded time.
    fn begin(self: Arc<Self>, duty: Duty);
}

/// The results that a subscription begins with: complete, none of them open.
pub type Rows = Arc<[Bytes]>;

/// The beginning of one subscription, as far as it is known.
#[derive(Debug)]
pub(super) struct Initial {
    state: Mutex<State>,
    /// Whether the stream has come past the moment of the rows: nothing is left to decide about what
    /// it brings.
    passed: AtomicBool,
}

#[derive(Debug)]
enum State {
    Waiting,
    Read { rows: Rows, base: Cursor },
    Failed(EndReason),
}

/// How an event relates to the rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// They are not there yet.
    Unknown,
    /// They contain it, or there never will be any.
    Contained,
    /// They do not, and where the stream stands is where the subscription stands.
    Later,
    /// They do not, but they contain what the stream has not come to yet: where the subscription
    /// stands after the event and before it.
    Ahead { cursor: CursorText, before: CursorText },
}

/// Where an event stands in the stream.
#[derive(Debug)]
pub(super) struct Place {
    id: i64,
    xid: u64,
    /// What had been seen before its batch.
    start: Cursor,
    /// What its batch leads to.
    snapshot: Arc<Snapshot>,
    /// Whether it is the batch's last event.
    ends: bool,
}

impl Place {
    pub(super) fn of(batch: &Batch, index: usize) -> Self {
        let event = &batch.events[index];
        Self {
            id: event.id,
            xid: event.xid,
            start: batch.start.clone(),
            snapshot: batch.snapshot.clone(),
            ends: batch.last && index + 1 == batch.events.len(),
        }
    }
}

impl Initial {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Waiting), passed: AtomicBool::new(false) })
    }

    /// How the event at the place to which the stream has come relates to the rows.
    pub(super) fn relation_now(&self, place: &Place) -> Relation {
        if self.passed.load(Ordering::Relaxed) {
            return Relation::Later;
        }
        let relation = self.relation(place);
        if relation == Relation::Later {
            self.passed.store(true, Ordering::Relaxed);
        }
        relation
    }

    /// How the event at a place relates to the rows, wherever the stream is by now.
    pub(super) fn relation(&self, place: &Place) -> Relation {
        let state = self.state.lock();
        let base = match &*state {
            State::Waiting => return Relation::Unknown,
            State::Failed(_) => return Relation::Contained,
            State::Read { base, .. } => base,
        };
        if place.start.includes(base) {
            return Relation::Later;
        }
        if base.contains(place.id, place.xid) {
            return Relation::Contained;
        }
        // Moments of one database contain each other one way or the other: the batch began before the
        // rows were read and ends after it.
        if place.ends {
            let before = upto(base, place, place.id - 1);
            let cursor = Cursor {
                top: base.top.max(place.start.top).max(place.id),
                seen: place.snapshot.clone(),
                ..base.clone()
            };
            return Relation::Ahead { cursor: cursor.encode(), before };
        }
        Relation::Ahead { cursor: upto(base, place, place.id), before: upto(base, place, place.id - 1) }
    }

    /// Where the subscription stands when the stream has come to a cursor; nothing if the rows are not there,
    /// because without them it has not begun.
    pub(super) fn stands_at(&self, stream: &Cursor) -> Option<Cursor> {
        match &*self.state.lock() {
            State::Waiting | State::Failed(_) => None,
            State::Read { base, .. } if stream.includes(base) => Some(stream.clone()),
            State::Read { base, .. } => Some(base.clone()),
        }
    }

    /// The rows and the cursor that stands behind them, or why there are none; nothing while they are read.
    pub(super) fn take(&self) -> Option<Result<(Rows, CursorText), EndReason>> {
        match &mut *self.state.lock() {
            State::Waiting => None,
            State::Failed(reason) => Some(Err(reason.clone())),
            State::Read { rows, base } => Some(Ok((std::mem::take(rows), base.encode()))),
        }
    }
}

/// The rows and the events of the batch up to and including an id.
fn upto(base: &Cursor, place: &Place, id: i64) -> CursorText {
    Cursor { within: Some(Within { snapshot: place.snapshot.clone(), upto: id }), ..base.clone() }.encode()
}

/// The duty to say what a subscription begins with. Dropped undone, the subscription ends: it never waits
/// for ever.
pub struct Duty {
    initial: Arc<Initial>,
    mailbox: Arc<Mailbox>,
    /// Of the stream.
    history: Option<u64>,
    done: bool,
}

impl Duty {
    pub(super) fn new(initial: Arc<Initial>, mailbox: Arc<Mailbox>, history: Option<u64>) -> Self {
        Self { initial, mailbox, history, done: false }
    }

    /// Hands over the rows and the moment at which they were read.
    pub fn done(mut self, rows: Rows, base: Cursor) {
        if self.history != Some(base.history) {
            return self.failed(EndReason::HistoryChanged);
        }
        let bytes = rows.iter().map(Bytes::len).sum();
        self.settle(match self.mailbox.reserve(bytes) {
            Ok(()) => State::Read { rows, base },
            Err(_) => State::Failed(EndReason::SlowConsumer),
        });
    }

    /// Ends the subscription instead.
    pub fn failed(mut self, reason: EndReason) {
        self.settle(State::Failed(reason));
    }

    fn settle(&mut self, state: State) {
        self.done = true;
        *self.initial.state.lock() = state;
        self.mailbox.settled(0);
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            self.settle(State::Failed(EndReason::InitialFailed("the rows could not be read".into())));
        }
    }
}

impl fmt::Debug for Duty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Duty").field("done", &self.done).finish_non_exhaustive()
    }
}
