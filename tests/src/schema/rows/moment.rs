//! The rows are exactly what the events of their moment make, whatever is written meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tidings_daemon::source::functions::CallError;
use tidings_daemon::source::rows::Moment;
use tokio::task::JoinHandle;

use super::{Setting, Taken};
use crate::support::database::{Session, within};

/// Concurrent writers, and the rows that all of them change.
const WRITERS: u64 = 8;
const ROWS: i32 = 60;

/// Reads while they write.
const READS: usize = 60;

const COUNTERS: &str = "
    create table counters (id int primary key, version bigint not null, note text);
    grant select on counters to READER;
    select attach_trigger('counters');
";

/// An event, as far as it matters.
struct Stored {
    id: i64,
    xid: u64,
    operation: String,
    row: Value,
}

async fn stored(session: &Session) -> Vec<Stored> {
    let query = "select id, xid::text, event_type, payload from tidings.events order by id";
    let events = session.query(query, &[]).await.unwrap();
    let stored = events.iter().map(|event| Stored {
        id: event.get(0),
        xid: event.get::<_, &str>(1).parse().unwrap(),
        operation: event.get(2),
        row: event.get(3),
    });
    stored.collect()
}

/// The rows after the events that belong to the moment.
fn rows_of(stored: &[Stored], moment: &Moment) -> BTreeMap<i64, Value> {
    let mut rows = BTreeMap::new();
    for event in stored {
        if event.id > moment.top || !moment.snapshot.sees(event.xid) {
            continue;
        }
        let id = event.row["id"].as_i64();
        match event.operation.as_str() {
            "TRUNCATE" => rows.clear(),
            "DELETE" => drop(rows.remove(&id.unwrap())),
            _ => drop(rows.insert(id.unwrap(), event.row.clone())),
        }
    }
    rows
}

fn by_id(rows: &[Taken]) -> BTreeMap<i64, Value> {
    rows.iter().map(Taken::json).map(|row| (row["id"].as_i64().unwrap(), row)).collect()
}

/// Runs transactions until told to stop: several changes each, some rolled back, some in part.
fn write(session: Session, seed: u64, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        while !stop.load(Ordering::Relaxed) {
            let mut statements = "begin;".to_owned();
            // In the order of the ids, so that writers do not wait for each other in a circle.
            let mut ids: Vec<i32> =
                (0..random.random_range(1..8)).map(|_| random.random_range(1..=ROWS)).collect();
            ids.sort_unstable();
            for id in ids {
                statements += &match random.random_range(0..4) {
                    0 => format!("delete from counters where id = {id};"),
                    1 => format!(
                        "savepoint s; update counters set version = -1 where id = {id}; rollback to s;"
                    ),
                    _ => format!(
                        "insert into counters values ({id}, 0, 'by {seed}')
                         on conflict (id) do update set version = counters.version + 1;"
                    ),
                };
            }
            statements += if random.random_ratio(1, 5) { "rollback" } else { "commit" };
            session.run(&statements).await;
            done.fetch_add(1, Ordering::Relaxed);
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_what_the_events_of_their_moment_make() {
    let setting = Setting::new(COUNTERS).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        writers.push(write(setting.database.connect().await, seed, stop.clone(), done.clone()));
    }
    // Its xid is older than all, and never seen until the end.
    let open = setting.database.connect().await;
    open.run("begin; insert into counters values (0, 0, 'open')").await;
    let mut reads = Vec::new();
    let mut last = 0;
    while reads.len() < READS {
        let read = setting.read_as(&setting.reader, "{}", "counters", Vec::new(), usize::MAX);
        reads.push(read.await.unwrap());
        // Something has been written between any two of them.
        within("a transaction of a writer", async {
            while done.load(Ordering::Relaxed) == last {
                tokio::task::yield_now().await;
            }
        })
        .await;
        last = done.load(Ordering::Relaxed);
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    open.run("commit").await;
    let read = setting.read_as(&setting.reader, "{}", "counters", Vec::new(), usize::MAX);
    reads.push(read.await.unwrap());

    let stored = stored(&setting.session).await;
    let history: i64 = setting.session.query_one("select tidings.history_id()", &[]).await.unwrap().get(0);
    let mut behind = 0;
    for (rows, moment) in &reads {
        assert_eq!(by_id(rows), rows_of(&stored, moment), "{moment:?}");
        assert!(rows.is_sorted_by_key(|row| row.json()["id"].as_i64()), "{rows:?}");
        assert_eq!(moment.history, history.cast_unsigned());
        behind += usize::from(stored.iter().any(|it| it.id <= moment.top && !moment.snapshot.sees(it.xid)));
    }
    println!("{} reads among {last} transactions, {behind} with an open one below top", reads.len());
    assert_eq!(behind, READS, "every read but the last had a transaction open");
    assert!(reads.last().unwrap().0.iter().any(|row| row.json()["note"] == "open"));
}

#[tokio::test]
async fn a_table_that_is_rewritten_or_truncated_after_the_snapshot_is_read_again() {
    let setting = Setting::new(COUNTERS).await;
    setting.run("insert into counters select n, n, 'x' from generate_series(1, 3) n").await;
    for change in [
        "alter table counters alter column version type numeric",
        "truncate counters; insert into counters values (7, 7, 'y')",
    ] {
        let other = setting.database.connect().await;
        other.run(&format!("begin; lock table counters; {change}")).await;
        let read = setting.read_as(&setting.reader, "{}", "counters", Vec::new(), usize::MAX);
        let release = async {
            // The read has its snapshot, and waits for the table.
            let waiting =
                "select count(*) from pg_locks where relation = 'counters'::regclass and not granted";
            within("a read that waits", async { while setting.session.line(waiting).await == "0" {} }).await;
            other.run("commit").await;
        };
        let (read, ()) = tokio::join!(read, release);
        let (rows, moment) = read.unwrap();
        let expected = rows_of(&stored(&setting.session).await, &moment);
        assert!(by_id(&rows).keys().eq(expected.keys()), "{change}: {rows:?} instead of {expected:?}");
        assert!(!rows.is_empty(), "{change}");
    }
}

#[tokio::test]
async fn the_highest_id_is_found_by_index() {
    let setting = Setting::new(COUNTERS).await;
    setting
        .run("insert into counters select n, n, 'x' from generate_series(1, 5000) n; analyze tidings.events")
        .await;
    let plan =
        setting.session.lines("explain (costs off) select coalesce(max(id), 0) from tidings.events").await;
    let plan = plan.join("\n");
    assert_eq!(plan.matches("Index Only Scan Backward").count(), 3, "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
    let read = setting.read_as(&setting.reader, "{}", "counters", Vec::new(), 1);
    assert_eq!(
        read.await.unwrap().1.top.to_string(),
        setting.session.line("select max(id) from tidings.events").await
    );
}

#[tokio::test]
async fn a_read_that_takes_too_long_is_given_up() {
    let setting = Setting::new(COUNTERS).await;
    setting.run("insert into counters select n, n, 'x' from generate_series(1, 10000) n").await;
    let other = setting.database.connect().await;
    other.run("begin; lock table counters").await;
    assert_eq!(setting.refusal("counters").await, CallError::Timeout, "the table is locked");
    other.run("rollback").await;
    // No page is too slow, but all of them are.
    setting
        .run(
            "alter table counters enable row level security;
             create policy slow on counters using (pg_sleep(0.001) is not null)",
        )
        .await;
    let began = Instant::now();
    assert_eq!(setting.refusal("counters").await, CallError::Timeout);
    assert!(began.elapsed() < Duration::from_secs(5), "10 s would be all of it: {:?}", began.elapsed());
    setting.run("drop policy slow on counters; create policy all_rows on counters using (true)").await;
    assert_eq!(setting.rows("counters").await.len(), 10_000, "the connections go on");
}
