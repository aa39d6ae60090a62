//! The mailbox: the bounded queue between the dispatcher and one connection.

use std::sync::Arc;

use bytes::Bytes;

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
    /// The hub ended a subscription; nothing follows for it.
    End {
        /// The subscription that ended.
        subscription: SubscriptionId,
        /// Why.
        reason: EndReason,
        /// The cursor of the last result that was delivered, or of the start.
        cursor: CursorText,
    },
}

/// Why the hub ended a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The mailbox was full: `SLOW_CONSUMER`.
    SlowConsumer,
    /// The source's history was replaced under us: `CURSOR_HISTORY_CHANGED`.
    HistoryChanged,
    /// A schema change made the document invalid: `SCHEMA_CHANGED`.
    SchemaChanged,
}
