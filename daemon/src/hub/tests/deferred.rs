//! Results that take time.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;

use super::{Client, Fixture, chat};
use crate::event::Event;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{Mailbox, MailboxLimits, SubscriptionId};
use crate::hub::project::{Constraint, Interest, Topic};
use crate::hub::promise::{Deferral, Outcome, Promise};

/// Keeps the promises until a test keeps or breaks them.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<(i64, Promise)>>);

impl Deferral for Slow {
    fn begin(&self, event: &Arc<Event>, promise: Promise) {
        self.0.lock().push((event.id, promise));
    }

    fn broken(&self, event: &Event) -> Outcome {
        Outcome::Shown(format!("broken {}", event.id).into())
    }
}

impl Slow {
    fn take(&self, id: i64) -> Promise {
        let mut promises = self.0.lock();
        let index = promises.iter().position(|(of, _)| *of == id).expect("a promise for the event");
        promises.swap_remove(index).1
    }

    fn keep(&self, id: i64, result: Option<&'static str>) {
        let shown = |text: &'static str| Outcome::Shown(Bytes::from_static(text.as_bytes()));
        self.take(id).keep(result.map_or(Outcome::Hidden, shown));
    }
}

fn subscribe(fixture: &Fixture, mailbox: &Arc<Mailbox>, number: u64, deferral: Option<&Arc<Slow>>) -> Client {
    let interest = Interest {
        topics: [Topic::Channel("chat".into())].into(),
        constraints: Vec::<Constraint>::new(),
        residual: None,
        projection: fixture.projection.clone(),
        deferral: deferral.map(|slow| slow.clone() as Arc<dyn Deferral>),
        throttle: None,
        beginning: None,
    };
    let identity = Arc::new(Identity::default());
    let subscribed = fixture.hub.subscribe(interest, identity, mailbox.clone(), SubscriptionId(number));
    Client { mailbox: mailbox.clone(), subscribed }
}

fn mailbox(messages: usize) -> Arc<Mailbox> {
    Arc::new(Mailbox::new(MailboxLimits { messages, bytes: 1_000 }))
}

#[tokio::test]
async fn order_is_kept_whatever_the_results_take_and_others_do_not_wait() {
    let mut fixture = Fixture::new();
    let slow = Arc::new(Slow::default());
    let mailbox = mailbox(100);
    let client = subscribe(&fixture, &mailbox, 0, Some(&slow));
    subscribe(&fixture, &mailbox, 1, None);
    fixture.publish((0..3).map(|_| chat("{}")).collect()).await;
    assert_eq!(client.read().await, [r#"{"id":1"#, r#"{"id":2"#, r#"{"id":3"#], "the other subscription");
    assert!(!mailbox.is_quiet_since(u64::MAX), "something is under way");
    slow.keep(3, Some("third"));
    slow.keep(2, None);
    slow.keep(1, Some("first"));
    assert_eq!(client.read().await, ["first", "third"], "in order, without what may not be seen");
    assert!(mailbox.is_quiet_since(u64::MAX));
}

#[tokio::test]
async fn a_reader_may_be_faster_than_the_news_of_a_result() {
    let mut fixture = Fixture::new();
    let slow = Arc::new(Slow::default());
    let client = subscribe(&fixture, &mailbox(100), 0, Some(&slow));
    for id in 1..=5_000 {
        fixture.publish(vec![chat("{}")]).await;
        let promise = slow.take(id);
        let keeping = std::thread::spawn(move || promise.keep(Outcome::Shown(Bytes::from_static(b"x"))));
        let mut read = Vec::new();
        while client.mailbox.drain(&mut read, false).now_or_never().is_none() {}
        assert_eq!(read.len(), 1);
        keeping.join().unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_waits_is_woken_by_the_result() {
    let mut fixture = Fixture::new();
    let slow = Arc::new(Slow::default());
    let client = subscribe(&fixture, &mailbox(100), 0, Some(&slow));
    fixture.publish(vec![chat("{}")]).await;
    let reading = tokio::spawn(async move { client.read().await });
    tokio::task::yield_now().await;
    slow.keep(1, Some("late"));
    assert_eq!(reading.await.unwrap(), ["late"]);
}

#[tokio::test]
async fn the_work_is_done_once_for_all_and_a_broken_promise_is_an_error() {
    let mut fixture = Fixture::new();
    let slow = Arc::new(Slow::default());
    let clients: Vec<Client> = (0..3).map(|_| subscribe(&fixture, &mailbox(100), 0, Some(&slow))).collect();
    fixture.publish(vec![chat("{}")]).await;
    assert_eq!(slow.0.lock().len(), 1);
    drop(slow.take(1));
    for client in clients {
        assert_eq!(client.read().await, ["broken 1"]);
    }
}

#[tokio::test]
async fn unfinished_results_fill_a_mailbox_too() {
    let mut fixture = Fixture::new();
    let slow = Arc::new(Slow::default());
    let client = subscribe(&fixture, &mailbox(2), 0, Some(&slow));
    fixture.publish((0..4).map(|_| chat("{}")).collect()).await;
    slow.keep(1, Some("a"));
    slow.keep(2, Some("b"));
    assert_eq!(client.read().await, ["a", "b", "End(SlowConsumer)"]);
    let heavy = subscribe(&fixture, &mailbox(100), 0, Some(&slow));
    fixture.publish(vec![chat("{}")]).await;
    slow.keep(5, Some(Box::leak("x".repeat(1_001).into_boxed_str())));
    fixture.publish(vec![chat("{}")]).await;
    let read = heavy.read().await;
    assert_eq!((read[0].len(), read[1].as_str()), (1_001, "End(SlowConsumer)"));
}
