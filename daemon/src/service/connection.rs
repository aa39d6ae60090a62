//! A connection: an identity, a mailbox, and the subscriptions that fill it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::live::{Live, Parts};
use super::{Service, not_ready};
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::graphql::request::Request;
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
}

/// The answer to a request.
#[derive(Debug)]
pub enum Outcome {
    /// A query, executed: its complete result as JSON, or the errors of its execution within.
    Result(Bytes),
    /// A subscription that is live now.
    Subscribed(SubscriptionId),
    /// The request was refused before execution: syntax, validation, variables, limits.
    Refused(Vec<GraphQLError>),
}

impl Connection {
    pub(super) fn new(service: Service, identity: Arc<Identity>) -> Self {
        let mailbox = Arc::new(Mailbox::new(service.0.shared.options.mailbox));
        Self { service, identity, mailbox, next: 0, live: HashMap::new() }
    }

    /// Runs a request on this connection.
    pub fn execute(&mut self, request: &Request) -> Outcome {
        let shared = &self.service.0.shared;
        let schema = shared.schema.read();
        let Some(schema) = schema.as_ref() else { return not_ready() };
        match schema.prepare(request, &self.identity) {
            Prepared::Query(result) => Outcome::Result(result),
            Prepared::Refused(errors) => Outcome::Refused(errors),
            Prepared::Subscription(interest) => {
                let subscription = SubscriptionId(self.next);
                self.next += 1;
                let parts = Parts {
                    request: request.clone(),
                    identity: self.identity.clone(),
                    mailbox: self.mailbox.clone(),
                    subscription,
                };
                self.live.insert(subscription, shared.live.start(&self.service.0.hub, parts, interest));
                shared.options.metrics.subscriptions.inc();
                tracing::debug!(subscription = subscription.0, "subscription is live");
                Outcome::Subscribed(subscription)
            }
        }
    }

    /// Ends a subscription; nothing more is delivered for it. Unknown ids are ignored.
    pub fn complete(&mut self, subscription: SubscriptionId) {
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
            self.mailbox.drain(into).await;
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
    /// for it up to this cursor. `None` while its mailbox holds something.
    pub fn quiet_cursor(&self) -> Option<CursorText> {
        // Read before the mailbox: what comes in between is later than this position.
        let position = self.service.0.hub.position();
        self.mailbox.is_quiet_since(position.event).then_some(position.cursor)
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
