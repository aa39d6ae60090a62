//! Which results pass when.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

struct Fixture {
    throttled: Throttled,
    began: Instant,
    events: u32,
    allowance: Option<Counted>,
}

/// So many, and then one every 50 ms; nobody looks at the clock here.
#[derive(Debug)]
struct Counted(AtomicU32);

impl Allowance for Counted {
    fn take(&self) -> Result<(), Duration> {
        let took = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        took.map(drop).map_err(|_| Duration::from_millis(50))
    }
}

impl Fixture {
    fn new(key: &[&str]) -> Self {
        let key = key.iter().map(|member| (*member).into()).collect();
        let throttle = Throttle { interval: Duration::from_millis(100), key };
        let began = Instant::now();
        let throttled = Throttled::new(SubscriptionId(0), throttle, "c0".into(), began);
        Self { throttled, began, events: 0, allowance: None }
    }

    fn allow(&mut self, count: u32) {
        self.allowance = Some(Counted(count.into()));
    }

    fn at(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    /// What passes when an event with this record comes.
    fn event(&mut self, ms: u64, record: &str) -> Vec<String> {
        self.events += 1;
        let result = format!(r#"{{"data":{{"x":{{"r":{record},"n":{}}}}}"#, self.events);
        let mut into = Vec::new();
        let cursor = format!("c{}", self.events).into();
        let now = self.at(ms);
        let ration = self.allowance.as_ref().map(|allowance| allowance as &dyn Allowance);
        if let Err(cursor) = self.throttled.take(result.into(), cursor, now, ration, &mut into) {
            let (subscription, reason) = (SubscriptionId(0), EndReason::RateLimited);
            into.push(Delivery::End { subscription, reason, cursor });
        }
        told(into)
    }

    fn release(&mut self, ms: u64) -> Vec<String> {
        let mut into = Vec::new();
        let ration = self.allowance.as_ref().map(|allowance| allowance as &dyn Allowance);
        self.throttled.release(self.at(ms), ration, &mut into);
        told(into)
    }
}

/// Number of the event and cursor of each delivery.
fn told(deliveries: Vec<Delivery>) -> Vec<String> {
    let told = deliveries.into_iter().map(|delivery| match delivery {
        Delivery::Next { result, cursor, .. } | Delivery::Whole { result, cursor, .. } => {
            let text = String::from_utf8(result.to_vec()).unwrap();
            let number = text.split("\"n\":").nth(1).unwrap().trim_end_matches('}');
            format!("{number}@{cursor}")
        }
        Delivery::Begun { .. } => "begun".to_owned(),
        Delivery::End { cursor, .. } => format!("end@{cursor}"),
    });
    told.collect()
}

#[test]
fn the_last_of_a_key_passes_when_its_time_is_over() {
    let mut fixture = Fixture::new(&["r", "id"]);
    assert_eq!(fixture.event(0, r#"{"id":1}"#), ["1@c1"]);
    assert_eq!(fixture.event(10, r#"{"id":1}"#), [""; 0]);
    assert_eq!(fixture.event(20, r#"{"id":1}"#), [""; 0]);
    assert_eq!(fixture.event(30, r#"{"id":2}"#), ["4@c1"], "no further than what waits");
    assert_eq!(fixture.throttled.due(), Some(fixture.at(100)));
    assert_eq!(fixture.release(99), [""; 0]);
    assert_eq!(fixture.release(100), ["3@c3"]);
    assert_eq!(fixture.throttled.due(), None);
    assert_eq!(fixture.event(150, r#"{"id":1}"#), [""; 0], "it passed 50 ms ago");
    assert_eq!(fixture.event(210, r#"{"id":1}"#), ["5@c5"], "and the next waits in turn");
    assert_eq!(fixture.release(400), ["6@c6"]);
    assert_eq!(fixture.event(900, r#"{"id":1}"#), ["7@c7"]);
}

#[test]
fn without_a_key_all_are_one_and_without_a_value_all_passes() {
    let mut fixture = Fixture::new(&[]);
    assert_eq!(fixture.event(0, "1"), ["1@c1"]);
    assert_eq!(fixture.event(1, "2"), [""; 0]);
    assert_eq!(fixture.release(100), ["2@c2"]);

    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.event(0, r#"{"id":1}"#);
    fixture.event(1, r#"{"id":1}"#);
    assert_eq!(fixture.event(2, "null"), ["2@c2", "3@c3"], "a TRUNCATE comes after what it ends");
}

#[test]
fn what_waits_is_bounded_in_bytes() {
    let mut fixture = Fixture::new(&["r", "id"]);
    let large = |id: usize| format!(r#"{{"id":{id},"text":"{}"}}"#, "x".repeat(1024 * 1024));
    for id in 0..5 {
        fixture.event(0, &large(id));
    }
    let passed: Vec<usize> = (0..5).map(|id| fixture.event(1, &large(id)).len()).collect();
    assert_eq!(passed, [0, 0, 0, 1, 1], "the oldest passes before its time");
    assert!(fixture.throttled.waiting_bytes <= WAITING_BYTES_MAX);
    fixture.release(200);
    assert_eq!(fixture.throttled.waiting_bytes, 0);
}

#[test]
fn keys_are_forgotten_and_bounded() {
    let mut fixture = Fixture::new(&["r", "id"]);
    for number in 0..KEYS_MAX + 10 {
        assert_eq!(fixture.event(0, &format!(r#"{{"id":{number}}}"#)).len(), 1);
    }
    assert_eq!(fixture.throttled.keys.len(), KEYS_MAX);
    assert_eq!(fixture.event(1, &format!(r#"{{"id":{}}}"#, KEYS_MAX + 5)).len(), 1, "too many to wait");
    fixture.event(200, r#"{"id":0}"#);
    assert_eq!(fixture.throttled.keys.len(), 1);
}

#[test]
fn what_may_not_be_delivered_conflates() {
    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.allow(1);
    assert_eq!(fixture.event(0, r#"{"id":1}"#), ["1@c1"]);
    assert_eq!(fixture.event(1, r#"{"id":2}"#), [""; 0], "its turn, and nothing left");
    assert_eq!(fixture.event(2, r#"{"id":2}"#), [""; 0]);
    assert_eq!(fixture.throttled.due(), Some(fixture.at(51)));
    fixture.allow(1);
    assert_eq!(fixture.release(50), [""; 0], "not asked again before its time");
    assert_eq!(fixture.release(51), ["3@c3"]);
    assert_eq!(fixture.event(52, r#"{"id":3}"#), [""; 0]);
    assert_eq!(fixture.release(102), [""; 0], "still nothing");
    assert_eq!(fixture.throttled.due(), Some(fixture.at(152)));
    fixture.allow(5);
    assert_eq!(fixture.release(152), ["4@c4"]);
}

#[test]
fn what_can_neither_wait_nor_pass_ends_the_subscription() {
    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.allow(1);
    fixture.event(0, r#"{"id":1}"#);
    fixture.event(1, r#"{"id":1}"#);
    assert_eq!(fixture.event(2, "null"), ["end@c1"], "before what waits");

    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.allow(0);
    assert_eq!(fixture.event(0, "null"), ["end@c0"]);

    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.allow(0);
    let large = |id: usize| format!(r#"{{"id":{id},"text":"{}"}}"#, "x".repeat(1024 * 1024));
    let told: Vec<_> = (0..4).map(|id| fixture.event(0, &large(id))).collect();
    assert_eq!(told.concat(), ["end@c0"]);

    let mut fixture = Fixture::new(&["r", "id"]);
    fixture.allow(0);
    (0..KEYS_MAX).for_each(|id| assert!(fixture.event(0, &format!(r#"{{"id":{id}}}"#)).is_empty()));
    assert_eq!(fixture.event(1, r#"{"id":-1}"#), ["end@c0"]);
}
