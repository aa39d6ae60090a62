//! Every committed event exactly once, each row's events in order, whatever the writers do.

use std::collections::{BTreeMap, HashSet};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

/// Concurrent writers.
const WRITERS: u64 = 24;

/// Transactions of each writer, and the most row changes in each.
const TRANSACTIONS: u32 = 90;
const CHANGES_MAX: u32 = 30;

/// Rows that all of them change.
const ROWS: i32 = 40;

/// The row whose change says that everything else has been written.
pub(crate) const LAST_ROW: i32 = -1;

pub(crate) const SETUP: &str = "
    create extension tidings;
    create table counters (id int primary key, version bigint not null default 0, tenant text default 'acme');
    insert into counters select generate_series(1, 40) union all select generate_series(100, 123)
        union all select -1 union all select -2;
    select attach_trigger('counters', type_name => 'Counter', tenant_column => 'tenant');
";

pub(crate) const QUERY: &str = "subscription { counterUpdated { id version } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writers_reach_both_transports_exactly_once_and_in_row_order() {
    run(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_in_the_middle_loses_and_repeats_nothing() {
    run(true).await;
}

async fn run(restart: bool) {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    connect(&url).await.unwrap().batch_execute(SETUP).await.unwrap();
    let daemon = Daemon::start(&url).await;
    let sse = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    let mut socket = Socket::open(&daemon, &token("bob", "acme")).await;
    socket.subscribe("1", QUERY).await;
    let sse = tokio::spawn(read_sse(sse));
    let socket = tokio::spawn(read_socket(socket));

    // Open from before the first event until every other has arrived; a restart would end it.
    let open = connect(&url).await.unwrap();
    if !restart {
        open.batch_execute("begin; update counters set version = version + 1 where id = -2").await.unwrap();
    }
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write(url.clone(), seed, TRANSACTIONS))).collect();
    if restart {
        wait_for_events(&url, 5_000).await;
        cluster.pg_ctl("restart");
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let client = connect(&url).await.unwrap();
    client.execute("update counters set version = version + 1 where id = $1", &[&LAST_ROW]).await.unwrap();

    let query = "select (payload->>'id')::int, (payload->>'version')::bigint from tidings.events order by id";
    let rows = client.query(query, &[]).await.unwrap();
    let stored: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let enough = if restart { 5_000 } else { 20_000 };
    assert!(stored.len() >= enough, "only {} events", stored.len());
    for (transport, received) in [("SSE", sse.await.unwrap()), ("WebSocket", socket.await.unwrap())] {
        reconcile(transport, &stored, &received);
    }
    if !restart {
        open.batch_execute("commit").await.unwrap();
    }
}

/// Prints the line that says what was delivered, and fails unless it is exactly what was stored.
pub(crate) fn reconcile(transport: &str, stored: &[(i32, i64)], received: &[(i32, i64)]) {
    let expected: HashSet<_> = stored.iter().copied().collect();
    let distinct: HashSet<_> = received.iter().copied().collect();
    let missing = expected.difference(&distinct).count();
    let foreign = distinct.difference(&expected).count();
    let duplicate = received.len() - distinct.len();
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    let disordered =
        received.iter().filter(|(id, version)| last.insert(*id, *version) >= Some(*version)).count();
    println!(
        "{transport}: {} events, {} delivered, {missing} missing, {duplicate} duplicate, {foreign} foreign, \
         {disordered} out of order",
        stored.len(),
        received.len()
    );
    assert_eq!((missing, duplicate, foreign, disordered), (0, 0, 0, 0), "{transport}");
}

async fn read_sse(mut stream: Sse) -> Vec<(i32, i64)> {
    let mut received = Vec::new();
    while !take(&stream.next().await, &mut received) {}
    received
}

async fn read_socket(mut socket: Socket) -> Vec<(i32, i64)> {
    let mut received = Vec::new();
    while !take(&socket.next().await, &mut received) {}
    received
}

/// Records a result; true if it was the last.
pub(crate) fn take(result: &Value, received: &mut Vec<(i32, i64)>) -> bool {
    let row = &result["data"]["counterUpdated"];
    let id = i32::try_from(row["id"].as_i64().unwrap_or_else(|| panic!("{result}"))).unwrap();
    received.push((id, row["version"].as_str().unwrap().parse().unwrap()));
    id == LAST_ROW
}

/// Runs one writer for so many transactions.
pub(crate) async fn write(url: String, seed: u64, transactions: u32) {
    let mut left = transactions;
    let goes_on = || std::future::ready(left.checked_sub(1).inspect(|less| left = *less).is_some());
    write_while(url, seed, goes_on).await;
}

/// Runs one writer: transactions of several changes, some rolled back, some in part, some slow.
/// When the server goes away the transaction under way is given up; the table tells what became of it.
pub(crate) async fn write_while<F: Future<Output = bool>>(
    url: String,
    seed: u64,
    mut goes_on: impl FnMut() -> F,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut client = connect(&url).await;
    while goes_on().await {
        let script = transaction(seed, &mut random);
        loop {
            match &client {
                Ok(connected) if !connected.is_closed() => {
                    let done = connected.batch_execute(&script).await;
                    if let Err(error) = &done
                        && let Some(database) = error.as_db_error()
                    {
                        assert!(database.code().code().starts_with("57"), "{error}");
                    }
                    break;
                }
                _ => {
                    tokio::task::yield_now().await;
                    client = connect(&url).await;
                }
            }
        }
    }
}

/// One transaction of a writer.
pub(crate) fn transaction(writer: u64, random: &mut StdRng) -> String {
    let mut script = String::from("begin;");
    // Rows in ascending order, so that writers wait for each other but never in a circle.
    let mut rows: Vec<i32> =
        (0..random.random_range(1..=CHANGES_MAX)).map(|_| random.random_range(1..=ROWS)).collect();
    rows.sort_unstable();
    if random.random_ratio(1, 12) {
        // Open for a while with a change made and not committed, on a row that nobody else waits for.
        let slow = format!("update counters set version = version + 1 where id = {};", 100 + writer);
        script.push_str(&format!("{slow} select pg_sleep({:.2}); {slow}", random.random_range(0.1..2.0)));
        rows.clear();
    }
    for row in rows {
        let change = format!("update counters set version = version + 1 where id = {row};");
        match random.random_range(0..10) {
            0 => script.push_str(&format!("savepoint s; {change} rollback to s;")),
            1 => script.push_str(&format!("savepoint s; {change} release s;")),
            _ => script.push_str(&change),
        }
    }
    script.push_str(if random.random_ratio(1, 10) { "rollback" } else { "commit" });
    script
}

async fn wait_for_events(url: &str, count: i64) {
    let client = connect(url).await.unwrap();
    within("enough events", async {
        loop {
            let row = client.query_one("select count(*) from tidings.events", &[]).await.unwrap();
            if row.get::<_, i64>(0) >= count {
                return;
            }
        }
    })
    .await;
}

pub(crate) async fn connect(url: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
