//! How much a connection may be handed in a time: asked where it reads its mailbox.
//!
//! A subscription with more results than that ends, with the cursor behind the last one; a throttled one
//! conflates for longer instead.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::mailbox::{CursorText, Delivery, EndReason, SubscriptionId};

/// What may be delivered, to all connections together that share it. Rows that a subscription begins with
/// and what is said about it do not count.
pub trait Allowance: fmt::Debug + Send + Sync {
    /// Takes one result.
    ///
    /// # Errors
    /// If it is used up: how long until there is one again.
    fn take(&self) -> Result<(), Duration>;
}

/// The allowance of one connection, and where its subscriptions stand.
#[derive(Debug)]
pub(super) struct Rationed {
    allowance: Arc<dyn Allowance>,
    /// The cursor behind the last result of each subscription that is not throttled.
    positions: HashMap<SubscriptionId, CursorText>,
}

impl Rationed {
    pub(super) fn new(allowance: Arc<dyn Allowance>) -> Self {
        Self { allowance, positions: HashMap::new() }
    }

    /// What the connection shares with others.
    pub(super) fn allowance(&self) -> &dyn Allowance {
        &*self.allowance
    }

    /// A subscription begins at a cursor; it may be empty, if it cannot be resumed from there.
    pub(super) fn add(&mut self, subscription: SubscriptionId, start: CursorText) {
        self.positions.insert(subscription, start);
    }

    /// Forgets a subscription.
    pub(super) fn remove(&mut self, subscription: SubscriptionId) {
        self.positions.remove(&subscription);
    }

    /// Ends the subscriptions of the deliveries from `from` on that have more than they may. Nothing that
    /// follows the end of one is to be handed on.
    pub(super) fn ration(&mut self, deliveries: &mut [Delivery], from: usize) {
        for delivery in &mut deliveries[from..] {
            let subscription = delivery.subscription();
            let Some(position) = self.positions.get_mut(&subscription) else { continue };
            match delivery {
                Delivery::Next { cursor, .. } => {
                    if self.allowance.take().is_ok() {
                        *position = cursor.clone();
                    } else {
                        let (reason, cursor) = (EndReason::RateLimited, position.clone());
                        *delivery = Delivery::End { subscription, reason, cursor };
                        self.positions.remove(&subscription);
                    }
                }
                Delivery::Begun { cursor, .. } => *position = cursor.clone(),
                Delivery::Whole { .. } | Delivery::End { .. } => {}
            }
        }
    }
}
