//! One event on its way into the mailboxes: what is made of it, once for all who share it.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::sync::Arc;

use ahash::HashMap;
use bytes::Bytes;

use super::crowd::{Crowd, Likeness};
use super::initial::{Place, Relation};
use super::later::Later;
use super::mailbox::{CursorText, Full};
use super::outlet::Due;
use super::project::{Interest, ParsedEvent, Predicate, Projection};
use super::promise::{Deferral, Promise, Slot};
use super::route::{Found, Subscriber};
use crate::event::{Event, Operation};
use crate::source::Batch;
use crate::source::cursor::Cursor;

/// An event of a batch, and what mailboxes are told of its place: made once, when the first needs it.
pub(super) struct Stop<'a> {
    batch: &'a Batch,
    index: usize,
    /// Running number of the event.
    number: u64,
    cursor: OnceCell<CursorText>,
    before: OnceCell<CursorText>,
    place: OnceCell<Arc<Place>>,
}

impl<'a> Stop<'a> {
    pub(super) fn new(batch: &'a Batch, index: usize, number: u64) -> Self {
        let (cursor, before, place) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { batch, index, number, cursor, before, place }
    }

    /// Where the stream stands after the event.
    fn cursor(&self) -> &CursorText {
        self.cursor.get_or_init(|| self.batch.cursor_after(self.index).encode())
    }

    /// Where it stood before it.
    pub(super) fn before(&self) -> &CursorText {
        self.before.get_or_init(|| self.seen_before().encode())
    }

    pub(super) fn seen_before(&self) -> Cursor {
        match self.index.checked_sub(1) {
            None => self.batch.start.clone(),
            Some(index) => self.batch.cursor_after(index),
        }
    }

    fn place(&self) -> &Arc<Place> {
        self.place.get_or_init(|| Arc::new(Place::of(self.batch, self.index)))
    }
}

/// A result, or the place where it will be.
#[derive(Clone)]
pub(super) enum Made {
    Now(Bytes),
    Later(Arc<Slot>),
}

/// Where results go.
pub(super) trait Receive {
    /// Whether a subscriber, who matches and may see the event, is to get its result.
    fn wants(&self, subscriber: &Subscriber) -> bool;

    /// Hands it the result; false if it turns out not to be for it.
    fn put(&mut self, subscriber: &Arc<Subscriber>, made: &Made) -> bool;
}

impl Made {
    /// Puts it into the mailbox of a subscriber of the stream, which may be due then; false if it is not for it.
    pub(super) fn push(&self, subscriber: &Subscriber, stop: &Stop<'_>, due: &mut Due) -> Result<bool, Full> {
        let (cursor, before, unless) = match &subscriber.initial {
            None => return self.push_at(subscriber, stop, stop.cursor(), None, due),
            Some(initial) => match initial.relation_now(stop.place()) {
                Relation::Later => return self.push_at(subscriber, stop, stop.cursor(), None, due),
                Relation::Contained => return Ok(false),
                Relation::Ahead { cursor, before } => {
                    return self.push_at(subscriber, stop, &cursor, Some(&before), due);
                }
                Relation::Unknown => {
                    let unless = Some((initial.clone(), stop.place().clone()));
                    (stop.cursor().clone(), stop.before().clone(), unless)
                }
            },
        };
        let slot = match self {
            Self::Now(result) => Slot::of(result.clone()),
            Self::Later(slot) => slot.clone(),
        };
        let later = Later { subscription: subscriber.subscription, slot, cursor, before, unless };
        subscriber.mailbox.push_later(later, stop.number).map(|()| true)
    }

    fn push_at(
        &self,
        subscriber: &Subscriber,
        stop: &Stop<'_>,
        cursor: &CursorText,
        before: Option<&CursorText>,
        due: &mut Due,
    ) -> Result<bool, Full> {
        let (mailbox, subscription) = (&subscriber.mailbox, subscriber.subscription);
        match self {
            Self::Now(result) => {
                if mailbox.push_next(subscription, result, cursor, stop.number)? {
                    due.0.push(mailbox.clone());
                }
            }
            Self::Later(slot) => {
                let (slot, cursor) = (slot.clone(), cursor.clone());
                let before = before.unwrap_or_else(|| stop.before()).clone();
                let later = Later { subscription, slot, cursor, before, unless: None };
                mailbox.push_later(later, stop.number)?;
            }
        }
        Ok(true)
    }
}

/// What was made of one event so far, for all who share it.
#[derive(Default)]
pub(super) struct Results {
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
    pub(super) delivered: u64,
}

impl Results {
    /// Forgets the event.
    pub(super) fn clear(&mut self) {
        self.encoded.clear();
        self.slots.clear();
        self.shared = None;
        self.passed.clear();
        self.met.clear();
    }

    pub(super) fn deliver(
        &mut self,
        crowd: &Crowd,
        found: Found,
        parsed: &ParsedEvent<'_>,
        receiver: &mut impl Receive,
    ) {
        crowd.for_each_alike(|interest, members| {
            let likeness = Likeness::of(interest);
            if !self.passes(likeness, interest, parsed) {
                return;
            }
            let mut made = None;
            for subscriber in members {
                if found == Found::ByScan && !self.met.insert(subscriber.id) {
                    continue;
                }
                if receiver.wants(subscriber) {
                    let made = made.get_or_insert_with(|| self.result(likeness, interest, parsed));
                    self.delivered += u64::from(receiver.put(subscriber, made));
                }
            }
        });
    }

    /// The result for those who are alike, made or begun by whoever needs it first.
    fn result(&mut self, likeness: Likeness, interest: &Interest, parsed: &ParsedEvent<'_>) -> Made {
        let Some(deferral) = &interest.deferral else {
            let projection = &interest.projection;
            let made = || (projection.project(parsed), projection.clone());
            return Made::Now(self.encoded.entry(likeness.projection).or_insert_with(made).0.clone());
        };
        let event = self.shared.get_or_insert_with(|| Arc::new(parsed.event.clone()));
        let begun = || {
            let slot = Slot::new();
            deferral.begin(event, Promise::new(slot.clone(), deferral.clone(), event.clone()));
            (slot, deferral.clone())
        };
        Made::Later(self.slots.entry(likeness.deferral).or_insert_with(begun).0.clone())
    }

    fn passes(&mut self, likeness: Likeness, interest: &Interest, parsed: &ParsedEvent<'_>) -> bool {
        let Some(residual) = &interest.residual else { return true };
        let passes = || (residual.passes(parsed), residual.clone());
        parsed.event.operation == Some(Operation::Truncate)
            || self.passed.entry(likeness.residual).or_insert_with(passes).0
    }
}
