//! What lies in a mailbox.

use std::sync::Arc;

use super::delivery::{Delivery, SubscriptionId};
use super::initial::Initial;
use super::later::Later;

/// A delivery, or the place of one that is still being made.
#[derive(Debug)]
pub(super) enum Entry {
    Now(Delivery),
    Later(Later),
    /// What comes before the stream.
    Initial {
        subscription: SubscriptionId,
        initial: Arc<Initial>,
    },
}

impl Entry {
    pub(super) fn subscription(&self) -> SubscriptionId {
        match self {
            Self::Now(delivery) => delivery.subscription(),
            Self::Later(later) => later.subscription,
            Self::Initial { subscription, .. } => *subscription,
        }
    }
}
