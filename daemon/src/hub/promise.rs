//! Results that take time: a function of the database has to answer before one can be written, or before
//! it is known whether the subscriber may see it.
//!
//! The hub puts a [`Slot`] where the result will stand, so that the order of each subscription is kept,
//! and hands a [`Promise`] to whoever does the work. Waiting for a slot holds back later results of the
//! same subscription only.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::mailbox::{EndReason, Mailbox};
use crate::event::Event;

/// Makes results that take time.
pub trait Deferral: fmt::Debug + Send + Sync {
    /// Begins to make the result of an event, which the promise takes when it is there. Called while
    /// the router is locked: it starts the work elsewhere and returns. What bounds the work is the
    /// implementation's; every promise is kept in bounded time.
    fn begin(&self, event: &Arc<Event>, promise: Promise);

    /// What comes of a promise that was dropped unkept.
    fn broken(&self, event: &Event) -> Outcome;
}

/// What comes of a promise.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A result, as of [`super::project::Projection::project`].
    Shown(Bytes),
    /// The event is not for this subscriber.
    Hidden,
    /// Nobody can say: the subscription ends here, because to go on would hide that there is a gap.
    Lost(EndReason),
}

impl Outcome {
    fn bytes(&self) -> usize {
        match self {
            Self::Shown(result) => result.len(),
            Self::Hidden | Self::Lost(_) => 0,
        }
    }
}

/// The place of a result that is being made, shared by all whose mailboxes wait for it.
#[derive(Debug)]
pub struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    Waiting(Vec<Arc<Mailbox>>),
    Settled(Outcome),
}

impl Slot {
    /// A slot whose result is not there yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Waiting(Vec::new()))))
    }

    /// A slot with its result.
    pub(super) fn of(result: Bytes) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State::Settled(Outcome::Shown(result)))))
    }

    /// The result, if it is settled.
    pub(super) fn get(&self) -> Option<Outcome> {
        match &*self.0.lock() {
            State::Waiting(_) => None,
            State::Settled(outcome) => Some(outcome.clone()),
        }
    }

    /// The size of the result, if it is settled.
    pub(super) fn bytes(&self) -> Option<usize> {
        match &*self.0.lock() {
            State::Waiting(_) => None,
            State::Settled(outcome) => Some(outcome.bytes()),
        }
    }

    /// Has a mailbox told when the result is settled; its size, if it is already.
    pub(super) fn watch(&self, mailbox: &Arc<Mailbox>) -> Option<usize> {
        match &mut *self.0.lock() {
            State::Waiting(waiting) => {
                waiting.push(mailbox.clone());
                None
            }
            State::Settled(outcome) => Some(outcome.bytes()),
        }
    }

    /// No lock is held while mailboxes are told: they ask the slot under theirs.
    fn settle(&self, outcome: Outcome) {
        let bytes = outcome.bytes();
        let before = std::mem::replace(&mut *self.0.lock(), State::Settled(outcome));
        if let State::Waiting(waiting) = before {
            waiting.iter().for_each(|mailbox| mailbox.settled(bytes));
        }
    }
}

/// The duty to fill a slot. Dropped without, it is filled with [`Deferral::broken`]: no defect and no
/// shutdown of the work leaves a subscription waiting, and none lets an event vanish.
pub struct Promise {
    slot: Arc<Slot>,
    /// Nothing once it was kept.
    open: Option<(Arc<dyn Deferral>, Arc<Event>)>,
}

impl Promise {
    pub(super) fn new(slot: Arc<Slot>, deferral: Arc<dyn Deferral>, event: Arc<Event>) -> Self {
        Self { slot, open: Some((deferral, event)) }
    }

    /// Fills the slot.
    pub fn keep(mut self, outcome: Outcome) {
        self.open = None;
        self.slot.settle(outcome);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some((deferral, event)) = self.open.take() {
            self.slot.settle(deferral.broken(&event));
        }
    }
}

impl fmt::Debug for Promise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Promise").field("kept", &self.open.is_none()).finish()
    }
}
