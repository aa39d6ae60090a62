//! Subscriptions that begin with what is there.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Fixture, chat};
use crate::event::Event;
use crate::hub::audience::Identity;
use crate::hub::initial::{Beginning, Duty, Rows};
use crate::hub::mailbox::{Delivery, EndReason, Mailbox, MailboxLimits, SubscriptionId};
use crate::hub::outlet::Due;
use crate::hub::project::{Interest, Topic};
use crate::hub::promise::{Deferral, Outcome, Promise};
use crate::hub::subscribed::Subscribed;
use crate::source::cursor::{Cursor, Within};
use crate::source::snapshot::Snapshot;
use crate::source::{Batch, Source, Step};

/// Keeps the duties until a test does them.
#[derive(Debug, Default)]
struct Reading(Mutex<Vec<Duty>>);

impl Beginning for Reading {
    fn begin(self: Arc<Self>, duty: Duty) {
        self.0.lock().push(duty);
    }
}

/// Keeps the promises until a test keeps them.
#[derive(Debug, Default)]
struct Slow(Mutex<Vec<Promise>>);

impl Deferral for Slow {
    fn begin(&self, _: &Arc<Event>, promise: Promise) {
        self.0.lock().push(promise);
    }

    fn broken(&self, _: &Event) -> Outcome {
        Outcome::Lost(EndReason::Undecided)
    }
}

struct Stream {
    fixture: Fixture,
    reading: Arc<Reading>,
    mailbox: Arc<Mailbox>,
    subscribed: Arc<Subscribed>,
    history: u64,
}

impl Stream {
    /// The memory source gives the event with number n the id n and the xid n.
    async fn new(limits: MailboxLimits, deferral: Option<Arc<dyn Deferral>>) -> Self {
        let mut fixture = Fixture::new();
        let Step::Start(start) = fixture.source.next().await else { panic!("a source starts") };
        fixture.hub.start(&start);
        let Step::Catalog(_) = fixture.source.next().await else { panic!("it describes itself") };
        let reading = Arc::new(Reading::default());
        let interest = Interest {
            topics: [Topic::Channel("chat".into())].into(),
            constraints: Vec::new(),
            residual: None,
            projection: fixture.projection.clone(),
            deferral,
            throttle: None,
            beginning: Some(reading.clone()),
        };
        let mailbox = Arc::new(Mailbox::new(limits));
        let identity = Arc::new(Identity::default());
        let subscribed = fixture.hub.subscribe(interest, identity, mailbox.clone(), SubscriptionId(0));
        Self { fixture, reading, mailbox, subscribed, history: start.history }
    }

    fn moment(&self, snapshot: &str, top: i64) -> Cursor {
        Cursor {
            history: self.history,
            top,
            seen: Arc::new(snapshot.parse().unwrap()),
            within: None,
            left: Vec::new(),
        }
    }

    fn duty(&self) -> Duty {
        self.reading.0.lock().pop().expect("it was asked to read")
    }

    /// What is in the mailbox, each with its cursor.
    async fn read(&self) -> Vec<(String, Option<Cursor>)> {
        let mut deliveries = Vec::new();
        self.mailbox.drain(&mut deliveries, false).await;
        let told = |delivery| {
            let (text, cursor) = match delivery {
                Delivery::Next { result, cursor, .. } | Delivery::Whole { result, cursor, .. } => {
                    (String::from_utf8(result.to_vec()).unwrap(), cursor)
                }
                Delivery::Begun { rows, cursor, .. } => (format!("Begun({rows})"), cursor),
                Delivery::End { reason, cursor, .. } => (format!("End({reason:?})"), cursor),
            };
            (text, Cursor::decode(&cursor).ok())
        };
        deliveries.into_iter().map(told).collect()
    }

    async fn texts(&self) -> Vec<String> {
        self.read().await.into_iter().map(|(text, _)| text).collect()
    }
}

fn rows(texts: &[&'static str]) -> Rows {
    texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect()
}

#[tokio::test]
async fn rows_come_first_and_then_what_they_do_not_contain() {
    let mut stream = Stream::new(MailboxLimits::default(), None).await;
    stream.fixture.publish(vec![chat("{}"), chat("{}"), chat("{}")]).await;
    let moment = stream.moment("2:4:2", 3);
    stream.duty().done(rows(&["a", "b"]), moment.clone());
    let read = stream.read().await;
    let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["a", "b", "Begun(2)", r#"{"id":2"#], "the second was running when the rows were read");
    assert_eq!(read[0].1, None, "nobody can go on from the middle of the rows");
    assert_eq!((&read[1].1, &read[2].1), (&Some(moment.clone()), &Some(moment.clone())));
    let Some(after) = &read[3].1 else { panic!("a change has a cursor") };
    assert!(after.contains(1, 1) && after.contains(2, 2) && after.contains(3, 3));
    stream.fixture.publish(vec![chat("{}")]).await;
    assert_eq!(stream.texts().await, [r#"{"id":4"#]);
}

#[tokio::test]
async fn what_waited_is_decided_by_where_it_stood() {
    let mut stream = Stream::new(MailboxLimits::default(), None).await;
    stream.fixture.publish(vec![chat("{}"), chat("{}")]).await;
    stream.duty().done(rows(&["a"]), stream.moment("2:2:", 1));
    // Past the moment, and before anybody has read.
    stream.fixture.publish(vec![chat("{}")]).await;
    assert_eq!(stream.texts().await, ["a", "Begun(1)", r#"{"id":2"#, r#"{"id":3"#]);
}

#[tokio::test]
async fn the_stream_may_be_behind_the_rows() {
    let stream = Stream::new(MailboxLimits::default(), None).await;
    let moment = stream.moment("3:6:3", 5);
    stream.duty().done(rows(&[]), moment.clone());
    assert_eq!(stream.read().await, [("Begun(0)".to_owned(), Some(moment.clone()))]);
    assert!(!stream.fixture.hub.has_passed(&stream.subscribed, &stream.fixture.hub.position()));
    let event = |id: i64| Event { id, xid: id.cast_unsigned(), ..chat("{}") };
    let start = stream.moment("1:1:", 0);
    let batch = |start: &Cursor, snapshot: &str, ids: &[i64], last| Batch {
        events: ids.iter().copied().map(event).collect(),
        start: start.clone(),
        snapshot: Arc::new(snapshot.parse().unwrap()),
        last,
    };
    // Pages of one batch that ends after the moment.
    let first = batch(&start, "8:8:", &[1, 2, 3, 4], false);
    assert_eq!(stream.fixture.hub.dispatch(&first, 0, 10, &mut Due::default()), None);
    let read = stream.read().await;
    assert_eq!(read.len(), 1);
    let within = |upto| Some(Within { snapshot: Arc::new("8:8:".parse().unwrap()), upto });
    assert_eq!(read[0], (r#"{"id":3"#.to_owned(), Some(Cursor { within: within(3), ..moment.clone() })));
    let second = batch(&first.end(), "8:8:", &[5, 6, 7], true);
    assert_eq!(stream.fixture.hub.dispatch(&second, 0, 10, &mut Due::default()), None);
    let read = stream.read().await;
    assert_eq!(read[0], (r#"{"id":6"#.to_owned(), Some(Cursor { within: within(6), ..moment })));
    let end = Cursor { top: 7, seen: Arc::new(Snapshot::new(8, Vec::new())), ..start };
    assert_eq!(read[1], (r#"{"id":7"#.to_owned(), Some(end)));
    assert!(stream.fixture.hub.has_passed(&stream.subscribed, &stream.fixture.hub.position()));
}

#[tokio::test]
async fn xids_that_a_crash_gave_out_again_are_not_in_the_rows() {
    let stream = Stream::new(MailboxLimits::default(), None).await;
    stream.duty().done(rows(&["a"]), stream.moment("9:9:", 2));
    let start = stream.moment("5:5:", 1);
    let event = |id| Event { id, xid: 6, ..chat("{}") };
    let snapshot = Arc::new("7:7:".parse().unwrap());
    let batch = Batch { events: vec![event(2), event(3)], start, snapshot, last: true };
    stream.fixture.hub.dispatch(&batch, 0, 10, &mut Due::default());
    assert_eq!(stream.texts().await, ["a", "Begun(1)", r#"{"id":3"#]);
}

#[tokio::test]
async fn a_result_that_takes_time_waits_behind_the_rows() {
    let slow = Arc::new(Slow::default());
    let mut stream = Stream::new(MailboxLimits::default(), Some(slow.clone())).await;
    stream.fixture.publish(vec![chat("{}"), chat("{}"), chat("{}"), chat("{}")]).await;
    let mut promises = std::mem::take(&mut *slow.0.lock()).into_iter();
    promises.next().unwrap().keep(Outcome::Lost(EndReason::Undecided));
    stream.duty().done(rows(&["a"]), stream.moment("2:2:", 1));
    assert_eq!(stream.texts().await, ["a", "Begun(1)"], "what was lost is in the rows");
    promises.next().unwrap().keep(Outcome::Shown(Bytes::from_static(b"2")));
    promises.next().unwrap().keep(Outcome::Hidden);
    drop(promises);
    let read = stream.read().await;
    assert_eq!((read[0].0.as_str(), read[1].0.as_str()), ("2", "End(Undecided)"));
    let Some(before) = &read[1].1 else { panic!("it can be resumed") };
    assert!(before.contains(3, 3) && !before.contains(4, 4), "everything before what was lost");
    assert!(stream.mailbox.is_quiet_since(u64::MAX));
}

#[tokio::test]
async fn a_beginning_that_fails_ends_the_subscription_without_a_cursor() {
    type Fail = fn(&Stream, Duty);
    let failures: [(Fail, &str); 4] = [
        (
            |_, duty| duty.failed(EndReason::InitialTooLarge("5 rows".into())),
            "End(InitialTooLarge(\"5 rows\"))",
        ),
        (|_, duty| drop(duty), "End(InitialFailed(\"the rows could not be read\"))"),
        (
            |stream, duty| duty.done(rows(&["a"]), Cursor { history: 7, ..stream.moment("2:2:", 1) }),
            "End(HistoryChanged(Bounds { oldest: \"\", newest: \"\" }))",
        ),
        (
            |stream, duty| {
                stream
                    .mailbox
                    .push_next(SubscriptionId(1), &Bytes::from_static(b"1234"), &"".into(), 9)
                    .unwrap();
                duty.done(rows(&["1234567"]), stream.moment("2:2:", 1));
            },
            "End(SlowConsumer)",
        ),
    ];
    for (fail, expected) in failures {
        let mut stream = Stream::new(MailboxLimits { messages: 10, bytes: 12 }, None).await;
        stream.fixture.publish(vec![chat("{}")]).await;
        fail(&stream, stream.duty());
        let read = stream.read().await;
        let end = read.iter().find(|(text, _)| text.starts_with("End")).expect(expected);
        assert_eq!(end, &(expected.to_owned(), None));
        assert!(!read.iter().any(|(text, _)| text.starts_with("{\"id\"")), "no change without its beginning");
    }
}

#[tokio::test]
async fn a_full_mailbox_before_the_rows_leaves_no_cursor_to_go_on_from() {
    let mut stream = Stream::new(MailboxLimits { messages: 3, bytes: 1_000 }, None).await;
    stream.fixture.publish(vec![chat("{}"), chat("{}"), chat("{}")]).await;
    stream.duty().done(rows(&["a"]), stream.moment("2:2:", 1));
    let read = stream.read().await;
    let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(texts, ["a", "Begun(1)", r#"{"id":2"#, "End(SlowConsumer)"]);
    assert_eq!(read[3].1, None);
}
