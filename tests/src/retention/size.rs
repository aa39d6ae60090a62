//! The size cap, reached while everybody writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::run;
use super::forgetful;
use crate::streaming::exactly_once::{LAST_ROW, SETUP, connect, transaction};
use crate::support::database::{Database, Session};
use crate::support::within;

const WRITERS: u64 = 12;

/// Time in which the cap is exceeded several times over.
const TIME: Duration = Duration::from_secs(10);

async fn set(session: &Session, setting: &str, value: &str) {
    let database = session.line("select current_database()").await;
    session.run(&format!("alter database {database} set {setting} = '{value}'")).await;
}

/// Calls maintenance every now and then; the largest size that it found, and how often it removed a slot.
async fn maintain(database: &Database, over: Instant) -> (i64, u32) {
    let session = database.connect().await;
    session.run("load 'tidings'; set client_min_messages = error").await;
    let (mut largest, mut removals) = (0, 0);
    while Instant::now() < over {
        largest = largest.max(session.line("select tidings.events_size()").await.parse().unwrap());
        let done = session.line("select tidings.maintain() ->> 'size_cap'").await;
        removals += u32::from(done.starts_with("removed"));
        // As a scheduler calls it: by the clock.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    (largest, removals)
}

/// Short transactions: as long as one is open that has written into it, a slot cannot be emptied.
async fn write(over: Instant, conninfo: String, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let client = connect(&conninfo).await.unwrap();
    while Instant::now() < over {
        let script = transaction(seed, &mut random);
        if !script.contains("pg_sleep") {
            client.batch_execute(&script).await.unwrap();
        }
        // At a pace that clients on a busy machine can follow.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn above_the_size_cap_the_oldest_events_go_while_writers_write_and_everybody_is_told() {
    let database = Database::empty().await;
    let session = database.connect().await;
    session.run(SETUP).await;
    session.run("alter table counters add column padding text default repeat('x', 1000)").await;
    set(&session, "tidings.max_size", "1MB").await;
    set(&session, "tidings.size_cap_action", "remove_oldest").await;
    let daemon = forgetful(&database.conninfo()).start().await;
    let (daemon, is_over) = (Arc::new(daemon), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..3)
        .map(|seed| {
            let (daemon, is_over) = (daemon.clone(), is_over.clone());
            tokio::spawn(async move { run(&daemon, seed, None, &is_over).await })
        })
        .collect();
    within("the clients' first subscriptions", async {
        while daemon.metric("tidings_subscriptions ").await != "3" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let over = Instant::now() + TIME;
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write(over, database.conninfo(), seed))).collect();
    let (largest, removals) = maintain(&database, over).await;
    for writer in writers {
        writer.await.unwrap();
    }
    set(&session, "tidings.max_size", "0").await;
    is_over.store(true, Ordering::Relaxed);
    session.run(&format!("update counters set version = version + 1 where id = {LAST_ROW}")).await;
    let rows = session.query("select id, version from counters", &[]).await.unwrap();
    let versions: BTreeMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for client in clients {
        within("a client's end", client).await.unwrap().reconcile(&versions);
    }
    println!("{removals} removals at a cap of 1024 KiB; the largest size was {} KiB", largest / 1024);
    assert!(removals > 0, "the slot that is being written can be emptied");
    assert!(largest < 8 << 20, "{largest}");
}
