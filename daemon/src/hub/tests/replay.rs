//! Sets that cannot be named. Everything else about replay is the simulator's.

use std::sync::Arc;

use super::{Counting, chat};
use crate::event::Event;
use crate::hub::audience::Identity;
use crate::hub::dispatch::Hub;
use crate::hub::mailbox::{Delivery, EndReason, Mailbox, MailboxLimits, SubscriptionId};
use crate::hub::project::{Interest, Topic};
use crate::hub::replay::Group;
use crate::metrics::Metrics;
use crate::source::cursor::{Cursor, PARTS_MAX, Within};
use crate::source::history::Moment;

/// A set with so many open batches, all of which reach far beyond what is offered.
fn seen(parts: usize) -> Cursor {
    let part = |number: usize| Within {
        snapshot: Arc::new(format!("{0}:{0}:", 10 + number).parse().unwrap()),
        upto: 1_000,
    };
    let mut parts = (0..parts).map(part);
    let (within, left) = (parts.next(), parts.collect());
    Cursor { history: 7, top: 1, seen: Arc::new("5:5:".parse().unwrap()), within, left }
}

async fn offered(parts: usize) -> Delivery {
    let hub = Hub::new(Metrics::default(), true);
    let mailbox = Arc::new(Mailbox::new(MailboxLimits::default()));
    let interest = Interest {
        topics: [Topic::Channel("chat".into())].into(),
        constraints: Vec::new(),
        residual: None,
        projection: Arc::new(Counting::default()),
        deferral: None,
        throttle: None,
        beginning: None,
    };
    let cursor = Cursor::decode(&seen(parts).encode()).unwrap();
    let identity = Arc::new(Identity::default());
    let _subscribed = hub.resume(interest, identity, mailbox.clone(), SubscriptionId(1), cursor);
    let mut group = Group::of(hub.behind().await);
    let snapshot = Arc::new("90:90:".parse().unwrap());
    let moment = Moment { history: 7, snapshot, top: 9, last_id: 9, floor: None, ids: Some((9, 9)) };
    group.offer(&hub, &[Event { id: 9, xid: 80, ..chat("{}") }], &moment);
    let mut deliveries = Vec::new();
    mailbox.drain(&mut deliveries, false).await;
    deliveries.remove(0)
}

#[tokio::test]
async fn a_set_of_too_many_parts_ends_its_subscription_where_it_can_be_named() {
    let Delivery::Next { cursor, .. } = offered(PARTS_MAX - 1).await else {
        panic!("there is room for one more")
    };
    assert!(Cursor::decode(&cursor).unwrap().contains(9, 80));
    let Delivery::End { reason, cursor, .. } = offered(PARTS_MAX).await else { panic!("one too many") };
    assert_eq!((reason, Cursor::decode(&cursor).unwrap()), (EndReason::SlowConsumer, seen(PARTS_MAX)));
}
