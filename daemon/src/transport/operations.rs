//! The operations of one socket: which ids are taken, and by what.
//!
//! A socket may have thousands of them that are mostly only there. Each keeps its id once, as JSON: that is how results
//! name it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;
use serde_json::json;

use super::frame::{self, ResultHead};
use super::machine::Action;
use crate::error::ClientError;
use crate::hub::by_subscription::BySubscription;
use crate::hub::mailbox::SubscriptionId;

/// The operations that run and those that are being authorized.
#[derive(Debug)]
pub struct Operations {
    max: usize,
    running: Running,
    /// Those that run, by the hash of their id as JSON.
    by_id: HashTable<SubscriptionId>,
    hasher: RandomState,
    /// Operations that are being authorized; their ids are taken.
    authorizing: HashSet<Box<str>>,
}

/// The operations that run. Cheap to clone, for who writes their results.
#[derive(Debug, Clone)]
pub struct Running(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The type of a message with a result.
    kind: &'static str,
    /// Their ids, as JSON.
    ids: Mutex<BySubscription<Box<str>>>,
}

impl Running {
    fn new(kind: &'static str) -> Self {
        Self(Arc::new(Shared { kind, ids: Mutex::default() }))
    }

    /// Appends a result as a message; nothing if the client has ended the subscription.
    pub fn result(&self, into: &mut Vec<u8>, subscription: SubscriptionId, result: &[u8], cursor: &str) {
        if let Some(id) = self.0.ids.lock().get(subscription) {
            frame::ws_result(into, &ResultHead { id, kind: self.0.kind }, result, cursor);
        }
    }

    /// Appends the result of an operation that is over with it.
    pub fn answer(&self, into: &mut Vec<u8>, id: &str, result: &[u8]) {
        frame::ws_whole(into, &ResultHead { id: &as_json(id), kind: self.0.kind }, result);
    }

    /// The same as [`Running::result`] for a complete result.
    pub fn whole(&self, into: &mut Vec<u8>, subscription: SubscriptionId, result: &[u8]) {
        if let Some(id) = self.0.ids.lock().get(subscription) {
            frame::ws_whole(into, &ResultHead { id, kind: self.0.kind }, result);
        }
    }
}

fn as_json(id: &str) -> String {
    json!(id).to_string()
}

impl Operations {
    /// None yet, and never more than `max`; messages with their results are of the type `kind`.
    pub fn new(max: usize, kind: &'static str) -> Self {
        Self {
            max,
            running: Running::new(kind),
            by_id: HashTable::new(),
            hasher: RandomState::default(),
            authorizing: HashSet::new(),
        }
    }

    /// Whether an id is taken.
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some() || self.authorizing.contains(id)
    }

    fn find(&self, id: &str) -> Option<SubscriptionId> {
        let id = as_json(id);
        let ids = self.running.0.ids.lock();
        let has_it =
            |subscription: &SubscriptionId| ids.get(*subscription).is_some_and(|known| **known == *id);
        self.by_id.find(self.hasher.hash_one(&*id), has_it).copied()
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// If there is not.
    pub fn admit(&self) -> Result<(), ClientError> {
        if self.by_id.len() + self.authorizing.len() < self.max {
            Ok(())
        } else {
            Err(ClientError::TooManySubscriptions(self.max))
        }
    }

    /// The client ends an operation: what is left to do, if it was there. Nothing more is sent for it.
    pub fn remove(&mut self, id: &str) -> Option<Action> {
        if let Some(subscription) = self.find(id) {
            self.end(subscription);
            return Some(Action::Complete(subscription));
        }
        self.authorizing.take(id).map(Action::Abandon)
    }

    /// The operation waits for somebody's consent: its id is taken meanwhile.
    pub fn authorizing(&mut self, id: Box<str>) {
        self.authorizing.insert(id);
    }

    /// The operation was authorized, or not: its id is free, or about to be a subscription's.
    pub fn decided(&mut self, id: &str) {
        self.authorizing.remove(id);
    }

    /// The operation has become a subscription.
    pub fn subscribed(&mut self, id: &str, subscription: SubscriptionId) {
        let id = as_json(id).into_boxed_str();
        let Self { running, by_id, hasher, .. } = self;
        let hash = hasher.hash_one(&*id);
        let mut ids = running.0.ids.lock();
        ids.insert(subscription, id);
        by_id.insert_unique(hash, subscription, |subscription| {
            ids.get(*subscription).map_or(0, |id| hasher.hash_one(&**id))
        });
    }

    /// Those that run.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The hub has ended a subscription: its id, unless the client has ended it.
    pub fn ended(&mut self, subscription: SubscriptionId) -> Option<String> {
        self.end(subscription).and_then(|id| serde_json::from_str(&id).ok())
    }

    /// Forgets an operation: its id as JSON, if it ran.
    fn end(&mut self, subscription: SubscriptionId) -> Option<Box<str>> {
        let id = self.running.0.ids.lock().remove(subscription)?;
        let hash = self.hasher.hash_one(&*id);
        if let Ok(entry) = self.by_id.find_entry(hash, |known| *known == subscription) {
            entry.remove();
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_until_their_operation_ends_whatever_their_letters() {
        let mut operations = Operations::new(1_000, "next");
        let ids: Vec<String> = (0..500).map(|number| format!("\"{number}\\\n\u{1f600}")).collect();
        for (id, number) in ids.iter().zip(0..) {
            assert!(!operations.has(id));
            operations.subscribed(id, SubscriptionId(number));
        }
        for (id, number) in ids.iter().zip(0..) {
            assert!(operations.has(id));
            if number % 2 == 0 {
                assert_eq!(operations.ended(SubscriptionId(number)).as_ref(), Some(id));
                assert_eq!(operations.ended(SubscriptionId(number)), None);
            } else {
                assert!(
                    matches!(operations.remove(id), Some(Action::Complete(SubscriptionId(n))) if n == number)
                );
            }
            assert!(!operations.has(id));
        }
        assert!(operations.by_id.is_empty() && operations.running.0.ids.lock().is_empty());
    }
}
