//! Live subscriptions with their requests, so that a new schema can prepare them again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::graphql::prepare::Prepared;
use crate::graphql::request::Kept;
use crate::graphql::schema::Schema;
use crate::hub::audience::Identity;
use crate::hub::dispatch::{Hub, Position};
use crate::hub::mailbox::{EndReason, Mailbox, SubscriptionId};
use crate::hub::project::Interest;
use crate::hub::subscribed::Subscribed;
use crate::source::cursor::Cursor;
use crate::source::functions::Call;

/// Every live subscription of the service.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By their addresses.
    live: Mutex<HashMap<usize, Arc<Live>>>,
}

/// One live subscription.
#[derive(Debug)]
pub(super) struct Live {
    request: Kept,
    /// The call that was answered with yes when it began.
    authorization: Option<Box<Call>>,
    identity: Arc<Identity>,
    /// Nothing once the subscription has ended.
    subscribed: Mutex<Option<Arc<Subscribed>>>,
}

/// What a subscription is made of.
pub(super) struct Parts {
    pub(super) request: Kept,
    pub(super) authorization: Option<Call>,
    pub(super) identity: Arc<Identity>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) subscription: SubscriptionId,
    /// What has been seen already; nothing if it begins now.
    pub(super) after: Option<Cursor>,
}

impl Registry {
    /// Registers a subscription and makes it live.
    pub(super) fn start(&self, hub: &Hub, parts: Parts, interest: Interest) -> Arc<Live> {
        let Parts { request, authorization, identity, mailbox, subscription, after } = parts;
        let live = Arc::new(Live {
            request,
            authorization: authorization.map(Box::new),
            identity: identity.clone(),
            subscribed: Mutex::new(None),
        });
        // Held, so that a reload does not miss it.
        let mut slot = live.subscribed.lock();
        *slot = Some(match after {
            None => hub.subscribe(interest, identity, mailbox, subscription),
            Some(after) => hub.resume(interest, identity, mailbox, subscription, after),
        });
        drop(slot);
        self.live.lock().insert(address(&live), live.clone());
        live
    }

    /// Ends a subscription on the client's behalf. Ending it twice does nothing.
    pub(super) fn end(&self, hub: &Hub, live: &Live) {
        if let Some(subscribed) = live.subscribed.lock().take() {
            hub.unsubscribe(&subscribed);
        }
        self.live.lock().remove(&address(live));
    }

    /// Prepares every live subscription for a new schema; those that are not valid any more end, and so do
    /// those that would have to be authorized in another way. The same question is not asked again.
    ///
    /// Runs in the task that dispatches, so that no event passes between the old plan and the new.
    pub(super) fn reload(&self, hub: &Hub, schema: &Schema) {
        let all: Vec<Arc<Live>> = self.live.lock().values().cloned().collect();
        for live in all {
            let mut slot = live.subscribed.lock();
            let Some(subscribed) = slot.take() else { continue };
            match schema.prepare_authorized(&live.request.request(), &live.identity) {
                (Prepared::Subscription(interest), authorization)
                    if authorization.as_ref() == live.authorization.as_deref() =>
                {
                    hub.replace(&subscribed, interest);
                    *slot = Some(subscribed);
                }
                (Prepared::Subscription(_) | Prepared::Query(_) | Prepared::Refused(_), _) => {
                    hub.end(&subscribed, EndReason::SchemaChanged);
                }
            }
        }
    }
}

fn address(live: &Live) -> usize {
    std::ptr::from_ref(live).addr()
}

impl Live {
    /// Whether it began, or begins, with the rows that were there.
    pub(super) fn begins_with_rows(&self) -> bool {
        self.subscribed.lock().as_ref().is_some_and(|subscribed| subscribed.begins_with_rows())
    }

    /// Whether it has ended, or the stream at a position contains what it began with.
    pub(super) fn has_passed(&self, hub: &Hub, position: &Position) -> bool {
        self.subscribed.lock().as_ref().is_none_or(|subscribed| hub.has_passed(subscribed, position))
    }
}
