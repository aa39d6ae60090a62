//! Rows and changes together are the table, whatever is written meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, token_of};
use crate::support::database::{Database, Session};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

/// Concurrent writers.
const WRITERS: u64 = 24;

/// Subscriptions, begun one after the other while the writers write; half of them over each transport.
const SUBSCRIPTIONS: usize = 60;

/// Rows that all writers change.
const ROWS: i32 = 200;

/// The row whose insertion says that everything else has been written.
const LAST: i64 = -1;

const SETUP: &str = "
    create table counters (id int primary key, version bigint not null default 1, tenant text default 'acme', text text);
    insert into counters select generate_series(1, 150);
    grant select on counters to READER;
    select attach_trigger('counters', type_name => 'Counter', tenant_column => 'tenant')";

const QUERY: &str =
    "subscription { counterChanged(filter: {id: {lte: 1000}}) @initial { operation record { id version } } }";

/// What a subscription has been told: version by id. Panics where that cannot have happened.
#[derive(Default)]
struct Mirror {
    rows: BTreeMap<i64, i64>,
    initial: usize,
    changes: usize,
}

impl Mirror {
    /// Takes a result; false if it is the last.
    fn take(&mut self, result: &Value) -> bool {
        let change = &result["data"]["counterChanged"];
        let id = change["record"]["id"].as_i64().unwrap_or_else(|| panic!("{result}"));
        let version: i64 = change["record"]["version"].as_str().unwrap().parse().unwrap();
        if id == LAST {
            return false;
        }
        let before = match change["operation"].as_str().unwrap() {
            "INITIAL" => {
                assert_eq!(self.changes, 0, "rows come before changes: {result}");
                self.initial += 1;
                let before = self.rows.insert(id, version);
                assert_eq!(before, None, "a row comes once: {result}");
                return true;
            }
            "INSERT" => {
                self.rows.insert(id, version).map_or(version, |there| panic!("{there} is there: {result}"))
            }
            "UPDATE" => self.rows.insert(id, version).map(|before| before + 1).unwrap_or_default(),
            "DELETE" => self.rows.remove(&id).unwrap_or_default(),
            other => panic!("{other}: {result}"),
        };
        assert_eq!(before, version, "no change is missing and none comes twice: {result}");
        self.changes += 1;
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_and_changes_are_exactly_the_table_under_24_writers() {
    let database = Database::new().await;
    let session = database.connect().await;
    let reader = database.role().await;
    session.run(&SETUP.replace("READER", &reader)).await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &reader).start().await;
    let token = token_of(json!({"sub": "a", "tenant_id": "acme", "role": reader}), Duration::from_secs(600));

    let over = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for seed in 0..WRITERS {
        writers.push(tokio::spawn(write(database.connect().await, seed, over.clone())));
    }
    // Open from before the first subscription until after the last has begun: its changes are in no snapshot.
    let long = database.connect().await;
    long.run("begin; update counters set version = version + 1 where id between 101 and 105").await;

    let mut readers = Vec::new();
    for number in 0..SUBSCRIPTIONS {
        if number % 2 == 0 {
            let mut stream = Sse::open(&daemon, &token, QUERY).await;
            readers.push(tokio::spawn(async move {
                let mut mirror = Mirror::default();
                while mirror.take(&stream.next().await) {}
                mirror
            }));
        } else {
            let mut socket = Socket::open(&daemon, &token).await;
            socket.send(json!({"type": "subscribe", "id": "1", "payload": {"query": QUERY}})).await;
            readers.push(tokio::spawn(async move {
                let mut mirror = Mirror::default();
                while mirror.take(&socket.next().await) {}
                mirror
            }));
        }
    }
    long.run("commit").await;
    over.store(true, Ordering::Relaxed);
    let mut committed = 0;
    for writer in writers {
        committed += writer.await.unwrap();
    }
    session.run(&format!("insert into counters values ({LAST})")).await;
    let table: BTreeMap<i64, i64> = session
        .lines(&format!("select id || ' ' || version from counters where id <> {LAST}"))
        .await
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(id, version)| (id.parse().unwrap(), version.parse().unwrap()))
        .collect();
    let (mut rows, mut changes) = (0, 0);
    for reader in readers {
        let mirror = reader.await.unwrap();
        assert_eq!(mirror.rows, table);
        rows += mirror.initial;
        changes += mirror.changes;
    }
    assert!(rows > 0 && changes > 0);
    println!(
        "{SUBSCRIPTIONS} subscriptions began under {WRITERS} writers ({committed} transactions committed): \
         {rows} rows and {changes} changes, each mirror is the table"
    );
}

/// Transactions with savepoints and rollbacks until it is over; how many were committed.
async fn write(session: Session, seed: u64, over: Arc<AtomicBool>) -> u32 {
    let mut random = StdRng::seed_from_u64(seed);
    let mut committed = 0;
    while !over.load(Ordering::Relaxed) {
        let mut statements = String::from("begin;");
        // In ascending order, so that no two writers wait for each other.
        let mut ids: Vec<i32> =
            (0..random.random_range(1..8)).map(|_| random.random_range(1..=ROWS)).collect();
        ids.retain(|id| !(101..=105).contains(id));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            statements.push_str(&match random.random_range(0..10) {
                0 => format!("delete from counters where id = {id};"),
                1..4 => format!("insert into counters values ({id}) on conflict do nothing;"),
                4 => format!(
                    "savepoint s; update counters set version = version + 1 where id = {id}; rollback to s;"
                ),
                _ => format!("update counters set version = version + 1 where id = {id};"),
            });
        }
        if random.random_range(0..10) == 0 {
            statements.push_str("select pg_sleep(0.05);");
        }
        let commits = random.random_range(0..5) > 0;
        statements.push_str(if commits { "commit" } else { "rollback" });
        session.run(&statements).await;
        committed += u32::from(commits);
    }
    committed
}
