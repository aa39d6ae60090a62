//! A day of retention in less than a minute: slots turn over every two seconds while everybody is at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::client::{Habit, run};
use super::forgetful;
use crate::streaming::exactly_once::{LAST_ROW, SETUP, connect, transaction};
use crate::support::cluster::Cluster;
use crate::support::within;

/// How long a slot of the ring is written, which is the retention.
const SLOT: Duration = Duration::from_secs(2);

/// Slots of the day.
const SLOTS: u32 = 24;

const WRITERS: u64 = 24;

/// A lock that somebody waits for longer than 50 ms is logged. Whatever bloats is vacuumed as everywhere, only sooner.
const SETTINGS: &str =
    "-c log_lock_waits=on -c deadlock_timeout=50ms -c autovacuum=on -c autovacuum_naptime=1s";

/// What clients leave behind in the meantime: reservations and kicks that expire, nodes that are silent.
const LEFT_BEHIND: &str = "
    with made as (
        insert into tidings.connections (token_hash, principal, expires_at)
        select sha256((clock_timestamp()::text || n)::bytea), 'ada', now() + interval '1 s' from generate_series(1, 100) n
        returning token_hash)
    insert into tidings.documents (token_hash, operation_id, number, query, bytes)
    select token_hash, '1', 1, repeat('q', 500), 500 from made;
    insert into tidings.revocations (user_id, expires_at)
    select 'u' || n, now() + interval '1 s' from generate_series(1, 100) n;
    with made as (
        insert into tidings.nodes (node, seen_at)
        select clock_timestamp()::text || n, now() - interval '59 s' from generate_series(1, 10) n returning node)
    insert into tidings.node_connections (connection_id, node, transport, subscriptions, since)
    select node || n, node, 'sse', '[]', now() from made, generate_series(1, 20) n";

/// Sizes in KiB: of events with their indexes and the toast, of the rest, and of the catalogs that TRUNCATE writes.
const SIZES: &str = "
    select tidings.events_size() / 1024,
        (select sum(pg_total_relation_size(t)) / 1024 from unnest(array['tidings.snapshot_log', 'tidings.connections',
            'tidings.documents', 'tidings.revocations', 'tidings.nodes', 'tidings.node_connections',
            'tidings.retention_floor']::regclass[]) t)::bigint,
        (select sum(pg_total_relation_size(t)) / 1024 from unnest(array['pg_class', 'pg_attribute', 'pg_depend',
            'pg_statistic']::regclass[]) t)::bigint";

/// One look at the sizes.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    events: i64,
    upkeep: i64,
    catalogs: i64,
}

async fn look(client: &tokio_postgres::Client) -> Sizes {
    let row = client.query_one(SIZES, &[]).await.unwrap();
    Sizes { events: row.get(0), upkeep: row.get(1), catalogs: row.get(2) }
}

/// Looks once per slot, after what others leave behind has been left; the looks in their order.
async fn look_on(url: &str) -> Vec<Sizes> {
    let client = connect(url).await.unwrap();
    let mut looks = Vec::new();
    // Slots turn over with the clock.
    let mut turn = tokio::time::interval(SLOT);
    for _ in 0..SLOTS {
        turn.tick().await;
        client.batch_execute(LEFT_BEHIND).await.unwrap();
        looks.push(look(&client).await);
    }
    looks
}

/// Writes at a pace that clients on a busy machine can follow: what they miss they shall miss by being away.
async fn write_until(over: Instant, url: String, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let client = connect(&url).await.unwrap();
    while Instant::now() < over {
        client.batch_execute(&transaction(seed, &mut random)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..600))).await;
    }
}

/// Waits for locks of the slots that the server logged because they were long.
fn long_waits(log: &str, slots: &[u32]) -> Vec<String> {
    let of_slot =
        |line: &&str| slots.iter().any(|oid| line.contains(&format!("on relation {oid} of database")));
    log.lines().filter(|line| line.contains("still waiting for")).filter(of_slot).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_retention_stalls_nobody_hides_no_gap_and_leaves_no_bloat() {
    let cluster = Cluster::start_with(SETTINGS, Vec::new());
    let url = cluster.url("postgres");
    let session = connect(&url).await.unwrap();
    session.batch_execute(SETUP).await.unwrap();
    session.batch_execute("alter database postgres set tidings.retention = '2s'").await.unwrap();
    let daemon = Arc::new(forgetful(&url).start().await);
    let away = |seconds, results_max| Some(Habit { results_max, away_max: Duration::from_secs(seconds) });
    let habits = [None, None, away(1, 2_000), away(1, 500), away(3, 2_000), away(6, 1_000), away(12, 100)];
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = habits
        .into_iter()
        .enumerate()
        .map(|(seed, habit)| {
            let (daemon, is_over) = (daemon.clone(), is_over.clone());
            tokio::spawn(async move { run(&daemon, seed as u64, habit, &is_over).await })
        })
        .collect();
    within("the clients' first subscriptions", async {
        while daemon.metric("tidings_subscriptions ").await != habits.len().to_string() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let over = Instant::now() + SLOT * SLOTS;
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write_until(over, url.clone(), seed))).collect();
    let looks = look_on(&url).await;
    for writer in writers {
        writer.await.unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    // Whoever is still away has a day to come back to the last row.
    session.batch_execute("alter database postgres set tidings.retention = '1d'").await.unwrap();
    session.execute("update counters set version = version + 1 where id = $1", &[&LAST_ROW]).await.unwrap();
    let rows = session.query("select id, version from counters", &[]).await.unwrap();
    let versions: BTreeMap<i32, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let mut gaps = Vec::new();
    for client in clients {
        let history = within("a client's end", client).await.unwrap();
        history.reconcile(&versions);
        gaps.push(history.gaps());
    }

    let removed: u32 = daemon.metric("tidings_slots_removed_total").await.parse().unwrap();
    let (first, middle, last) = (looks[3], looks[looks.len() / 2], looks[looks.len() - 1]);
    println!("{SLOTS} slots in turn, {removed} emptied");
    for (when, sizes) in [("beginning", first), ("middle", middle), ("end", last)] {
        let Sizes { events, upkeep, catalogs } = sizes;
        println!("{when}: events {events} KiB, other tables {upkeep} KiB, catalogs {catalogs} KiB");
    }
    assert!(removed >= SLOTS / 2, "slots are emptied in turn");
    let slots = session
        .query("select format('tidings.events_%s', n)::regclass::oid from generate_series(0, 2) n", &[]);
    let slots: Vec<u32> = slots.await.unwrap().iter().map(|row| row.get(0)).collect();
    let waits = long_waits(&cluster.log(), &slots);
    println!("locks of slots waited for longer than 50 ms: {}", waits.len());
    // On a machine that has more to do than it can any process may stand still with a lock for 50 ms, now and then.
    assert!(waits.len() <= removed as usize / 4, "{waits:#?}");

    let most = |looks: &[Sizes], size: fn(&Sizes) -> i64| looks.iter().map(size).max().unwrap();
    let (early, late) = looks[3..].split_at(looks.len() / 2);
    for size in [(|it| it.events) as fn(&Sizes) -> i64, |it| it.upkeep, |it| it.catalogs] {
        let (before, after) = (most(early, size), most(late, size));
        assert!(after <= before * 3 / 2 + 512, "{before} KiB have become {after} KiB: {looks:#?}");
    }
    assert!(gaps[6] > 0, "who stays away for longer than events are kept is told so");
}
