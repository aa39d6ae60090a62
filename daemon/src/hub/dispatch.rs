//! The dispatcher: takes batches in order and fills mailboxes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::audience::Identity;
use super::deliver::{Made, Receive, Results, Stop};
use super::initial::{Duty, Initial};
use super::mailbox::{CursorText, EndReason, Mailbox, SubscriptionId};
use super::project::{Interest, ParsedEvent};
use super::route::{Router, Subscriber};
use super::subscribed::Subscribed;
use crate::metrics::Metrics;
use crate::source::Batch;
use crate::source::cursor::{Cursor, Within};

/// Routes events to the mailboxes of those who may see them.
#[derive(Debug)]
pub struct Hub {
    router: Router,
    next_id: AtomicU64,
    position: Mutex<Position>,
    /// Whether somebody replays what subscriptions miss.
    replays: bool,
    /// Those that wait for it.
    behind: Mutex<Vec<Arc<Subscribed>>>,
    fell_behind: Notify,
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
            behind: Mutex::default(),
            fell_behind: Notify::new(),
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
    ) -> Arc<Subscribed> {
        let beginning = interest.beginning.clone();
        let initial = beginning.as_ref().map(|_| Initial::new());
        if let Some(initial) = &initial {
            // Before any event can come.
            mailbox.push_initial(subscription, initial);
        }
        let parts = Parts { interest, identity, mailbox, subscription, initial };
        let (subscribed, subscriber) = self.enter(parts, None);
        self.router.insert(&subscriber);
        if let Some((beginning, initial)) = beginning.zip(subscriber.initial.clone()) {
            let history = self.position.lock().seen.as_ref().map(|seen| seen.history);
            beginning.begin(Duty::new(initial, subscriber.mailbox.clone(), history));
        }
        subscribed
    }

    /// Adds a subscription that has seen something already: what it lacks comes first, by replay.
    pub fn resume(
        &self,
        interest: Interest,
        identity: Arc<Identity>,
        mailbox: Arc<Mailbox>,
        subscription: SubscriptionId,
        seen: Cursor,
    ) -> Arc<Subscribed> {
        let initial = Initial::new();
        mailbox.push_initial(subscription, &initial);
        let parts = Parts { interest, identity, mailbox, subscription, initial: Some(initial) };
        let (subscribed, _) = self.enter(parts, Some(seen));
        self.wait(subscribed.clone());
        subscribed
    }

    fn enter(&self, parts: Parts, seen: Option<Cursor>) -> (Arc<Subscribed>, Arc<Subscriber>) {
        let subscribed = Subscribed::new(seen);
        let subscriber = self.subscriber(parts, Arc::downgrade(&subscribed));
        subscribed.lock().current = Some(subscriber.clone());
        (subscribed, subscriber)
    }

    fn subscriber(&self, parts: Parts, owner: Weak<Subscribed>) -> Arc<Subscriber> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let Parts { interest, identity, mailbox, subscription, initial } = parts;
        Arc::new(Subscriber { id, subscription, mailbox, interest, identity, initial, owner })
    }

    /// Gives a subscription another interest. It does not begin again.
    pub fn replace(&self, subscribed: &Subscribed, interest: Interest) {
        let mut state = subscribed.lock();
        let Some(old) = state.current.take() else { return };
        let new = self.subscriber(Parts { interest, ..Parts::of(&old) }, old.owner.clone());
        self.router.remove(&old);
        state.current = Some(new.clone());
        if state.seen.is_none() {
            self.router.insert(&new);
        } else if let Some(initial) = &old.initial {
            old.mailbox.forget_stream(old.subscription, initial);
        }
    }

    /// Removes a subscription. Removing it twice does nothing.
    pub fn unsubscribe(&self, subscribed: &Subscribed) {
        let mut state = subscribed.lock();
        let Some(subscriber) = state.current.take() else { return };
        self.router.remove(&subscriber);
        if state.seen.take().is_some() {
            if let Some(initial) = &subscriber.initial {
                initial.fail(EndReason::SlowConsumer, "".into());
            }
            subscriber.mailbox.settled(0);
            // Whoever waits on its behalf finds that it is over.
            subscriber.mailbox.wake_waiting();
        }
    }

    /// Ends one subscription for a reason other than a full mailbox.
    pub fn end(&self, subscribed: &Subscribed, reason: EndReason) {
        let Position { seen, cursor, .. } = self.position();
        let mut state = subscribed.lock();
        let Some(subscriber) = state.current.take() else { return };
        self.router.remove(&subscriber);
        match (state.seen.take(), &subscriber.initial) {
            (Some(own), Some(initial)) => {
                initial.fail(reason, own.encode());
                subscriber.mailbox.settled(0);
                subscriber.mailbox.wake_waiting();
            }
            _ => {
                let cursor = stands_at(&subscriber, seen.as_ref(), &cursor);
                subscriber.mailbox.push_end(subscriber.subscription, reason, &cursor);
            }
        }
    }

    /// Whether the stream at a position contains what the subscription began with, or has missed: then both stand at the
    /// same place.
    pub fn has_passed(&self, subscribed: &Subscribed, position: &Position) -> bool {
        let state = subscribed.lock();
        let Some(subscriber) = &state.current else { return true };
        let Some(initial) = &subscriber.initial else { return true };
        position.seen.as_ref().is_some_and(|seen| initial.stands_at(seen).as_ref() == Some(seen))
    }

    /// Has a subscription wait for replay.
    pub(super) fn wait(&self, subscribed: Arc<Subscribed>) {
        self.behind.lock().push(subscribed);
        self.fell_behind.notify_one();
    }

    /// Waits until subscriptions wait for replay, and takes all of them.
    pub async fn behind(&self) -> Vec<Arc<Subscribed>> {
        loop {
            let waiting = std::mem::take(&mut *self.behind.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.fell_behind.notified().await;
        }
    }

    /// Has a subscription wait for replay as soon as its mailbox has room for it.
    pub async fn wait_for_room(&self, subscribed: Arc<Subscribed>) {
        if let Some(mailbox) = subscribed.mailbox() {
            mailbox.room(|| subscribed.mailbox().is_some()).await;
            self.wait(subscribed);
        }
    }

    /// The stream reaches a subscriber that is about to have come to it.
    pub(super) fn register(&self, subscriber: &Arc<Subscriber>) {
        self.router.insert(subscriber);
    }

    /// It does not any more: it will have to come to it again.
    pub(super) fn deregister(&self, subscriber: &Subscriber) {
        self.router.remove(subscriber);
        if let Some(initial) = &subscriber.initial {
            subscriber.mailbox.forget_stream(subscriber.subscription, initial);
        }
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
        let mut stream = Stream { stop: &stop, full: Vec::new() };
        {
            let mut topics = self.router.shapes_of(event).peekable();
            if topics.peek().is_none() {
                return;
            }
            let parsed = ParsedEvent::new(event);
            for shapes in topics {
                shapes.for_each_match(&parsed, |groups, found| {
                    results.deliver(groups, found, &parsed, &mut stream);
                });
            }
        }
        self.metrics.deliveries.inc_by(results.delivered);
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
                state.seen = Some(seen);
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

/// What a subscriber is made of.
struct Parts {
    interest: Interest,
    identity: Arc<Identity>,
    mailbox: Arc<Mailbox>,
    subscription: SubscriptionId,
    initial: Option<Arc<Initial>>,
}

impl Parts {
    fn of(subscriber: &Subscriber) -> Self {
        Self {
            interest: subscriber.interest.clone(),
            identity: subscriber.identity.clone(),
            mailbox: subscriber.mailbox.clone(),
            subscription: subscriber.subscription,
            initial: subscriber.initial.clone(),
        }
    }
}

/// One event of the stream, on its way to those who match it.
struct Stream<'a> {
    stop: &'a Stop<'a>,
    /// Those whose mailboxes had no room.
    full: Vec<Arc<Subscriber>>,
}

impl Receive for Stream<'_> {
    fn wants(&self, _: &Subscriber) -> bool {
        true
    }

    fn put(&mut self, subscriber: &Arc<Subscriber>, made: &Made) -> bool {
        made.push(subscriber, self.stop).unwrap_or_else(|_| {
            self.full.push(subscriber.clone());
            false
        })
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
