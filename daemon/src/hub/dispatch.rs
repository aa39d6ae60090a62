//! The dispatcher: takes batches in order and fills mailboxes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use super::audience::Identity;
use super::mailbox::{CursorText, EndReason, Mailbox, SubscriptionId};
use super::project::{Interest, ParsedEvent, Predicate, Projection};
use super::promise::{Deferral, Promise, Slot};
use super::route::{Found, Group, GroupKey, Groups, Router, Subscriber};
use crate::event::{Event, Operation};
use crate::metrics::Metrics;
use crate::source::Batch;
use crate::source::cursor::Cursor;

/// Routes events to the mailboxes of those who may see them.
#[derive(Debug)]
pub struct Hub {
    router: Router,
    next_id: AtomicU64,
    position: Mutex<Position>,
    metrics: Metrics,
}

/// How far the hub has come: every event up to here is in the mailboxes it belongs to.
#[derive(Debug, Clone)]
pub struct Position {
    /// Running number of the event, from 1 at the start of this process.
    pub event: u64,
    /// The same place as a cursor.
    pub cursor: CursorText,
}

impl Hub {
    /// An empty hub.
    pub fn new(metrics: Metrics) -> Self {
        let position = Mutex::new(Position { event: 0, cursor: "".into() });
        Self { router: Router::default(), next_id: AtomicU64::new(0), position, metrics }
    }

    /// Where the hub stands.
    pub fn position(&self) -> Position {
        self.position.lock().clone()
    }

    /// Starts at a cursor. At a change of history, call [`Hub::end_all`] before.
    pub fn start(&self, cursor: &Cursor) {
        self.position.lock().cursor = cursor.encode();
    }

    /// Adds a subscription: events dispatched from now on reach its mailbox.
    pub fn subscribe(
        &self,
        interest: Interest,
        identity: Arc<Identity>,
        mailbox: Arc<Mailbox>,
        subscription: SubscriptionId,
    ) -> Arc<Subscriber> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Arc::new(Subscriber { id, subscription, mailbox, interest, identity });
        self.router.insert(&subscriber);
        subscriber
    }

    /// Removes a subscription. Removing it twice does nothing.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        self.router.remove(subscriber);
    }

    /// Ends one subscription for a reason other than a full mailbox.
    pub fn end(&self, subscriber: &Subscriber, reason: EndReason) {
        self.end_at(subscriber, reason, &self.position().cursor);
    }

    /// Ends every subscription.
    pub fn end_all(&self, reason: EndReason) {
        let mut all = self.router.subscribers();
        all.sort_unstable_by_key(|subscriber| subscriber.id);
        all.dedup_by_key(|subscriber| subscriber.id);
        all.iter().for_each(|subscriber| self.end(subscriber, reason));
    }

    /// Puts the results of at most `most` events of a batch, from the one at `next` on, into the
    /// mailboxes of all who may see them. Returns where to go on, or nothing at the batch's end; a
    /// caller that yields in between lets the connections empty their mailboxes.
    ///
    /// Call it from one task only: the order of the calls is the order of delivery.
    pub fn dispatch(&self, batch: &Batch, next: usize, most: usize) -> Option<usize> {
        let until = batch.events.len().min(next.saturating_add(most));
        // The position moves at the end of a batch only.
        let before = self.position().event;
        for index in next..until {
            self.dispatch_event(batch, index, before + index as u64 + 1);
        }
        if until < batch.events.len() {
            return Some(until);
        }
        self.metrics.count_events(&batch.events);
        *self.position.lock() = Position { event: before + until as u64, cursor: batch.end().encode() };
        None
    }

    fn dispatch_event(&self, batch: &Batch, index: usize, number: u64) {
        let event = &batch.events[index];
        let mut results = Results::default();
        {
            let mut topics = self.router.shapes_of(event).peekable();
            if topics.peek().is_none() {
                return;
            }
            let parsed = ParsedEvent::new(event);
            let mut cursor = None;
            for shapes in topics {
                shapes.for_each_match(&parsed, |groups, found| {
                    let cursor = cursor.get_or_insert_with(|| batch.cursor_after(index).encode());
                    results.deliver(groups, found, &parsed, cursor, number);
                });
            }
        }
        self.metrics.deliveries.inc_by(results.delivered);
        for subscriber in results.full {
            let before = if index == 0 { batch.start.clone() } else { batch.cursor_after(index - 1) };
            self.metrics.mailbox_overflows.inc();
            self.end_at(&subscriber, EndReason::SlowConsumer, &before.encode());
        }
    }

    fn end_at(&self, subscriber: &Subscriber, reason: EndReason, cursor: &CursorText) {
        self.router.remove(subscriber);
        subscriber.mailbox.push_end(subscriber.subscription, reason, cursor);
    }
}

/// A result, or the place where it will be.
enum Made {
    Now(Bytes),
    Later(Arc<Slot>),
}

/// What was made of one event so far, for all who share it.
#[derive(Default)]
struct Results {
    /// By the address of the projection that made them, which is kept: once freed, its address could
    /// become another's while the event is still on its way.
    encoded: HashMap<usize, (Bytes, Arc<dyn Projection>)>,
    /// Places of results that are being made, by the address of the deferral, which is kept likewise.
    slots: HashMap<usize, (Arc<Slot>, Arc<dyn Deferral>)>,
    /// The event, for those who work on it; made when the first needs it.
    shared: Option<Arc<Event>>,
    /// Whether the event passes, by the address of the residual, which is kept likewise.
    passed: HashMap<usize, (bool, Arc<dyn Predicate>)>,
    /// Who was met by scan: nobody gets an event twice.
    met: HashSet<u64>,
    /// Those whose mailboxes had no room.
    full: Vec<Arc<Subscriber>>,
    delivered: u64,
}

impl Results {
    fn deliver(
        &mut self,
        groups: &Groups,
        found: Found,
        parsed: &ParsedEvent<'_>,
        cursor: &CursorText,
        number: u64,
    ) {
        for (&key, group) in groups {
            if !self.passes(key, group, parsed) {
                continue;
            }
            let result = self.result(key, group, parsed);
            for subscriber in group.subscribers.values() {
                if found == Found::ByScan && !self.met.insert(subscriber.id) {
                    continue;
                }
                let (mailbox, subscription) = (&subscriber.mailbox, subscriber.subscription);
                let pushed = match &result {
                    Made::Now(result) => mailbox.push_next(subscription, result, cursor, number),
                    Made::Later(slot) => mailbox.push_later(subscription, slot, cursor, number),
                };
                match pushed {
                    Ok(()) => self.delivered += 1,
                    Err(_) => self.full.push(subscriber.clone()),
                }
            }
        }
    }

    /// The result for a group, made or begun by whoever needs it first.
    fn result(&mut self, key: GroupKey, group: &Group, parsed: &ParsedEvent<'_>) -> Made {
        let Some((address, deferral)) = key.deferral.zip(group.deferral.as_ref()) else {
            let projection = &group.projection;
            let made = || (projection.project(parsed), projection.clone());
            return Made::Now(self.encoded.entry(key.projection).or_insert_with(made).0.clone());
        };
        let event = self.shared.get_or_insert_with(|| Arc::new(parsed.event.clone()));
        let begun = || {
            let slot = Slot::new();
            deferral.begin(event, Promise::new(slot.clone(), deferral.clone(), event.clone()));
            (slot, deferral.clone())
        };
        Made::Later(self.slots.entry(address).or_insert_with(begun).0.clone())
    }

    fn passes(&mut self, key: GroupKey, group: &Group, parsed: &ParsedEvent<'_>) -> bool {
        let Some((address, residual)) = key.residual.zip(group.residual.as_ref()) else { return true };
        parsed.event.operation == Some(Operation::Truncate)
            || self.passed.entry(address).or_insert_with(|| (residual.passes(parsed), residual.clone())).0
    }
}
