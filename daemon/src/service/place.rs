//! Where a connection stands whose subscriptions stand at different places.

use super::Connection;
use crate::hub::mailbox::{CursorText, Delivery, SubscriptionId};

/// Where a connection stands after a delivery: every subscription at the cursor, but for those that are
/// behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Where all others stand; empty while that is not known.
    pub cursor: CursorText,
    /// Subscriptions that stand elsewhere, and where.
    pub behind: Vec<(SubscriptionId, CursorText)>,
}

impl Connection {
    /// Where the connection stands once this delivery has been written. Ask for each delivery, in the order in
    /// which they came.
    pub fn place_after(&mut self, delivery: &Delivery) -> Place {
        let cursor = match delivery {
            Delivery::Next { cursor, .. }
            | Delivery::Whole { cursor, .. }
            | Delivery::Begun { cursor, .. }
            | Delivery::End { cursor, .. } => cursor.clone(),
        };
        Place { cursor, behind: Vec::new() }
    }
}
