//! The dispatcher: takes batches in order and fills mailboxes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::audience::Identity;
use super::deliver::{Results, Stop};
use super::initial::{Duty, Initial};
use super::mailbox::{CursorText, EndReason, Mailbox, SubscriptionId};
use super::project::{Interest, ParsedEvent};
use super::route::{Router, Subscriber};
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
    /// The same place as a cursor; empty before the source has said where it starts.
    pub cursor: CursorText,
    /// And as a set.
    seen: Option<Cursor>,
}

impl Position {
    fn new(event: u64, seen: Cursor) -> Self {
        Self { event, cursor: seen.encode(), seen: Some(seen) }
    }
}

impl Hub {
    /// An empty hub.
    pub fn new(metrics: Metrics) -> Self {
        let position = Mutex::new(Position { event: 0, cursor: "".into(), seen: None });
        Self { router: Router::default(), next_id: AtomicU64::new(0), position, metrics }
    }

    /// Where the hub stands.
    pub fn position(&self) -> Position {
        self.position.lock().clone()
    }

    /// Starts at a cursor. At a change of history, call [`Hub::end_all`] before.
    pub fn start(&self, cursor: &Cursor) {
        let mut position = self.position.lock();
        *position = Position::new(position.event, cursor.clone());
    }

    /// Adds a subscription: events dispatched from now on reach its mailbox, after the rows that it begins
    /// with.
    pub fn subscribe(
        &self,
        interest: Interest,
        identity: Arc<Identity>,
        mailbox: Arc<Mailbox>,
        subscription: SubscriptionId,
    ) -> Arc<Subscriber> {
        let beginning = interest.beginning.clone();
        let initial = beginning.as_ref().map(|_| Initial::new());
        if let Some(initial) = &initial {
            // Before any event can come.
            mailbox.push_initial(subscription, initial);
        }
        let subscriber = self.add(interest, identity, mailbox, subscription, initial);
        if let Some((beginning, initial)) = beginning.zip(subscriber.initial.clone()) {
            let history = self.position.lock().seen.as_ref().map(|seen| seen.history);
            beginning.begin(Duty::new(initial, subscriber.mailbox.clone(), history));
        }
        subscriber
    }

    /// Gives a subscription another interest. It does not begin again.
    pub fn replace(&self, old: &Subscriber, interest: Interest) -> Arc<Subscriber> {
        self.unsubscribe(old);
        let (identity, mailbox) = (old.identity.clone(), old.mailbox.clone());
        self.add(interest, identity, mailbox, old.subscription, old.initial.clone())
    }

    fn add(
        &self,
        interest: Interest,
        identity: Arc<Identity>,
        mailbox: Arc<Mailbox>,
        subscription: SubscriptionId,
        initial: Option<Arc<Initial>>,
    ) -> Arc<Subscriber> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let subscriber = Arc::new(Subscriber { id, subscription, mailbox, interest, identity, initial });
        self.router.insert(&subscriber);
        subscriber
    }

    /// Removes a subscription. Removing it twice does nothing.
    pub fn unsubscribe(&self, subscriber: &Subscriber) {
        self.router.remove(subscriber);
    }

    /// Ends one subscription for a reason other than a full mailbox.
    pub fn end(&self, subscriber: &Subscriber, reason: EndReason) {
        let Position { seen, cursor, .. } = self.position();
        self.end_at(subscriber, reason, seen.as_ref(), &cursor);
    }

    /// Whether the stream contains the rows that a subscription began with: then both stand at the same
    /// place.
    pub fn is_past_beginning(&self, subscriber: &Subscriber) -> bool {
        let Some(initial) = &subscriber.initial else { return true };
        let seen = self.position.lock().seen.clone();
        seen.is_some_and(|seen| initial.stands_at(&seen).as_ref() == Some(&seen))
    }

    /// Ends every subscription.
    pub fn end_all(&self, reason: EndReason) {
        let mut all = self.router.subscribers();
        all.sort_unstable_by_key(|subscriber| subscriber.id);
        all.dedup_by_key(|subscriber| subscriber.id);
        all.iter().for_each(|subscriber| self.end(subscriber, reason.clone()));
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
        *self.position.lock() = Position::new(before + until as u64, batch.end());
        None
    }

    fn dispatch_event(&self, batch: &Batch, index: usize, number: u64) {
        let event = &batch.events[index];
        let stop = Stop::new(batch, index, number);
        let mut results = Results::default();
        {
            let mut topics = self.router.shapes_of(event).peekable();
            if topics.peek().is_none() {
                return;
            }
            let parsed = ParsedEvent::new(event);
            for shapes in topics {
                shapes.for_each_match(&parsed, |groups, found| {
                    results.deliver(groups, found, &parsed, &stop);
                });
            }
        }
        self.metrics.deliveries.inc_by(results.delivered);
        for subscriber in results.full {
            self.metrics.mailbox_overflows.inc();
            self.end_at(&subscriber, EndReason::SlowConsumer, Some(&stop.seen_before()), stop.before());
        }
    }

    fn end_at(&self, subscriber: &Subscriber, reason: EndReason, seen: Option<&Cursor>, text: &CursorText) {
        self.router.remove(subscriber);
        let cursor = stands_at(subscriber, seen, text);
        subscriber.mailbox.push_end(subscriber.subscription, reason, &cursor);
    }
}

/// Where a subscription stands when the stream has come to a cursor, which stands here with its text.
fn stands_at(subscriber: &Subscriber, seen: Option<&Cursor>, text: &CursorText) -> CursorText {
    match (&subscriber.initial, seen) {
        (Some(initial), Some(seen)) => match initial.stands_at(seen) {
            Some(own) if own == *seen => text.clone(),
            Some(own) => own.encode(),
            None => "".into(),
        },
        _ => text.clone(),
    }
}
