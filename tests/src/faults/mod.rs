//! Everything goes wrong at once, and every client's history is reconciled with the table.

mod client;

mod nodes;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use client::{Client, Counts};
use nodes::Nodes;
use tokio::sync::Barrier;

use crate::streaming::exactly_once::{LAST_ROW, SETUP, connect, reconcile, write};
use crate::support::cluster::{Cluster, signal};
use crate::support::within;

const WRITERS: u64 = 24;
const CLIENTS: u64 = 12;
/// Transactions of each writer.
const TRANSACTIONS: u32 = 40;

/// The order in which things go wrong; each waits until the clients have received some more.
async fn go_wrong(cluster: &Cluster, nodes: &Nodes, counts: &Counts) {
    counts.more(4_000).await;
    nodes.kill(0).await;
    counts.more(4_000).await;
    nodes.freeze(1, counts).await;
    counts.more(4_000).await;
    crash_with_reused_xids(cluster).await;
    counts.more(2_000).await;
    nodes.kill(1).await;
    counts.more(2_000).await;
    cluster.pg_ctl("restart");
    nodes.kill(0).await;
}

/// Transactions whose WAL has not been flushed give their xids to those after the crash.
async fn crash_with_reused_xids(cluster: &Cluster) {
    let client = connect(&cluster.url("postgres")).await.unwrap();
    let query = "select pid::text from pg_stat_activity where backend_type = 'walwriter'";
    let walwriter: String = client.query_one(query, &[]).await.unwrap().get(0);
    signal("STOP", &walwriter);
    for _ in 0..40 {
        client.batch_execute("begin; select pg_current_xact_id(); rollback").await.unwrap();
    }
    let backend: String = client.query_one("select pg_backend_pid()::text", &[]).await.unwrap().get(0);
    signal("KILL", &backend);
    signal("KILL", &walwriter);
    within("the server's recovery", async {
        while client.batch_execute("select 1").await.is_ok()
            || connect(&cluster.url("postgres")).await.is_err()
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_every_client_has_everything_once() {
    let cluster = Arc::new(Cluster::start());
    let url = cluster.url("postgres");
    connect(&url).await.unwrap().batch_execute(SETUP).await.unwrap();
    let nodes = Arc::new(Nodes::start(&url).await);
    let (started, counts) = (Arc::new(Barrier::new(CLIENTS as usize + 1)), Arc::new(Counts::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| {
            let client = Client::new(seed, nodes.clone(), counts.clone());
            tokio::spawn(client.run(started.clone()))
        })
        .collect();
    started.wait().await;
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write(url.clone(), seed, TRANSACTIONS))).collect();
    let faults = go_wrong(&cluster, &nodes, &counts);
    tokio::time::timeout(Duration::from_secs(300), faults).await.expect("everything has gone wrong by then");
    for writer in writers {
        writer.await.unwrap();
    }
    let session = connect(&url).await.unwrap();
    session.execute("update counters set version = version + 1 where id = $1", &[&LAST_ROW]).await.unwrap();
    let query = "select (payload->>'id')::int, (payload->>'version')::bigint from tidings.events order by id";
    let rows = session.query(query, &[]).await.unwrap();
    let stored: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for client in clients {
        let (name, received) = within("a client's end", client).await.unwrap();
        reconcile(&name, &stored, &received);
    }
    let count = |counted: &std::sync::atomic::AtomicUsize| counted.load(Ordering::Relaxed);
    println!(
        "{} events, {CLIENTS} clients, {} connections, {} of them broken by a fault, {} declared gaps",
        stored.len(),
        count(&counts.connections),
        count(&counts.broken),
        count(&counts.gaps)
    );
    assert!(count(&counts.broken) >= CLIENTS as usize, "the faults have to be felt");
    assert_eq!(count(&counts.gaps), 0, "nothing was lost, so nobody may be told so");
}
