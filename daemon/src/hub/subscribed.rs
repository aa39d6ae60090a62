//! A subscription as its owner holds it, whatever the router knows of it at the moment.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::mailbox::Mailbox;
use super::route::Subscriber;
use crate::source::cursor::Cursor;
use crate::source::history::Missing;

/// A subscription, for as long as its owner wants it.
#[derive(Debug)]
pub struct Subscribed(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    /// What the router knows, or will know again; nothing once the subscription is over.
    pub(super) current: Option<Arc<Subscriber>>,
    /// What it has seen, while it is behind the stream.
    pub(super) seen: Option<Box<Cursor>>,
}

impl State {
    /// Whether the subscription still goes by this subscriber.
    pub(super) fn goes_by(&self, subscriber: &Subscriber) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == subscriber.id)
    }
}

impl Subscribed {
    pub(super) fn new(seen: Option<Cursor>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { current: None, seen: seen.map(Box::new) })))
    }

    /// Taken before any lock of a router or a mailbox.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Its mailbox; nothing once it is over.
    pub(super) fn mailbox(&self) -> Option<Arc<Mailbox>> {
        self.lock().current.as_ref().map(|subscriber| subscriber.mailbox.clone())
    }

    /// Whether this can be said of what it lacks; also if nobody wants it any more.
    pub fn lacks(&self, such: impl FnOnce(&Missing) -> bool) -> bool {
        self.lock().seen.as_ref().is_none_or(|seen| such(&Missing::from_any([&**seen].into_iter())))
    }

    /// Whether its mailbox takes what it has missed; also if nobody wants it any more.
    pub fn has_room(&self) -> bool {
        self.mailbox().is_none_or(|mailbox| mailbox.has_room())
    }

    /// Whether it begins with the rows that are there.
    pub fn begins_with_rows(&self) -> bool {
        let state = self.lock();
        state.current.as_ref().is_some_and(|subscriber| subscriber.interest.beginning.is_some())
    }
}
