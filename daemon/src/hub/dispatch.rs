//! The dispatcher: takes batches in order and fills mailboxes.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;

use super::behind::Waiting;
use super::deliver::{Made, Receive, Results, Stop};
use super::initial::Initial;
use super::mailbox::{CursorText, EndReason};
use super::outlet::Due;
use super::project::ParsedEvent;
use super::route::{Router, Subscriber};
use super::subscribe::{Parts, stands_at};
use crate::metrics::Metrics;
use crate::source::Batch;
use crate::source::cursor::{Cursor, Within};

/// Routes events to the mailboxes of those who may see them.
#[derive(Debug)]
pub struct Hub {
    pub(super) router: Router,
    pub(super) next_id: AtomicU64,
    pub(super) position: Mutex<Position>,
    /// Whether somebody replays what subscriptions miss.
    replays: bool,
    /// Those that wait for it.
    pub(super) waiting: Waiting,
    metrics: Metrics,
}

/// How far the hub has come: every event up to here is in the mailboxes it belongs to.
#[derive(Debug, Clone)]
pub struct Position {
    /// Running number of the event, from 1 at the start of this process.
    pub event: u64,
    /// The same place as a cursor; empty before the source has said where it starts.
    pub cursor: CursorText,
    /// And as a set.
    pub(super) seen: Option<Cursor>,
}

impl Position {
    fn new(event: u64, seen: Cursor) -> Self {
        Self { event, cursor: seen.encode(), seen: Some(seen) }
    }

    /// The highest id that has come by here.
    pub fn top(&self) -> i64 {
        self.seen.as_ref().map_or(0, |seen| seen.top)
    }

    /// Whether everything in a set has come by here; if in doubt, no.
    pub fn includes(&self, set: &Cursor) -> bool {
        self.seen.as_ref().is_some_and(|seen| {
            let contains = |part: &Within| part.upto <= seen.top && seen.seen.covers(&part.snapshot);
            seen.includes(set) && set.parts().all(contains)
        })
    }
}

impl Hub {
    /// An empty hub. `replays` says that somebody takes those that are [`Hub::behind`] and brings them to the
    /// stream.
    pub fn new(metrics: Metrics, replays: bool) -> Self {
        Self {
            router: Router::default(),
            next_id: AtomicU64::new(0),
            position: Mutex::new(Position { event: 0, cursor: "".into(), seen: None }),
            replays,
            waiting: Waiting::default(),
            metrics,
        }
    }

    /// Whether a subscription may go on after a cursor.
    pub fn replays(&self) -> bool {
        self.replays
    }

    /// Where the hub stands.
    pub fn position(&self) -> Position {
        self.position.lock().clone()
    }

    /// Whether a history is that of the stream.
    pub fn stands_in(&self, history: u64) -> bool {
        self.position.lock().seen.as_ref().is_none_or(|seen| seen.history == history)
    }

    /// Starts at a cursor. At a change of history, call [`Hub::end_all`] before.
    pub fn start(&self, cursor: &Cursor) {
        let mut position = self.position.lock();
        *position = Position::new(position.event, cursor.clone());
    }

    /// Ends every subscription.
    pub fn end_all(&self, reason: EndReason) {
        let mut all = self.router.subscribers();
        all.sort_unstable_by_key(|subscriber| subscriber.id);
        all.dedup_by_key(|subscriber| subscriber.id);
        let owners = all.iter().filter_map(|subscriber| subscriber.owner.upgrade());
        owners.for_each(|subscribed| self.end(&subscribed, reason.clone()));
    }

    /// Puts the results of at most `most` events of a batch, from the one at `next` on, into the
    /// mailboxes of all who may see them; those that are due are to be written by the caller. Returns where
    /// to go on, or nothing at the batch's end; a caller that yields in between lets the connections empty
    /// their mailboxes.
    ///
    /// Call it from one task only: the order of the calls is the order of delivery.
    pub fn dispatch(&self, batch: &Batch, next: usize, most: usize, due: &mut Due) -> Option<usize> {
        let until = batch.events.len().min(next.saturating_add(most));
        // The position moves at the end of a batch only.
        let before = self.position.lock().event;
        let mut desk = Desk::default();
        for index in next..until {
            self.dispatch_event(batch, index, before + index as u64 + 1, &mut desk, due);
        }
        if until < batch.events.len() {
            return Some(until);
        }
        self.metrics.count_events(&batch.events);
        *self.position.lock() = Position::new(before + until as u64, batch.end());
        None
    }

    fn dispatch_event(&self, batch: &Batch, index: usize, number: u64, desk: &mut Desk, due: &mut Due) {
        let event = &batch.events[index];
        let stop = Stop::new(batch, index, number);
        let Desk { topic, key, results } = desk;
        let mut stream = Stream { stop: &stop, full: Vec::new(), due };
        // Nobody may be interested.
        let mut parsed = None;
        self.router.for_each_topic(event, topic, |shapes| {
            let parsed = parsed.get_or_insert_with(|| ParsedEvent::new(event));
            shapes.for_each_match(parsed, key, |crowd, found| {
                results.deliver(crowd, found, parsed, &mut stream);
            });
        });
        self.metrics.deliveries.inc_by(std::mem::take(&mut results.delivered));
        results.clear();
        for subscriber in stream.full {
            self.metrics.mailbox_overflows.inc();
            self.fall_behind(&subscriber, &stop);
        }
    }

    /// A mailbox was full: the subscription catches up later, from before the event, or ends if it cannot.
    fn fall_behind(&self, subscriber: &Arc<Subscriber>, stop: &Stop<'_>) {
        self.router.remove(subscriber);
        let Some(subscribed) = subscriber.owner.upgrade() else { return };
        let mut state = subscribed.lock();
        if !state.goes_by(subscriber) {
            return;
        }
        if state.seen.is_some() {
            // It was about to have come to the stream. Whoever brings it there finds that it has to again.
            state.current = Some(self.subscriber(Parts::of(subscriber), subscriber.owner.clone()));
            return;
        }
        let before = stop.seen_before();
        let stands =
            subscriber.initial.as_ref().map_or_else(|| Some(before.clone()), |it| it.stands_at(&before));
        match stands.filter(|_| self.replays) {
            Some(seen) => {
                let initial = Initial::new();
                subscriber.mailbox.push_initial(subscriber.subscription, &initial);
                let parts = Parts { initial: Some(initial), ..Parts::of(subscriber) };
                state.current = Some(self.subscriber(parts, subscriber.owner.clone()));
                state.seen = Some(seen.into());
                drop(state);
                self.wait(subscribed);
            }
            None => {
                state.current = None;
                let cursor = stands_at(subscriber, Some(&before), stop.before());
                subscriber.mailbox.push_end(subscriber.subscription, EndReason::SlowConsumer, &cursor);
            }
        }
    }
}

/// What events are worked on with, one after the other: nothing of one is left for the next but room.
#[derive(Default)]
struct Desk {
    topic: String,
    key: String,
    results: Results,
}

/// One event of the stream, on its way to those who match it.
struct Stream<'a> {
    stop: &'a Stop<'a>,
    /// Those whose mailboxes had no room.
    full: Vec<Arc<Subscriber>>,
    due: &'a mut Due,
}

impl Receive for Stream<'_> {
    fn wants(&self, _: &Subscriber) -> bool {
        true
    }

    fn put(&mut self, subscriber: &Arc<Subscriber>, made: &Made) -> bool {
        made.push(subscriber, self.stop, self.due).unwrap_or_else(|_| {
            self.full.push(subscriber.clone());
            false
        })
    }
}
