//! The disk of the events table is full: writers are told so and roll back, the daemon goes on, and nothing that was
//! committed is lost. A limit for the size of the server's files stands for the disk: the kernel refuses to write beyond.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::streaming::exactly_once::connect;
use crate::streaming::outage::readiness;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;

const WRITERS: usize = 4;

/// A little more than a segment of the WAL has.
const FULL_AT_BYTES: &str = "17825792";

const SETUP: &str = "
    create extension tidings;
    create table orders (id int primary key);
    select attach_trigger('orders', type_name => 'Order', channel => 'orders')";

const REMOVE_OLDEST: &str = "set tidings.max_size = '12MB'; set tidings.size_cap_action = 'remove_oldest'";

const QUERY: &str = r#"subscription { events(channel: "disk") { id } }"#;

/// What everybody has committed.
type Committed = BTreeSet<i64>;

/// Publishes events of a kilobyte until it is refused, or so many times; returns the refusal.
async fn fill(writer: &Client, times: usize, committed: &mut Committed) -> Option<String> {
    let publish = "select publish_event('disk', 'filling', to_jsonb(repeat(md5(n::text), 32))) from generate_series(1, 20) n";
    for _ in 0..times {
        match writer.query(publish, &[]).await {
            Ok(rows) => committed.extend(rows.iter().map(|row| row.get::<_, i64>(0))),
            Err(error) => return Some(error.as_db_error().expect("the server answers").message().to_owned()),
        }
    }
    None
}

/// Reads until an event has come.
async fn read_to(stream: &mut Sse, last: i64, received: &mut Vec<i64>) {
    while received.last() != Some(&last) {
        let result = stream.next().await;
        let id = result["data"]["events"]["id"].as_str().unwrap_or_else(|| panic!("{result}"));
        received.push(id.parse().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writers_and_costs_nothing_that_was_committed() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let session = connect(&url).await.unwrap();
    session.batch_execute(SETUP).await.unwrap();
    let daemon = Daemon::start(&url).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    let (mut committed, mut received) = (Committed::new(), Vec::new());

    // For sessions that begin from now on, too.
    cluster.limit_files(FULL_AT_BYTES);
    let mut refusals = Vec::new();
    for _ in 0..WRITERS {
        let writer = connect(&url).await.unwrap();
        refusals.push(fill(&writer, usize::MAX, &mut committed).await.expect("the disk is full in the end"));
        let order = writer.batch_execute("insert into orders values (1)").await;
        assert!(order.is_err() || refusals.len() == 1, "its event finds no room");
    }
    for refusal in &refusals {
        assert!(refusal.contains("could not extend file"), "{refusal}");
    }
    let filled = committed.len();
    let count = async |query: &str| session.query_one(query, &[]).await.unwrap().get::<_, i64>(0);
    let stored = count("select count(*) from tidings.events where channel = 'disk'").await;
    assert_eq!(usize::try_from(stored).unwrap(), filled, "a refused transaction leaves nothing");
    let orders = count("select count(*) from orders").await;
    let events = count("select count(*) from tidings.events where channel = 'orders'").await;
    assert_eq!(orders, events, "a change and its event go together");
    assert_eq!(readiness(&daemon.address).await.0, 200, "what is there can be read");

    read_to(&mut stream, *committed.last().unwrap(), &mut received).await;

    // Retention makes room: the cap counts what is stored, and a truncated file is a new one.
    session.batch_execute(REMOVE_OLDEST).await.unwrap();
    let done = session.query_one("select tidings.maintain() ->> 'size_cap'", &[]).await.unwrap();
    assert!(done.get::<_, &str>(0).starts_with("removed slot"), "{done:?}");
    let writer = connect(&url).await.unwrap();
    assert_eq!(fill(&writer, 100, &mut committed).await, None, "there is room again");
    cluster.limit_files("unlimited");
    let writer = connect(&url).await.unwrap();
    assert_eq!(fill(&writer, 100, &mut committed).await, None);
    read_to(&mut stream, *committed.last().unwrap(), &mut received).await;

    let distinct: BTreeSet<i64> = received.iter().copied().collect();
    let (missing, foreign) =
        (committed.difference(&distinct).count(), distinct.difference(&committed).count());
    let duplicate = received.len() - distinct.len();
    println!("{}", refusals[0]);
    println!(
        "full after {filled} events: {} events, {} delivered, {missing} missing, {duplicate} duplicate, {foreign} foreign, \
         0 declared gaps",
        committed.len(),
        received.len()
    );
    assert_eq!((missing, duplicate, foreign), (0, 0, 0));
}
