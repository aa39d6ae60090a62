//! A hub with subscriptions, without a service: what is filed, and what an event costs among it.

use std::sync::Arc;

use anyhow::{Result, bail};
use tidings_daemon::event::Event;
use tidings_daemon::graphql::prepare::Prepared;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::hub::dispatch::Hub;
use tidings_daemon::hub::mailbox::{Delivery, Mailbox, MailboxLimits, SubscriptionId};
use tidings_daemon::hub::outlet::Due;
use tidings_daemon::hub::project::Interest;
use tidings_daemon::hub::subscribed::Subscribed;
use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::Batch;
use tidings_daemon::source::cursor::Cursor;
use tidings_daemon::source::snapshot::Snapshot;

use crate::shop;

/// The hub and who is in it, each with a connection of its own.
#[derive(Debug)]
pub struct Room {
    schema: Schema,
    hub: Hub,
    seats: Vec<(Arc<Mailbox>, Arc<Subscribed>)>,
    /// What was seen before the next batch.
    at: Cursor,
    taken: Vec<Delivery>,
}

impl Room {
    /// A hub without subscriptions.
    ///
    /// # Errors
    ///
    /// If the shop gives no schema.
    pub fn new() -> Result<Self> {
        let schema = Schema::build(&shop::catalog(), SchemaOptions::default())?;
        let hub = Hub::new(Metrics::default(), true);
        let at = start();
        hub.start(&at);
        Ok(Self { schema, hub, seats: Vec::new(), at, taken: Vec::new() })
    }

    /// What a subscription asks of the hub.
    ///
    /// # Errors
    ///
    /// If the request is refused, or is no subscription.
    pub fn interest(&self, request: &Request, identity: &Identity) -> Result<Interest> {
        match self.schema.prepare(request, identity) {
            Prepared::Subscription(interest) => Ok(interest),
            other => bail!("no subscription: {other:?}"),
        }
    }

    /// Has somebody of a tenant subscribe.
    ///
    /// # Errors
    ///
    /// If the request is refused.
    pub fn subscribe(&mut self, request: &Request, tenant: usize) -> Result<()> {
        let identity = identity(tenant);
        let interest = self.interest(request, &identity)?;
        let mailbox = Arc::new(Mailbox::new(MailboxLimits::default()));
        let subscribed = self.hub.subscribe(interest, identity, mailbox.clone(), SubscriptionId(0));
        self.seats.push((mailbox, subscribed));
        Ok(())
    }

    /// The events as the next batch.
    pub fn batch(&mut self, events: Vec<Event>) -> Batch {
        let batch = batch(&self.at, events);
        self.at = batch.end();
        batch
    }

    /// Puts the results of a batch into the mailboxes.
    pub fn dispatch(&self, batch: &Batch) {
        let mut next = Some(0);
        while let Some(from) = next {
            // Nobody lends a socket.
            next = self.hub.dispatch(batch, from, usize::MAX, &mut Due::default());
        }
    }

    /// Empties the mailboxes of those who subscribed at these places. Returns how many deliveries there were.
    pub fn take(&mut self, seats: impl IntoIterator<Item = usize>) -> usize {
        let mut count = 0;
        for seat in seats {
            self.seats[seat].0.take(&mut self.taken);
            count += self.taken.len();
            self.taken.clear();
        }
        count
    }
}

/// Somebody of a tenant.
pub fn identity(tenant: usize) -> Arc<Identity> {
    Arc::new(Identity { tenant: Some(shop::tenant(tenant)), ..Identity::default() })
}

/// Where a stream starts.
pub fn start() -> Cursor {
    Cursor {
        history: 0x0123_4567_89ab_cdef,
        top: 1_000_000,
        seen: Arc::new(Snapshot::new(1_000_000, vec![999_990])),
        within: None,
        left: Vec::new(),
    }
}

/// Events that become visible at one moment after a set.
pub fn batch(after: &Cursor, mut events: Vec<Event>) -> Batch {
    let xid = after.seen.xmax();
    for (index, event) in events.iter_mut().enumerate() {
        event.id = after.top + 1 + index as i64;
        event.xid = xid;
    }
    let snapshot = Arc::new(Snapshot::new(xid + 1, after.seen.in_progress().to_vec()));
    Batch { events, start: after.clone(), snapshot, last: true }
}
