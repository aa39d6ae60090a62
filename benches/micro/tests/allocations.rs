//! What is allocated: nothing for a delivery, however many there are; a little for an event; and less than a
//! kilobyte for a subscription.
//!
//! Counts are exact, so these are tests and no measurements.

use std::sync::Arc;

use allocation_counter::measure;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tidings_daemon::event::Event;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::hub::mailbox::{Delivery, SubscriptionId};
use tidings_daemon::hub::outlet::Outlet;
use tidings_daemon::service::{Connection, Service, ServiceOptions};
use tidings_daemon::source::Batch;
use tidings_daemon::source::memory::{self, Publisher};
use tidings_daemon::transport::frame;
use tidings_micro::room::{Room, identity};
use tidings_micro::shop;
use tokio::runtime::{Builder, Runtime};

const QUERY: &str = "subscription { orderInserted { id total note state } }";

const EVENTS: usize = 16;

/// Allocations for a batch of events that goes to so many, once everything has grown to its size.
fn allocations(subscribers: usize) -> u64 {
    let mut room = Room::new().unwrap();
    for _ in 0..subscribers {
        room.subscribe(&shop::request(QUERY, Value::Null), 0).unwrap();
    }
    let batch = room.batch((0..EVENTS).map(|id| shop::inserted(id as i64, 0)).collect());
    let turn = |room: &mut Room, batch: &Batch| {
        room.dispatch(batch);
        assert_eq!(room.take(0..subscribers), EVENTS * subscribers);
    };
    for _ in 0..3 {
        turn(&mut room, &batch);
    }
    measure(|| turn(&mut room, &batch)).count_total
}

#[test]
fn a_delivery_allocates_nothing() {
    let (few, many) = (allocations(10), allocations(1_000));
    println!("{EVENTS} events: {few} allocations for 10 subscribers, {many} for 1,000");
    assert_eq!(many, few, "990 subscribers more get {EVENTS} deliveries each");
}

#[test]
fn an_event_that_concerns_nobody_allocates_nothing_but_its_members() {
    let mut room = Room::new().unwrap();
    let batch = |room: &mut Room, count: usize| {
        let batch = room.batch((0..count).map(|id| shop::inserted(id as i64, 0)).collect());
        room.dispatch(&batch);
        measure(|| room.dispatch(&batch)).count_total
    };
    let (few, many) = (batch(&mut room, 1), batch(&mut room, 101));
    assert_eq!(few, many, "nobody has subscribed to this table");
    room.subscribe(&shop::request(QUERY, Value::Null), 1).unwrap();
    let (few, many) = (batch(&mut room, 1), batch(&mut room, 101));
    assert_eq!(many - few, 100, "one of another tenant has: the payload is looked at, once");
}

/// A service fed by memory, with everything on one thread.
struct Hall {
    runtime: Runtime,
    service: Service,
    publisher: Publisher,
}

impl Hall {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let (publisher, source) = memory::source(shop::catalog(), EVENTS);
        let service = runtime.block_on(async {
            let service = Service::start(source, ServiceOptions::default());
            service.ready().await;
            service
        });
        Self { runtime, service, publisher }
    }

    fn subscribe(&self, connection: &mut Connection, request: &Request) -> SubscriptionId {
        let permit = self.runtime.block_on(self.service.authorize(request, connection.identity())).unwrap();
        connection.subscribe(permit).unwrap()
    }
}

/// Allocations of a turn with some events, once nothing grows any more: the ring of the last events, above all.
fn allocations_of(mut turn: impl FnMut(Vec<Event>)) -> u64 {
    let events = || -> Vec<_> { (0..EVENTS).map(|id| shop::inserted(id as i64, 0)).collect() };
    for _ in 0..10_500 / EVENTS {
        turn(events());
    }
    let events = events();
    measure(|| turn(events)).count_total
}

/// Allocations on the way of events from the source into the frames of so many connections.
fn allocations_up_to_frames(connections: usize) -> u64 {
    let hall = Hall::new();
    let mut all: Vec<(Connection, Vec<Delivery>, Vec<u8>)> = Vec::new();
    for _ in 0..connections {
        let mut connection = hall.service.connect(identity(0));
        hall.subscribe(&mut connection, &shop::request(QUERY, Value::Null));
        all.push((connection, Vec::new(), Vec::new()));
    }
    let turn = |events: Vec<Event>| {
        hall.runtime.block_on(async {
            for event in events {
                hall.publisher.publish(event).await.unwrap();
            }
            for (connection, deliveries, frames) in &mut all {
                while deliveries.len() < EVENTS {
                    connection.drain(deliveries).await;
                }
                frames.clear();
                for delivery in deliveries.drain(..) {
                    let Delivery::Next { result, cursor, .. } = delivery else { panic!("a result") };
                    frame::sse_next(frames, &result, &cursor);
                }
            }
        });
    };
    allocations_of(turn)
}

#[test]
fn from_the_source_to_the_frames_a_delivery_allocates_nothing() {
    let (few, many) = (allocations_up_to_frames(2), allocations_up_to_frames(202));
    println!("{EVENTS} events: {few} allocations for 2 connections, {many} for 202");
    // A map of the metrics or a list of the runtime may grow at any turn.
    assert!(many < few + 8, "{few} and {many}: 200 connections more get {EVENTS} deliveries each");
}

/// Where a client's results go past its task.
#[derive(Debug, Default)]
struct Sink(Mutex<(usize, Vec<u8>)>);

impl Outlet for Sink {
    fn write(&self, results: &[Delivery]) -> Vec<u8> {
        let (count, frames) = &mut *self.0.lock();
        frames.clear();
        for delivery in results {
            let Delivery::Next { result, cursor, .. } = delivery else { panic!("a result") };
            frame::sse_next(frames, result, cursor);
        }
        *count += results.len();
        Vec::new()
    }
}

/// Allocations on the way of events from the source to so many connections that have lent their sockets.
fn allocations_past_tasks(connections: usize) -> u64 {
    let hall = Hall::new();
    let mut all = Vec::new();
    for _ in 0..connections {
        let mut connection = hall.service.connect(identity(0));
        hall.subscribe(&mut connection, &shop::request(QUERY, Value::Null));
        let sink = Arc::new(Sink::default());
        connection.set_outlet(sink.clone());
        assert!(connection.drain(&mut Vec::new()).now_or_never().is_none(), "nothing has come");
        all.push((connection, sink));
    }
    let mut due = 0;
    let turn = |events: Vec<Event>| {
        due += events.len();
        hall.runtime.block_on(async {
            for event in events {
                hall.publisher.publish(event).await.unwrap();
            }
            while all.iter().any(|(_, sink)| sink.0.lock().0 < due) {
                tokio::task::yield_now().await;
            }
        });
    };
    allocations_of(turn)
}

#[test]
fn past_the_tasks_a_delivery_allocates_nothing() {
    let (few, many) = (allocations_past_tasks(2), allocations_past_tasks(202));
    println!("{EVENTS} events: {few} allocations for 2 connections, {many} for 202");
    // The list of those who are due grows once for an event, whatever their number.
    assert!(
        many < few + 8 * EVENTS as u64,
        "{few} and {many}: 200 connections more get {EVENTS} deliveries each"
    );
}

/// Bytes that stay allocated for each further subscription of a connection.
fn bytes_of_subscription(request: impl Fn(usize) -> Request) -> i64 {
    const COUNT: usize = 1_000;
    let hall = Hall::new();
    let mut connection = hall.service.connect(identity(0));
    for number in 0..100 {
        hall.subscribe(&mut connection, &request(number));
    }
    let mut all = Vec::with_capacity(COUNT);
    let kept = measure(|| {
        for number in 100..100 + COUNT {
            all.push(hall.subscribe(&mut connection, &request(number)));
        }
    });
    let freed = measure(|| all.into_iter().for_each(|subscription| connection.complete(subscription)));
    let (kept, freed) = (kept.bytes_current / COUNT as i64, -freed.bytes_current / COUNT as i64);
    // Tables keep their size for the next, and what is shared is swept out later.
    assert!(freed * 2 > kept, "of {kept} bytes {freed} are freed");
    kept
}

#[test]
fn a_further_subscription_takes_less_than_a_kilobyte() {
    let same = bytes_of_subscription(|_| shop::request(QUERY, Value::Null));
    let key = bytes_of_subscription(|number| {
        let query = "subscription($id: BigInt!) {
            orderChanged(id: $id) { operation record { id total note state } old { id total } } }";
        shop::request(query, json!({ "id": number }))
    });
    let range = bytes_of_subscription(|number| {
        let query = "subscription($least: BigFloat) {
            orderInserted(filter: { total: { gte: $least }, state: { in: [paid, sent] } }) { id total } }";
        shop::request(query, json!({ "least": number }))
    });
    println!("bytes of a further subscription: {same} of the same, {key} by key, {range} by range");
    // Allocators add some: what is resident is `micro footprint`'s to tell.
    for (asked, bytes) in [("the same", same), ("a key", key), ("a range", range)] {
        assert!(bytes < 1_000, "a subscription to {asked} takes {bytes} bytes");
    }
}
