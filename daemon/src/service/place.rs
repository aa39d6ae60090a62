//! Where a connection stands whose subscriptions stand at different places.
//!
//! After everything that was taken out of the mailbox at one time has been written, each subscription stands where the
//! stream stood just before, but for those of which something is still under way. Until then those count by themselves
//! that have been written to.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use super::Connection;
use super::live::Live;
use crate::hub::dispatch::Position;
use crate::hub::mailbox::{CursorText, Delivery, SubscriptionId};
use crate::source::cursor::Cursor;

/// Where a connection stands after a delivery: every subscription at the cursor, but for those that are
/// behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where all others stand; empty while that is not known.
    pub cursor: CursorText,
    /// Subscriptions that stand elsewhere, and where; empty for one that has not come to its beginning.
    pub behind: Vec<(SubscriptionId, CursorText)>,
}

/// What is known of the places of a connection's subscriptions.
#[derive(Debug)]
pub(super) struct Places {
    /// Where those stand that do not count by themselves.
    cursor: CursorText,
    own: HashMap<SubscriptionId, CursorText>,
    /// Deliveries that were taken and are not written yet.
    unwritten: usize,
    /// Where the stream stood when they were taken, and of which subscriptions something is under way since.
    next: Option<(Position, Vec<SubscriptionId>)>,
}

impl Places {
    pub(super) fn new(cursor: CursorText) -> Self {
        Self { cursor, own: HashMap::new(), unwritten: 0, next: None }
    }

    /// A subscription starts here.
    pub(super) fn start(&mut self, subscription: SubscriptionId, cursor: CursorText) {
        self.own.insert(subscription, cursor);
    }

    pub(super) fn remove(&mut self, subscription: SubscriptionId) {
        self.own.remove(&subscription);
    }

    fn take(&mut self, deliveries: usize, position: Position, under_way: Vec<SubscriptionId>) {
        self.unwritten = deliveries;
        self.next = Some((position, under_way));
    }

    fn wrote(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Next { subscription, cursor, .. }
            | Delivery::Whole { subscription, cursor, .. }
            | Delivery::Begun { subscription, cursor, .. } => {
                // A row in the middle, and an acknowledgement, are no place of their own.
                if !cursor.is_empty() {
                    self.own.insert(*subscription, cursor.clone());
                }
            }
            Delivery::End { subscription, .. } => self.remove(*subscription),
        }
        self.unwritten = self.unwritten.saturating_sub(1);
        if self.unwritten == 0
            && let Some((position, under_way)) = self.next.take()
        {
            self.move_to(&position, &under_way);
        }
    }

    fn move_to(&mut self, position: &Position, under_way: &[SubscriptionId]) {
        for subscription in under_way {
            self.own.entry(*subscription).or_insert_with(|| self.cursor.clone());
        }
        self.own.retain(|subscription, cursor| {
            let contained = Cursor::decode(cursor).is_ok_and(|own| position.includes(&own));
            under_way.contains(subscription) || !contained
        });
        self.cursor = position.cursor.clone();
    }

    fn place(&self) -> Place {
        let behind = self.own.iter().filter(|(_, cursor)| **cursor != self.cursor);
        let behind = behind.map(|(subscription, cursor)| (*subscription, cursor.clone()));
        Place { cursor: self.cursor.clone(), behind: behind.collect() }
    }
}

impl Connection {
    /// Has the connection know its place from now on: call it before the first subscription.
    pub fn know_place(&mut self) {
        self.places = Some(Places::new(self.service.cursor()));
    }

    /// Where the connection stands once this delivery has been written. Ask for each delivery, in the order in
    /// which they came.
    pub fn place_after(&mut self, delivery: &Delivery) -> Place {
        let Some(places) = &mut self.places else { return Place { cursor: "".into(), behind: Vec::new() } };
        places.wrote(delivery);
        places.place()
    }

    /// Takes what has come in the meantime, so that the stream's position counts that is read just before.
    pub(super) fn look_again(&mut self, into: &mut Vec<Delivery>) -> Option<Position> {
        self.places.as_ref()?;
        let position = self.service.0.hub.position();
        self.mailbox.take(into);
        Some(position)
    }

    /// Notes what was taken, and what is still under way.
    pub(super) fn note_taken(&mut self, deliveries: usize, position: Option<Position>) {
        let (Some(places), Some(position)) = (&mut self.places, position) else { return };
        let is_under_way = |subscription: SubscriptionId, live: &Live| {
            self.mailbox.holds(subscription)
                || self.throttles.hold(subscription)
                || !live.has_passed(&self.service.0.hub, &position)
        };
        let under_way = self.live.iter().filter(|(subscription, live)| is_under_way(*subscription, live));
        let under_way = under_way.map(|(subscription, _)| subscription).collect();
        places.take(deliveries, position, under_way);
    }
}
