//! The place of a delivery that is still being made.

use std::sync::Arc;

use super::delivery::{CursorText, Delivery, SubscriptionId};
use super::initial::{Initial, Place, Relation};
use super::promise::{Outcome, Slot};

/// The place of a result that is still being made, or that may yet turn out to be in the rows that its
/// subscription begins with.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) subscription: SubscriptionId,
    pub(super) slot: Arc<Slot>,
    /// Where the subscription stands after the event.
    pub(super) cursor: CursorText,
    /// Where it stood before it.
    pub(super) before: CursorText,
    /// Rows that were not there yet when the event came, and where it stands.
    pub(super) unless: Option<(Arc<Initial>, Arc<Place>)>,
}

impl Later {
    /// What comes of it: bytes that it took and a delivery, if there is one. Nothing if that is not known yet.
    pub(super) fn settled(&self) -> Option<(usize, Option<Delivery>)> {
        let outcome = self.slot.get()?;
        let bytes = if let Outcome::Shown(result) = &outcome { result.len() } else { 0 };
        let (cursor, before) = match self.unless.as_ref().map(|(initial, place)| initial.relation(place)) {
            None | Some(Relation::Later) => (self.cursor.clone(), self.before.clone()),
            Some(Relation::Ahead { cursor, before }) => (cursor, before),
            Some(Relation::Contained) => return Some((bytes, None)),
            // The rows stand before it in the queue.
            Some(Relation::Unknown) => return None,
        };
        let subscription = self.subscription;
        Some((
            bytes,
            match outcome {
                Outcome::Shown(result) => Some(Delivery::Next { subscription, result, cursor }),
                Outcome::Hidden => None,
                Outcome::Lost(reason) => Some(Delivery::End { subscription, reason, cursor: before }),
            },
        ))
    }
}
