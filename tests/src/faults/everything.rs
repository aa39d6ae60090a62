//! Daemons, database and network fail, one after the other, while many write and clients come and go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;

use super::Sizes;
use super::client::{Client, Counts};
use super::ledger::{Ledger, Totals};
use super::nodes::Nodes;
use super::workload::{SETUP, Writers};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::{Cluster, signal};
use crate::support::within;

/// Results for each client, on average, between two faults.
const RESULTS_BETWEEN: usize = 100;

/// Time for all faults of a round.
const ROUND_TIME_MAX: Duration = Duration::from_secs(300);

/// A round of faults; each waits until the clients have received some more.
async fn go_wrong(cluster: &Cluster, nodes: &Nodes, counts: &Counts, clients: u64) {
    let some = clients as usize * RESULTS_BETWEEN;
    // More than have to notice that a node is silent: some may just be about to leave it.
    let listeners = (clients as usize / 3).max(3);
    let (one, other) = (nodes.node(0), nodes.node(1));
    counts.more(some).await;
    one.kill().await;
    counts.more(some).await;
    counts.streams(1, listeners).await;
    other.freeze(counts).await;
    counts.more(some).await;
    crash_with_reused_xids(cluster).await;
    counts.more(some).await;
    other.clients.cut();
    one.database.cut();
    counts.more(some).await;
    cluster.kill();
    cluster.pg_ctl("start");
    counts.more(some).await;
    counts.streams(0, listeners).await;
    one.clients.swallow();
    within("clients that give up a silent network", counts.stalls(2)).await;
    one.clients.heal();
    counts.more(some).await;
    counts.streams(1, listeners).await;
    other.database.swallow();
    within("clients that give up a daemon without a database", counts.stalls(2)).await;
    other.database.heal();
    counts.more(some).await;
    other.kill().await;
    counts.more(some).await;
    cluster.pg_ctl("restart");
    one.kill().await;
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
async fn whatever_fails_every_client_has_everything_once() {
    let sizes = Sizes::get();
    let began = Instant::now();
    let cluster = Arc::new(Cluster::start());
    let url = cluster.url("postgres");
    connect(&url).await.unwrap().batch_execute(SETUP).await.unwrap();
    let nodes = Arc::new(Nodes::start(cluster.port).await);
    let started = Arc::new(Barrier::new(sizes.clients as usize + 1));
    let counts = Arc::new(Counts::default());
    let clients: Vec<_> = (0..sizes.clients)
        .map(|seed| tokio::spawn(Client::new(seed, nodes.clone(), counts.clone()).run(started.clone())))
        .collect();
    started.wait().await;
    let writers = Writers::start(&url, sizes.writers, sizes.pace());
    for _ in 0..sizes.rounds {
        let faults = go_wrong(&cluster, &nodes, &counts, sizes.clients);
        tokio::time::timeout(ROUND_TIME_MAX, faults).await.expect("everything has gone wrong by then");
    }
    writers.finish(&url).await;
    let mut ledger = Ledger::open(&url).await;
    let mut sum = Totals::default();
    for (number, client) in clients.into_iter().enumerate() {
        let client = counts.end_of(number, client).await;
        let [part] = &client.parts[..] else { panic!("nothing was lost, so nobody may be told so") };
        let totals = ledger.reconcile(&client.name, client.tenant, &part.received, None, 0).await;
        sum.expected += totals.expected;
        sum.delivered += totals.delivered;
    }
    let count = |counted: &std::sync::atomic::AtomicUsize| counted.load(Ordering::Relaxed);
    println!(
        "{} writers, {} clients, {} connections, {} of them broken by a fault, {} by silence: {} deliveries expected, \
         {} delivered, {} declared gaps, {:.0?}",
        sizes.writers,
        sizes.clients,
        count(&counts.connections),
        count(&counts.broken),
        count(&counts.stalled),
        sum.expected,
        sum.delivered,
        count(&counts.gaps),
        began.elapsed(),
    );
    assert!(count(&counts.broken) >= sizes.clients as usize, "the faults have to be felt");
}
