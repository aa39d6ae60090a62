//! The operations of one stream, by their numbers.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::AbortHandle;

use super::place::Place;
use crate::hub::mailbox::{CursorText, SubscriptionId};
use crate::service;
use crate::store::reservation::Document;
use crate::transport::frame;

/// The operations that a stream knows.
#[derive(Debug, Default)]
pub(super) struct Operations {
    by_number: BTreeMap<i64, Operation>,
    by_subscription: HashMap<SubscriptionId, i64>,
}

/// One of them.
#[derive(Debug)]
struct Operation {
    /// The start of its events.
    frame: Box<str>,
    state: State,
}

/// What becomes of it.
#[derive(Debug)]
enum State {
    /// It is being authorized, or executed. It stands where it will begin; empty if that is not known.
    Starting { at: CursorText, abandon: AbortHandle },
    /// It is a subscription.
    Running(SubscriptionId),
    /// Its end is known and about to be told.
    Ending,
}

/// An operation that is no more.
#[derive(Debug)]
pub(super) struct Gone {
    /// The start of its events.
    pub(super) frame: Box<str>,
    /// The subscription that has to end.
    pub(super) subscription: Option<SubscriptionId>,
}

impl Operations {
    /// An operation is being started, and will go on after this cursor.
    pub(super) fn starting(&mut self, document: &Document, at: CursorText, abandon: AbortHandle) {
        let frame = frame::sse_operation(&document.operation.id);
        let operation = Operation { frame, state: State::Starting { at, abandon } };
        self.by_number.insert(document.number, operation);
    }

    /// It has become a subscription.
    pub(super) fn running(&mut self, number: i64, subscription: SubscriptionId) {
        if let Some(operation) = self.by_number.get_mut(&number) {
            operation.state = State::Running(subscription);
            self.by_subscription.insert(subscription, number);
        }
    }

    /// Its end is about to be told, unless the client has ended it meanwhile: the start of its events.
    pub(super) fn ending(&mut self, number: i64) -> Option<Box<str>> {
        let operation = self.by_number.get_mut(&number)?;
        if let State::Running(subscription) = std::mem::replace(&mut operation.state, State::Ending) {
            self.by_subscription.remove(&subscription);
        }
        Some(operation.frame.clone())
    }

    /// The operation that a subscription is, and the start of its events.
    pub(super) fn of(&self, subscription: SubscriptionId) -> Option<(i64, &str)> {
        let number = *self.by_subscription.get(&subscription)?;
        Some((number, &self.by_number.get(&number)?.frame))
    }

    /// Whether an operation is still there.
    pub(super) fn has(&self, number: i64) -> bool {
        self.by_number.contains_key(&number)
    }

    /// Takes out those that are not among these, except what ends anyway.
    pub(super) fn retain(&mut self, documents: &[Document]) -> Vec<Gone> {
        let gone = self.by_number.iter().filter(|(number, operation)| {
            let stored = documents.iter().any(|document| document.number == **number);
            !stored && !matches!(operation.state, State::Ending)
        });
        let gone: Vec<i64> = gone.map(|(number, _)| *number).collect();
        gone.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Takes out an operation.
    pub(super) fn remove(&mut self, number: i64) -> Option<Gone> {
        let operation = self.by_number.remove(&number)?;
        let subscription = match operation.state {
            State::Starting { abandon, .. } => {
                abandon.abort();
                None
            }
            State::Running(subscription) => {
                self.by_subscription.remove(&subscription);
                Some(subscription)
            }
            State::Ending => None,
        };
        Some(Gone { frame: operation.frame, subscription })
    }

    /// All numbers, in order.
    pub(super) fn numbers(&self) -> Vec<i64> {
        self.by_number.keys().copied().collect()
    }

    /// Where a stream stands whose subscriptions stand there: operations that have not begun are behind.
    pub(super) fn place(&self, revision: i64, place: &service::Place) -> Place {
        let starting = self.by_number.iter().filter_map(|(number, operation)| match &operation.state {
            State::Starting { at, .. } => Some((*number, at.clone())),
            State::Running(_) | State::Ending => None,
        });
        let behind = place.behind.iter().filter_map(|(subscription, cursor)| {
            Some((*self.by_subscription.get(subscription)?, cursor.clone()))
        });
        Place { revision, cursor: place.cursor.clone(), behind: starting.chain(behind).collect() }
    }
}
