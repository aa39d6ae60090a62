//! A connection: an identity, a mailbox, and the subscriptions that fill it.

use std::collections::HashSet;
use std::sync::Arc;

use super::allowance::{Allowance, Rationed};
use super::live::{Live, Parts};
use super::permit::{Permit, outdated};
use super::place::Places;
use super::throttle::Throttles;
use super::{Service, acknowledgement, not_ready};
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::hub::audience::Identity;
use crate::hub::by_subscription::BySubscription;
use crate::hub::mailbox::{CursorText, Delivery, Mailbox, SubscriptionId};
use crate::hub::outlet::{Outlet, Returned};
use crate::hub::project::Interest;
use crate::source::cursor::Cursor;

/// One client stream: an identity and a mailbox. Dropping it ends all its subscriptions.
#[derive(Debug)]
pub struct Connection {
    pub(super) service: Service,
    identity: Arc<Identity>,
    pub(super) mailbox: Arc<Mailbox>,
    next: u64,
    pub(super) live: BySubscription<Arc<Live>>,
    /// Those that the client has not been handed yet; at most one for each live subscription.
    acknowledgements: Vec<Delivery>,
    /// Those whose acknowledgement follows the rows that they begin with.
    beginning: HashSet<SubscriptionId>,
    pub(super) throttles: Throttles,
    /// Where its subscriptions stand, if anybody wants to know.
    pub(super) places: Option<Places>,
    /// Nothing where deliveries are without bound.
    rationed: Option<Rationed>,
}

impl Connection {
    pub(super) fn new(
        service: Service,
        identity: Arc<Identity>,
        allowance: Option<Arc<dyn Allowance>>,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::new(service.0.shared.options.mailbox));
        Self {
            service,
            identity,
            mailbox,
            next: 0,
            live: BySubscription::default(),
            acknowledgements: Vec::new(),
            beginning: HashSet::new(),
            throttles: Throttles::default(),
            places: None,
            rationed: allowance.map(Rationed::new),
        }
    }

    /// Starts a subscription; it is live when this returns.
    ///
    /// # Errors
    ///
    /// If the request is refused, or is not a subscription: see [`Service::query`] for those. A permit for
    /// another identity, or from before a change of the schema that asks for another, is none.
    pub fn subscribe(&mut self, permit: Permit) -> Result<SubscriptionId, Vec<GraphQLError>> {
        self.start(permit).inspect_err(|errors| self.service.count_refusal(errors))
    }

    fn start(&mut self, permit: Permit) -> Result<SubscriptionId, Vec<GraphQLError>> {
        let shared = &self.service.0.shared;
        let schema = shared.schema.read();
        let Some(schema) = schema.as_ref() else { return Err(vec![not_ready()]) };
        let (prepared, authorization) = schema.prepare_authorized(&permit.request, &self.identity);
        let mut interest = match prepared {
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
        if permit.after.is_some() {
            // Whoever goes on after a cursor has had the rows.
            interest.beginning = None;
        }
        self.check(&permit, &interest).map_err(|error| vec![error])?;
        let acknowledges = acknowledgement::is_asked_for(&permit.request).map_err(|error| vec![error])?;
        let subscription = SubscriptionId(self.next);
        self.next += 1;
        let Permit { request, after, .. } = permit;
        let request = schema.keep(request, &self.identity);
        // Taken before the subscription starts, so that nothing after it can be missing.
        let cursor = after.as_deref().map_or_else(|| self.service.cursor(), Cursor::encode);
        if let Some(throttle) = &interest.throttle {
            self.throttles.add(subscription, throttle, cursor.clone());
        } else if let Some(rationed) = &mut self.rationed {
            // Before its rows are there it cannot be resumed.
            let start = if interest.beginning.is_some() { CursorText::default() } else { cursor.clone() };
            rationed.add(subscription, start);
        }
        if let Some(places) = &mut self.places {
            let begins = interest.beginning.is_some();
            places.start(subscription, if begins { "".into() } else { cursor.clone() });
        }
        if acknowledges && interest.beginning.is_some() {
            self.beginning.insert(subscription);
        } else if acknowledges {
            self.acknowledgements.push(acknowledgement::of(subscription, None, cursor));
        }
        let (identity, mailbox) = (self.identity.clone(), self.mailbox.clone());
        let parts = Parts {
            request,
            authorization,
            identity,
            mailbox,
            subscription,
            after: after.map(|after| *after),
        };
        self.live.insert(subscription, shared.live.start(&self.service.0.hub, parts, interest));
        shared.options.metrics.subscriptions.inc();
        tracing::debug!(subscription = subscription.0, "subscription is live");
        Ok(subscription)
    }

    /// Whether the connection can carry the subscription.
    fn check(&self, permit: &Permit, interest: &Interest) -> Result<(), GraphQLError> {
        if permit.after.is_some() && !self.service.0.hub.replays() {
            let message =
                "This source keeps no events, so nobody can go on after a cursor; subscribe without one";
            return Err(GraphQLError::new("CURSOR_UNSUPPORTED", message));
        }
        // What comes before the stream keeps its place, also when its subscription has ended meanwhile.
        if (interest.beginning.is_some() || permit.after.is_some()) && self.mailbox.is_full() {
            let message = "Too much waits for this connection; read it, then subscribe again";
            return Err(GraphQLError::new("SLOW_CONSUMER", message));
        }
        Ok(())
    }

    /// Ends a subscription; nothing more is delivered for it. Unknown ids are ignored.
    pub fn complete(&mut self, subscription: SubscriptionId) {
        self.throttles.remove(subscription);
        if let Some(places) = &mut self.places {
            places.remove(subscription);
        }
        if let Some(rationed) = &mut self.rationed {
            rationed.remove(subscription);
        }
        if let Some(live) = self.live.remove(subscription) {
            self.service.0.shared.live.end(&self.service.0.hub, &live);
            self.beginning.remove(&subscription);
            self.acknowledgements.retain(|delivery| delivery.subscription() != subscription);
            self.service.0.shared.options.metrics.subscriptions.dec();
        }
    }

    /// A way into the client's socket, which is lent from now on while [`Connection::drain`] waits.
    pub fn set_outlet(&self, outlet: Arc<dyn Outlet>) {
        self.mailbox.set_outlet(outlet);
    }

    /// Takes the outlet back. To be called whenever [`Connection::drain`] was polled, before anything is written.
    pub fn take_back(&self) -> Returned {
        self.mailbox.take_back()
    }

    /// Lends nothing any more. To be called after [`Connection::take_back`].
    pub fn drop_outlet(&self) {
        self.mailbox.drop_outlet();
    }

    /// Waits until the mailbox holds something, then moves all of it to the end of `into`, after the
    /// acknowledgements. Moves nothing if the outlet came back with something to be written. Cancel-safe. Waits for ever on a connection without subscriptions.
    pub async fn drain(&mut self, into: &mut Vec<Delivery>) {
        if !self.acknowledgements.is_empty() {
            into.append(&mut self.acknowledgements);
            return;
        }
        let before = into.len();
        // Whatever is more than to write results is the reader's.
        let lends = self.throttles.is_empty() && self.rationed.is_none() && self.places.is_none();
        while into.len() == before {
            tokio::select! {
                () = self.mailbox.drain(into, lends) => {
                    if into.len() == before {
                        return;
                    }
                }
                () = self.throttles.wait(), if !self.throttles.is_empty() => {}
            }
            let position = self.look_again(into);
            if !self.throttles.is_empty() {
                let ration = self.rationed.as_ref().map(Rationed::allowance);
                self.throttles.conflate(into, before, ration);
                self.throttles.release(ration, into);
            }
            if let Some(rationed) = &mut self.rationed {
                rationed.ration(into, before);
            }
            self.acknowledge(into, before);
            self.forget_ended(into, before);
            self.note_taken(into.len() - before, position);
        }
    }

    /// Puts acknowledgements behind the rows of those that asked.
    fn acknowledge(&mut self, deliveries: &mut [Delivery], from: usize) {
        if self.beginning.is_empty() {
            return;
        }
        for delivery in &mut deliveries[from..] {
            if let Delivery::Begun { subscription, rows, cursor } = delivery
                && self.beginning.remove(subscription)
            {
                *delivery = acknowledgement::of(*subscription, Some(*rows), cursor.clone());
            }
        }
    }

    /// Drops what belongs to completed subscriptions, and completes those that the hub ended.
    fn forget_ended(&mut self, deliveries: &mut Vec<Delivery>, from: usize) {
        let mut kept = from;
        for index in from..deliveries.len() {
            let subscription = deliveries[index].subscription();
            let ended = matches!(deliveries[index], Delivery::End { .. });
            if self.live.contains(subscription) {
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
    /// for it up to this cursor. `None` while its mailbox holds something, a throttle does, an
    /// acknowledgement waits, or a subscription has begun with more than the stream has come to.
    pub fn quiet_cursor(&self) -> Option<CursorText> {
        // Read before the mailbox: what comes in between is later than this position.
        let position = self.service.0.hub.position();
        let quiet = self.acknowledgements.is_empty()
            && self.throttles.are_quiet()
            && self.mailbox.is_quiet_since(position.event)
            && self.live.values().all(|live| live.has_passed(&self.service.0.hub, &position));
        quiet.then_some(position.cursor)
    }

    /// Whether a subscription begins with the rows that are there: it cannot be resumed before they are
    /// delivered.
    pub fn begins_with_rows(&self, subscription: SubscriptionId) -> bool {
        self.live.get(subscription).is_some_and(|live| live.begins_with_rows())
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
        // The mailbox may be kept by those who still work for it; the socket may be somebody else's next.
        self.mailbox.drop_outlet();
        let all: Vec<SubscriptionId> = self.live.keys().collect();
        all.into_iter().for_each(|subscription| self.complete(subscription));
    }
}
