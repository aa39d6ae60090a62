//! Nodes agree on every cursor: one of a stream on which nothing happens names the same set elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidings_daemon::source::cursor::Cursor;

use crate::streaming::exactly_once::connect;
use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;
use crate::support::sse::Sse;

const WRITERS: u64 = 8;
const TURNS: usize = 60;

const QUIET: &str = r#"subscription { events(channel: "quiet") { id } }"#;
const BUSY: &str = r#"subscription { events(channel: "busy") { id } }"#;

/// Publishes in transactions of which some stay open for a while, so that sets have holes.
async fn publish(conninfo: String, seed: u64, stop: Arc<AtomicBool>) {
    let mut random = StdRng::seed_from_u64(seed);
    let session = connect(&conninfo).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        let event = "select publish_event('busy', 'e', '{}');";
        // Transactions stay open beside each other, so that they commit in another order than they drew their ids in.
        let pause = random.random_range(0.0..0.05);
        let end = if random.random_ratio(1, 8) { "rollback" } else { "commit" };
        session
            .batch_execute(&format!("begin; {event} select pg_sleep({pause}); {event} {end}"))
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_of_an_idle_stream_means_the_same_on_every_node() {
    let database = Database::new().await;
    let nodes = [Daemon::start(&database.conninfo()).await, Daemon::start(&database.conninfo()).await];
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(publish(database.conninfo(), seed, stop.clone()))).collect();
    let ann = token("ann", "acme");
    let mut visits = Vec::new();
    for turn in 0..TURNS {
        let (here, there) = (&nodes[turn % 2], &nodes[(turn + 1) % 2]);
        let idle = Sse::open(here, &ann, QUIET).await;
        let start = idle.last_id().expect("the cursor at the start of a stream");
        let mut stream = Sse::resume(there, &ann, BUSY, &start).await;
        let (mut received, mut end) = (Vec::new(), String::new());
        for _ in 0..turn % 40 + 1 {
            let result = stream.next().await;
            received.push(result["data"]["events"]["id"].as_str().unwrap().parse::<i64>().unwrap());
            end = result["extensions"]["cursor"].as_str().unwrap().to_owned();
        }
        visits.push((Cursor::decode(&start).unwrap(), Cursor::decode(&end).unwrap(), received));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let session = connect(&database.conninfo()).await.unwrap();
    let rows = session.query("select id, xid::text from tidings.events", &[]).await.unwrap();
    let stored: Vec<(i64, u64)> =
        rows.iter().map(|row| (row.get(0), row.get::<_, &str>(1).parse().unwrap())).collect();
    let (mut delivered, mut holes) = (0, 0);
    for (start, end, mut received) in visits {
        let between = |(id, xid): &&(i64, u64)| end.contains(*id, *xid) && !start.contains(*id, *xid);
        let mut expected: Vec<i64> = stored.iter().filter(between).map(|(id, _)| *id).collect();
        expected.sort_unstable();
        received.sort_unstable();
        assert_eq!(received, expected, "{start:?} to {end:?}");
        delivered += received.len();
        holes += usize::from(!start.seen.in_progress().is_empty());
    }
    println!(
        "{TURNS} cursors of idle streams taken to the other node, {holes} with transactions open: {} events, {delivered} \
         deliveries expected, {delivered} delivered, 0 missing, 0 duplicate, 0 foreign",
        stored.len()
    );
    assert!(holes > TURNS / 2, "only {holes} sets with holes");
}
