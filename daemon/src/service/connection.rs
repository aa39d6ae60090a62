//! A connection: an identity, a mailbox, and the subscriptions that fill it.

use std::collections::HashMap;
use std::sync::Arc;

use super::live::{Live, Parts};
use super::permit::{Permit, outdated};
use super::throttle::Throttles;
use super::{Service, not_ready};
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{CursorText, Delivery, Mailbox, SubscriptionId};

/// One client stream: an identity and a mailbox. Dropping it ends all its subscriptions.
#[derive(Debug)]
pub struct Connection {
    service: Service,
    identity: Arc<Identity>,
    mailbox: Arc<Mailbox>,
    next: u64,
    live: HashMap<SubscriptionId, Arc<Live>>,
    throttles: Throttles,
}

impl Connection {
    pub(super) fn new(service: Service, identity: Arc<Identity>) -> Self {
        let mailbox = Arc::new(Mailbox::new(service.0.shared.options.mailbox));
        Self { service, identity, mailbox, next: 0, live: HashMap::new(), throttles: Throttles::default() }
    }

    /// Starts a subscription; it is live when this returns.
    ///
    /// # Errors
    ///
    /// If the request is refused, or is not a subscription: see [`Service::query`] for those. A permit for
    /// another identity, or from before a change of the schema that asks for another, is none.
    pub fn subscribe(&mut self, permit: Permit) -> Result<SubscriptionId, Vec<GraphQLError>> {
        let shared = &self.service.0.shared;
        let schema = shared.schema.read();
        let Some(schema) = schema.as_ref() else { return Err(vec![not_ready()]) };
        let (prepared, authorization) = schema.prepare_authorized(&permit.request, &self.identity);
        let interest = match prepared {
            Prepared::Subscription(_) if authorization != permit.authorization => {
                return Err(vec![outdated()]);
            }
            Prepared::Subscription(interest) => interest,
            Prepared::Refused(errors) => return Err(errors),
            Prepared::Query(_) => {
                let message = "the operation is a query; only a subscription can be subscribed to";
                return Err(vec![GraphQLError::new("BAD_USER_INPUT", message)]);
            }
        };
        let subscription = SubscriptionId(self.next);
        self.next += 1;
        let parts = Parts {
            request: permit.request,
            authorization,
            identity: self.identity.clone(),
            mailbox: self.mailbox.clone(),
            subscription,
        };
        if let Some(throttle) = &interest.throttle {
            self.throttles.add(subscription, throttle, self.service.0.hub.position().cursor);
        }
        self.live.insert(subscription, shared.live.start(&self.service.0.hub, parts, interest));
        shared.options.metrics.subscriptions.inc();
        tracing::debug!(subscription = subscription.0, "subscription is live");
        Ok(subscription)
    }

    /// Ends a subscription; nothing more is delivered for it. Unknown ids are ignored.
    pub fn complete(&mut self, subscription: SubscriptionId) {
        self.throttles.remove(subscription);
        if let Some(live) = self.live.remove(&subscription) {
            self.service.0.shared.live.end(&self.service.0.hub, &live);
            self.service.0.shared.options.metrics.subscriptions.dec();
        }
    }

    /// Waits until the mailbox holds something, then moves all of it to the end of `into`.
    /// Cancel-safe. Waits for ever on a connection without subscriptions.
    pub async fn drain(&mut self, into: &mut Vec<Delivery>) {
        let before = into.len();
        while into.len() == before {
            tokio::select! {
                () = self.mailbox.drain(into) => self.throttles.conflate(into, before),
                () = self.throttles.wait() => self.throttles.release(into),
            }
            self.forget_ended(into, before);
        }
    }

    /// Drops what belongs to completed subscriptions, and completes those that the hub ended.
    fn forget_ended(&mut self, deliveries: &mut Vec<Delivery>, from: usize) {
        let mut kept = from;
        for index in from..deliveries.len() {
            let (subscription, ended) = match &deliveries[index] {
                Delivery::Next { subscription, .. } => (*subscription, false),
                Delivery::End { subscription, .. } => (*subscription, true),
            };
            if self.live.contains_key(&subscription) {
                deliveries.swap(kept, index);
                kept += 1;
            }
            if ended {
                self.complete(subscription);
            }
        }
        deliveries.truncate(kept);
    }

    /// Where the connection stands if nothing is under way for it: it has seen all that there was
    /// for it up to this cursor. `None` while its mailbox holds something, or a throttle does.
    pub fn quiet_cursor(&self) -> Option<CursorText> {
        // Read before the mailbox: what comes in between is later than this position.
        let position = self.service.0.hub.position();
        let quiet = self.throttles.are_quiet() && self.mailbox.is_quiet_since(position.event);
        quiet.then_some(position.cursor)
    }

    /// Whom the connection belongs to.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// How many subscriptions are live.
    pub fn subscriptions(&self) -> usize {
        self.live.len()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let all: Vec<SubscriptionId> = self.live.keys().copied().collect();
        all.into_iter().for_each(|subscription| self.complete(subscription));
    }
}
