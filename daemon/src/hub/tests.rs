//! The hub fed by the memory source, with a projection that counts its calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::audience::Identity;
use super::dispatch::Hub;
use super::mailbox::{Bounds, Delivery, EndReason, Mailbox, MailboxLimits, SubscriptionId};
use super::outlet::Due;
use super::project::{Constraint, Interest, ParsedEvent, Predicate, Projection, Topic};
use super::subscribed::Subscribed;
use crate::event::{Audience, Event, Operation};
use crate::metrics::Metrics;
use crate::source::catalog::Catalog;
use crate::source::cursor::Cursor;
use crate::source::memory::{self, MemorySource, Publisher};
use crate::source::{Source, Step};

mod deferred;

mod initial;

mod replay;

#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Projection for Counting {
    fn project(&self, event: &ParsedEvent<'_>) -> Bytes {
        self.0.fetch_add(1, Ordering::Relaxed);
        format!("{{\"id\":{}", event.event.id).into()
    }
}

/// Passes events with a `vip`, and counts how often it was asked.
#[derive(Debug, Default)]
struct OnlyVips(AtomicUsize);

impl Predicate for OnlyVips {
    fn passes(&self, event: &ParsedEvent<'_>) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        event.record.get("vip").is_some()
    }
}

/// A hub, its source, and what is needed to feed it.
struct Fixture {
    hub: Hub,
    publisher: Publisher,
    source: MemorySource,
    projection: Arc<Counting>,
}

impl Fixture {
    fn new() -> Self {
        let (publisher, source) = memory::source(Catalog::default(), 100);
        Self { hub: Hub::new(Metrics::default(), false), publisher, source, projection: Arc::default() }
    }

    fn subscribe(&self, topics: &[Topic], constraints: &[(&str, &str)], tenant: Option<&str>) -> Client {
        self.subscribe_with(MailboxLimits::default(), topics, constraints, None, tenant)
    }

    /// Several values of a constraint are separated by `|`.
    fn subscribe_with(
        &self,
        limits: MailboxLimits,
        topics: &[Topic],
        constraints: &[(&str, &str)],
        residual: Option<Arc<dyn Predicate>>,
        tenant: Option<&str>,
    ) -> Client {
        let constraint = |&(field, values): &(&str, &str)| Constraint {
            field: field.into(),
            values: values.split('|').map(Into::into).collect(),
        };
        let interest = Interest {
            topics: topics.into(),
            constraints: constraints.iter().map(constraint).collect(),
            residual,
            projection: self.projection.clone(),
            deferral: None,
            throttle: None,
            beginning: None,
        };
        let identity = Arc::new(Identity { tenant: tenant.map(Into::into), ..Identity::default() });
        let mailbox = Arc::new(Mailbox::new(limits));
        let subscribed = self.hub.subscribe(interest, identity, mailbox.clone(), SubscriptionId(0));
        Client { mailbox, subscribed }
    }

    /// Publishes the events and dispatches until the source has handed all of them over.
    async fn publish(&mut self, events: Vec<Event>) {
        let mut left = events.len();
        for event in events {
            self.publisher.publish(event).await.unwrap();
        }
        while left > 0 {
            match self.source.next().await {
                Step::Batch(batch) => {
                    left -= batch.events.len();
                    let mut next = Some(0);
                    while let Some(from) = next {
                        next = self.hub.dispatch(&batch, from, 3, &mut Due::default());
                    }
                }
                Step::Start(cursor) => self.hub.start(&cursor),
                Step::Catalog(_) | Step::Gap(..) => {}
            }
        }
    }
}

struct Client {
    mailbox: Arc<Mailbox>,
    subscribed: Arc<Subscribed>,
}

impl Client {
    /// Everything in the mailbox: results as text, ends as `End(reason)`.
    async fn read(&self) -> Vec<String> {
        if self.mailbox.is_quiet_since(u64::MAX) {
            return Vec::new();
        }
        let mut deliveries = Vec::new();
        self.mailbox.drain(&mut deliveries, false).await;
        let text = |delivery| match delivery {
            Delivery::Next { result, .. } | Delivery::Whole { result, .. } => {
                String::from_utf8(result.to_vec()).unwrap()
            }
            Delivery::Begun { rows, .. } => format!("Begun({rows})"),
            Delivery::End { reason, .. } => format!("End({reason:?})"),
        };
        deliveries.into_iter().map(text).collect()
    }
}

fn row(operation: Operation, tenant: Option<&str>, payload: &str) -> Event {
    Event {
        channel: "public.orders".into(),
        event_type: operation.as_str().into(),
        type_name: Some("Order".into()),
        operation: Some(operation),
        audience: Audience { tenant: operation != Operation::Truncate, user: false },
        tenant_id: tenant.map(Into::into),
        payload: payload.into(),
        ..Event::default()
    }
}

fn chat(payload: &str) -> Event {
    Event { channel: "chat".into(), event_type: "posted".into(), payload: payload.into(), ..Event::default() }
}

#[tokio::test]
async fn results_are_encoded_once_for_all_tenants_and_arguments_that_share_them() {
    let mut fixture = Fixture::new();
    let topics = [Topic::Channel("chat".into())];
    let anybody = fixture.subscribe(&topics, &[], None);
    let acme = fixture.subscribe(&topics, &[], Some("acme"));
    let room = fixture.subscribe(&topics, &[("room", "7")], Some("globex"));
    let other_room = fixture.subscribe(&topics, &[("room", "8")], Some("globex"));
    fixture.publish(vec![chat(r#"{"room":7}"#), chat(r#"{"room":"7"}"#), chat(r#"{"room":null}"#)]).await;
    assert_eq!(anybody.read().await, [r#"{"id":1"#, r#"{"id":2"#, r#"{"id":3"#]);
    assert_eq!(acme.read().await.len(), 3);
    assert_eq!(room.read().await, [r#"{"id":1"#, r#"{"id":2"#], "a number equals the string of its digits");
    assert_eq!(other_room.read().await, [""; 0]);
    assert_eq!(fixture.projection.0.load(Ordering::Relaxed), 3, "once per event, not per subscriber");
}

#[tokio::test]
async fn tenants_see_their_own_rows_and_a_null_tenant_reaches_nobody() {
    let mut fixture = Fixture::new();
    let topics =
        [Topic::Row("Order".into(), Operation::Insert), Topic::Row("Order".into(), Operation::Truncate)];
    let acme = fixture.subscribe(&topics, &[], Some("acme"));
    let globex = fixture.subscribe(&topics, &[("id", "2")], Some("globex"));
    let nobody = fixture.subscribe(&topics, &[], None);
    fixture
        .publish(vec![
            row(Operation::Insert, Some("acme"), r#"{"id":1}"#),
            row(Operation::Insert, Some("globex"), r#"{"id":2}"#),
            row(Operation::Insert, Some("globex"), r#"{"id":3}"#),
            row(Operation::Insert, None, r#"{"id":4}"#),
            row(Operation::Update, Some("acme"), r#"{"id":1}"#),
            row(Operation::Truncate, None, "{}"),
        ])
        .await;
    assert_eq!(acme.read().await, [r#"{"id":1"#, r#"{"id":6"#]);
    assert_eq!(globex.read().await, [r#"{"id":2"#, r#"{"id":6"#], "a TRUNCATE passes every argument");
    assert_eq!(nobody.read().await, [r#"{"id":6"#]);
}

#[tokio::test]
async fn a_residual_is_evaluated_once_for_all_who_share_it() {
    let mut fixture = Fixture::new();
    let topics =
        [Topic::Row("Order".into(), Operation::Insert), Topic::Row("Order".into(), Operation::Truncate)];
    let residual = Arc::new(OnlyVips::default());
    let subscribe = |constraints, tenant| {
        let residual = Some(residual.clone() as Arc<dyn Predicate>);
        fixture.subscribe_with(MailboxLimits::default(), &topics, constraints, residual, Some(tenant))
    };
    let clients = [subscribe(&[], "acme"), subscribe(&[("id", "1|2")], "acme"), subscribe(&[], "globex")];
    let open = |id: u8, vip: &str| Event {
        audience: Audience::default(),
        ..row(Operation::Insert, None, &format!(r#"{{"id":{id}{vip}}}"#))
    };
    fixture.publish(vec![open(1, r#","vip":1"#), open(2, ""), row(Operation::Truncate, None, "{}")]).await;
    for client in clients {
        assert_eq!(client.read().await, [r#"{"id":1"#, r#"{"id":3"#], "a TRUNCATE passes it");
    }
    assert_eq!(residual.0.load(Ordering::Relaxed), 2, "once per row event");
}

#[tokio::test]
async fn one_of_several_values_matches_and_nobody_gets_an_event_twice() {
    let mut fixture = Fixture::new();
    let topics =
        [Topic::Row("Order".into(), Operation::Insert), Topic::Row("Order".into(), Operation::Truncate)];
    let client = fixture.subscribe(&topics, &[("id", "1|2"), ("state", "new|old")], Some("acme"));
    let other = fixture.subscribe(&topics, &[("id", "3"), ("state", "new")], Some("acme"));
    let insert = |payload: &str| row(Operation::Insert, Some("acme"), payload);
    let cut = Event { truncated: true, ..insert(r#"{"id":2}"#) };
    fixture
        .publish(vec![
            insert(r#"{"id":1,"state":"new"}"#),
            insert(r#"{"id":2,"state":"sold"}"#),
            insert(r#"{"id":2}"#),
            cut,
            row(Operation::Truncate, None, "{}"),
        ])
        .await;
    let expected = [r#"{"id":1"#, r#"{"id":4"#, r#"{"id":5"#];
    assert_eq!(client.read().await, expected, "a record that was cut may match");
    assert_eq!(other.read().await, [r#"{"id":5"#]);
    fixture.hub.unsubscribe(&client.subscribed);
    fixture.publish(vec![insert(r#"{"id":1,"state":"new"}"#)]).await;
    assert_eq!(client.read().await, [""; 0]);
}

#[tokio::test]
async fn a_full_mailbox_ends_its_subscription_with_the_cursor_before_the_lost_event() {
    let mut fixture = Fixture::new();
    let topics = [Topic::ChannelType("chat".into(), "posted".into())];
    let slow = fixture.subscribe_with(MailboxLimits { messages: 2, bytes: 1_000 }, &topics, &[], None, None);
    let fast = fixture.subscribe(&topics, &[], None);
    fixture.publish((0..5).map(|_| chat("{}")).collect()).await;
    assert_eq!(fast.read().await.len(), 5, "a slow neighbour costs nothing");

    let mut deliveries = Vec::new();
    slow.mailbox.drain(&mut deliveries, false).await;
    let [Delivery::Next { .. }, Delivery::Next { cursor: last, .. }, Delivery::End { reason, cursor, .. }] =
        deliveries.as_slice()
    else {
        panic!("{deliveries:?}")
    };
    assert_eq!(*reason, EndReason::SlowConsumer);
    assert_eq!(cursor, last, "resuming there misses nothing and repeats nothing");
    let cursor = Cursor::decode(cursor).unwrap();
    assert!(cursor.contains(2, 2) && !cursor.contains(3, 3));
}

#[tokio::test]
async fn an_unsubscribed_client_gets_nothing_more() {
    let mut fixture = Fixture::new();
    let topics = [Topic::Channel("chat".into())];
    let client = fixture.subscribe(&topics, &[("room", "7")], Some("acme"));
    fixture.hub.unsubscribe(&client.subscribed);
    fixture.hub.unsubscribe(&client.subscribed);
    fixture.publish(vec![chat(r#"{"room":7}"#)]).await;
    assert_eq!(client.read().await, [""; 0]);
    assert_eq!(fixture.projection.0.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_change_of_history_ends_everybody_once() {
    let mut fixture = Fixture::new();
    let both = fixture.subscribe(&[Topic::Channel("a".into()), Topic::Channel("b".into())], &[], None);
    fixture.publish(vec![chat("{}")]).await;
    fixture.hub.end_all(EndReason::HistoryChanged(Bounds::default()));
    assert_eq!(both.read().await, ["End(HistoryChanged(Bounds { oldest: \"\", newest: \"\" }))"]);
}

#[tokio::test]
async fn the_position_is_where_a_quiet_mailbox_stands() {
    let mut fixture = Fixture::new();
    let client = fixture.subscribe(&[Topic::Channel("other".into())], &[], None);
    fixture.publish(vec![chat("{}"), chat("{}")]).await;
    let position = fixture.hub.position();
    assert_eq!(position.event, 2);
    assert!(client.mailbox.is_quiet_since(position.event));
    assert!(Cursor::decode(&position.cursor).unwrap().contains(2, 2));
}
