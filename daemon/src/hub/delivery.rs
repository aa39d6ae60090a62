//! What a connection finds in its mailbox.

use std::sync::Arc;

use bytes::Bytes;

use crate::spares::{self, Spares};

/// Most deliveries of a batch whose room is kept.
const SPARE_ROOM_MAX: usize = 256;

thread_local! {
    static SPARES: Spares<Delivery, SPARE_ROOM_MAX> = const { Spares::new() };
}

/// Number of a subscription, unique within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

/// The text of a cursor as clients see it: base64url, shared by all who got the same event.
pub type CursorText = Arc<str>;

/// What a connection finds in its mailbox.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// One result of a subscription.
    Next {
        /// The subscription that it belongs to.
        subscription: SubscriptionId,
        /// The result, shared by everybody who gets it: a JSON object without its closing brace.
        result: Bytes,
        /// Where the subscription stands once this result has been seen.
        cursor: CursorText,
    },
    /// A complete result, with what its extensions have to say: of a row that was there, or that the
    /// subscription is live.
    Whole {
        /// The subscription that it belongs to.
        subscription: SubscriptionId,
        /// The result.
        result: Bytes,
        /// Where the subscription stands, if it can be resumed from here; otherwise empty.
        cursor: CursorText,
    },
    /// Every row that was there has been delivered; the changes follow.
    Begun {
        /// The subscription that it belongs to.
        subscription: SubscriptionId,
        /// How many rows there were.
        rows: usize,
        /// Where the subscription starts.
        cursor: CursorText,
    },
    /// The hub ended a subscription; nothing follows for it.
    End {
        /// The subscription that ended.
        subscription: SubscriptionId,
        /// Why.
        reason: EndReason,
        /// Where the subscription stood: everything before it has been delivered. Empty if it never came
        /// to its beginning.
        cursor: CursorText,
    },
}

impl Delivery {
    /// The subscription that it belongs to.
    pub fn subscription(&self) -> SubscriptionId {
        match self {
            Self::Next { subscription, .. }
            | Self::Whole { subscription, .. }
            | Self::Begun { subscription, .. }
            | Self::End { subscription, .. } => *subscription,
        }
    }
}

/// An empty vector for deliveries, which may have room.
pub(super) fn room() -> Vec<Delivery> {
    spares::take(&SPARES)
}

/// Takes back the room of deliveries that were written.
pub fn give_back(deliveries: Vec<Delivery>) {
    spares::keep(&SPARES, deliveries);
}

/// Why the hub ended a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The mailbox was full: `SLOW_CONSUMER`.
    SlowConsumer,
    /// More than may be delivered to its user in this time: `RATE_LIMITED`. The connection's doing, not the hub's.
    RateLimited,
    /// The history is not the one that the subscription's cursor belongs to: `CURSOR_HISTORY_CHANGED`.
    HistoryChanged(Bounds),
    /// Retention removed events before they were delivered: `CURSOR_EXPIRED`.
    Expired(Bounds),
    /// A schema change made the document invalid: `SCHEMA_CHANGED`.
    SchemaChanged,
    /// Whether the subscriber may see an event could not be decided: `POLICIES_UNDECIDED`.
    Undecided,
    /// The rows to begin with are more than the limit, which stands here: `INITIAL_TOO_LARGE`.
    InitialTooLarge(Box<str>),
    /// The rows to begin with could not be read, for the reason here: `INITIAL_FAILED`.
    InitialFailed(Box<str>),
}

/// Where a subscription can go on instead, if it accepts a gap; either is empty where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bounds {
    /// With everything that is still there.
    pub oldest: CursorText,
    /// With what happens from now on.
    pub newest: CursorText,
}
