//! Subscriptions come, change and go.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::audience::Identity;
use super::dispatch::{Hub, Position};
use super::initial::{Duty, Initial};
use super::mailbox::{CursorText, EndReason, Mailbox, SubscriptionId};
use super::project::Interest;
use super::route::Subscriber;
use super::subscribed::Subscribed;
use crate::source::cursor::Cursor;

impl Hub {
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

    pub(super) fn subscriber(&self, parts: Parts, owner: Weak<Subscribed>) -> Arc<Subscriber> {
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
}

/// What a subscriber is made of.
pub(super) struct Parts {
    pub(super) interest: Interest,
    pub(super) identity: Arc<Identity>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) subscription: SubscriptionId,
    pub(super) initial: Option<Arc<Initial>>,
}

impl Parts {
    pub(super) fn of(subscriber: &Subscriber) -> Self {
        Self {
            interest: subscriber.interest.clone(),
            identity: subscriber.identity.clone(),
            mailbox: subscriber.mailbox.clone(),
            subscription: subscriber.subscription,
            initial: subscriber.initial.clone(),
        }
    }
}

/// Where a subscription stands when the stream has come to a cursor, which stands here with its text.
pub(super) fn stands_at(subscriber: &Subscriber, seen: Option<&Cursor>, text: &CursorText) -> CursorText {
    match (&subscriber.initial, seen) {
        (Some(initial), Some(seen)) => match initial.stands_at(seen) {
            Some(own) if own == *seen => text.clone(),
            Some(own) => own.encode(),
            None => "".into(),
        },
        _ => text.clone(),
    }
}
