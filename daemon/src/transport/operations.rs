//! The operations of one socket: which ids are taken, and by what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::frame;
use super::machine::Action;
use crate::error::ClientError;
use crate::hub::mailbox::{BySubscription, SubscriptionId};

/// The operations that run and those that are being authorized.
#[derive(Debug)]
pub struct Operations {
    max: usize,
    by_id: HashMap<Box<str>, SubscriptionId>,
    running: Running,
    /// Operations that are being authorized; their ids are taken.
    authorizing: HashSet<Box<str>>,
}

/// The operations that run. Cheap to clone, for who writes their results.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<BySubscription<Operation>>>);

#[derive(Debug)]
struct Operation {
    id: Box<str>,
    /// The start of every message with a result.
    prefix: Box<str>,
}

impl Running {
    /// Appends a result as a message; nothing if the client has ended the subscription.
    pub fn result(&self, into: &mut Vec<u8>, subscription: SubscriptionId, result: &[u8], cursor: &str) {
        if let Some(operation) = self.0.lock().get(&subscription) {
            frame::ws_result(into, &operation.prefix, result, cursor);
        }
    }
}

impl Operations {
    /// None yet, and never more than `max`.
    pub fn new(max: usize) -> Self {
        Self { max, by_id: HashMap::new(), running: Running::default(), authorizing: HashSet::new() }
    }

    /// Whether an id is taken.
    pub fn has(&self, id: &str) -> bool {
        self.by_id.contains_key(id) || self.authorizing.contains(id)
    }

    /// Whether there is room for one more.
    ///
    /// # Errors
    /// If there is not.
    pub fn admit(&self) -> Result<(), ClientError> {
        if self.running.0.lock().len() + self.authorizing.len() < self.max {
            Ok(())
        } else {
            Err(ClientError::TooManySubscriptions(self.max))
        }
    }

    /// The client ends an operation: what is left to do, if it was there. Nothing more is sent for it.
    pub fn remove(&mut self, id: &str) -> Option<Action> {
        if let Some(subscription) = self.by_id.remove(id) {
            self.running.0.lock().remove(&subscription);
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

    /// The operation has become a subscription, whose results have this prefix.
    pub fn subscribed(&mut self, id: Box<str>, subscription: SubscriptionId, prefix: Box<str>) {
        self.by_id.insert(id.clone(), subscription);
        self.running.0.lock().insert(subscription, Operation { id, prefix });
    }

    /// Those that run.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// Appends a complete result as a message; nothing if the client has ended the subscription.
    pub fn whole(&self, into: &mut Vec<u8>, subscription: SubscriptionId, result: &[u8]) {
        if let Some(running) = self.running.0.lock().get(&subscription) {
            frame::ws_whole(into, &running.prefix, result);
        }
    }

    /// The hub has ended a subscription: its id, unless the client has ended it.
    pub fn ended(&mut self, subscription: SubscriptionId) -> Option<Box<str>> {
        let running = self.running.0.lock().remove(&subscription)?;
        self.by_id.remove(&running.id);
        Some(running.id)
    }
}
