//! Those that are behind the stream, on their way to replay and back.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::dispatch::Hub;
use super::route::Subscriber;
use super::subscribed::Subscribed;

/// Those that wait for replay.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    subscriptions: Mutex<Vec<Arc<Subscribed>>>,
    come: Notify,
}

impl Hub {
    /// Has a subscription wait for replay.
    pub(super) fn wait(&self, subscribed: Arc<Subscribed>) {
        self.waiting.subscriptions.lock().push(subscribed);
        self.waiting.come.notify_one();
    }

    /// Waits until subscriptions wait for replay, and takes all of them.
    pub async fn behind(&self) -> Vec<Arc<Subscribed>> {
        loop {
            let waiting = std::mem::take(&mut *self.waiting.subscriptions.lock());
            if !waiting.is_empty() {
                return waiting;
            }
            self.waiting.come.notified().await;
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
}
