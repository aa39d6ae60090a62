//! What comes before the stream: the current rows of a subscription that begins with them, or the events that
//! one has missed ([`super::replay`]); then every event that those do not contain yet.
//!
//! Such a subscription is registered before what comes first is read to its end, so that nothing is missed. What is
//! dispatched meanwhile waits in its mailbox behind it. Once it is there, the moment at which it was
//! read, a set of events like every cursor, decides about each of those: what is in the set is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::entry::Entry;
use super::mailbox::{Bounds, CursorText, EndReason, Mailbox};
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
    /// Of a subscription that has missed events: those that were read and not delivered yet. Locked under the lock of
    /// its mailbox only, which counts them.
    pub(super) replayed: Mutex<VecDeque<Entry>>,
    /// Whether the stream has come past the moment of the rows: nothing is left to decide about what
    /// it brings.
    passed: AtomicBool,
}

#[derive(Debug)]
enum State {
    Waiting,
    Read { rows: Rows, base: Cursor },
    Replayed { base: Cursor },
    Failed { reason: EndReason, cursor: CursorText },
}

/// What a mailbox finds in the place of what comes first.
pub(super) enum Begun {
    /// The rows and the cursor that stands behind them.
    Rows(Rows, CursorText),
    /// Every event that was missed has been handed over.
    Replayed,
    /// There is nothing to come: why, and where the subscription stands.
    Failed(EndReason, CursorText),
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
        Arc::new(Self {
            state: Mutex::new(State::Waiting),
            replayed: Mutex::default(),
            passed: AtomicBool::new(false),
        })
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
            State::Failed { .. } => return Relation::Contained,
            State::Read { base, .. } | State::Replayed { base } => base,
        };
        if place.start.includes(base) {
            return Relation::Later;
        }
        if base.contains(place.id, place.xid) {
            return Relation::Contained;
        }
        let own = with(base, &place.start);
        let upto = |id| upto(&own, &place.snapshot, id).encode();
        let before = upto(place.id - 1);
        if place.ends {
            // The batch began before what came first was read, and ends after it: it lacked the event.
            let cursor = Cursor {
                top: base.top.max(place.start.top).max(place.id),
                seen: place.snapshot.clone(),
                ..base.clone()
            };
            return Relation::Ahead { cursor: cursor.encode(), before };
        }
        Relation::Ahead { cursor: upto(place.id), before }
    }

    /// Where the subscription stands when the stream has come to a cursor; nothing if the rows are not there,
    /// because without them it has not begun.
    pub(super) fn stands_at(&self, stream: &Cursor) -> Option<Cursor> {
        match &*self.state.lock() {
            State::Waiting | State::Failed { .. } => None,
            State::Read { base, .. } | State::Replayed { base } => {
                let ahead = || Cursor { within: stream.within.clone(), ..with(base, stream) };
                Some(if stream.includes(base) { stream.clone() } else { ahead() })
            }
        }
    }

    /// What has become of it; nothing while it is read.
    pub(super) fn take(&self) -> Option<Begun> {
        match &mut *self.state.lock() {
            State::Waiting => None,
            State::Failed { reason, cursor } => Some(Begun::Failed(reason.clone(), cursor.clone())),
            State::Read { rows, base } => Some(Begun::Rows(std::mem::take(rows), base.encode())),
            State::Replayed { .. } => Some(Begun::Replayed),
        }
    }

    /// Everything up to here has been handed over; the stream decides by it.
    pub(super) fn replayed_up_to(&self, base: Cursor) {
        *self.state.lock() = State::Replayed { base };
    }

    /// The subscription ends here.
    pub(super) fn fail(&self, reason: EndReason, cursor: CursorText) {
        *self.state.lock() = State::Failed { reason, cursor };
    }
}

/// What came first, and what the stream has brought in batches that are complete. Moments of one database contain
/// each other one way or the other, unless it crashed between them and gave xids that one had counted as finished to
/// new transactions: then it takes both to name what has been seen.
fn with(base: &Cursor, stream: &Cursor) -> Cursor {
    if base.includes(stream) {
        return base.clone();
    }
    let left = vec![Within { snapshot: stream.seen.clone(), upto: stream.top }];
    Cursor { left, ..base.clone() }
}

/// Besides, the events of a batch up to and including an id.
fn upto(own: &Cursor, snapshot: &Arc<Snapshot>, id: i64) -> Cursor {
    Cursor { within: Some(Within { snapshot: snapshot.clone(), upto: id }), ..own.clone() }
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
            return self.failed(EndReason::HistoryChanged(Bounds::default()));
        }
        let bytes = rows.iter().map(Bytes::len).sum();
        self.settle(match self.mailbox.reserve(bytes) {
            Ok(()) => State::Read { rows, base },
            Err(_) => failed(EndReason::SlowConsumer),
        });
    }

    /// Ends the subscription instead.
    pub fn failed(mut self, reason: EndReason) {
        self.settle(failed(reason));
    }

    fn settle(&mut self, state: State) {
        self.done = true;
        *self.initial.state.lock() = state;
        self.mailbox.settled(0);
    }
}

/// Without its rows a subscription has come to no place.
fn failed(reason: EndReason) -> State {
    State::Failed { reason, cursor: "".into() }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            self.settle(failed(EndReason::InitialFailed("the rows could not be read".into())));
        }
    }
}

impl fmt::Debug for Duty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Duty").field("done", &self.done).finish_non_exhaustive()
    }
}
