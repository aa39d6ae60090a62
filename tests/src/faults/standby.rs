//! The primary goes, and its standby takes its place: with everything, or without what it had not received.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;

use super::Sizes;
use super::client::{Client, Counts, History, Part};
use super::ledger::{Ledger, Stored};
use super::nodes::{Nodes, whichever_takes_writes};
use super::workload::{SETUP, Writers};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::proxy::Proxy;
use crate::support::sse::Sse;
use crate::support::{STEP_TIME_MAX, within};

/// Results for each client, on average, between two steps.
const RESULTS_BETWEEN: usize = 100;

/// A primary with a standby, and who writes and reads there.
struct Scene {
    primary: Cluster,
    standby: Cluster,
    /// By which the standby follows.
    link: Proxy,
    /// Whichever of both takes writes.
    url: String,
    nodes: Arc<Nodes>,
    counts: Arc<Counts>,
    clients: Vec<JoinHandle<History>>,
    writers: Writers,
}

impl Scene {
    /// Everybody is at work. The daemons know the standby, or else are to be led to it.
    async fn begin(known: bool) -> Self {
        let sizes = Sizes::get();
        let primary = Cluster::start_primary();
        connect(&primary.url("postgres")).await.unwrap().batch_execute(SETUP).await.unwrap();
        let link = Proxy::to(primary.port).await;
        let standby = primary.standby_by(link.port());
        let nodes = Arc::new(if known {
            Nodes::start_with_standby(primary.port, standby.port).await
        } else {
            Nodes::start(primary.port).await
        });
        let started = Arc::new(Barrier::new(sizes.clients as usize + 1));
        let counts = Arc::new(Counts::default());
        let clients: Vec<_> = (0..sizes.clients)
            .map(|seed| tokio::spawn(Client::new(seed, nodes.clone(), counts.clone()).run(started.clone())))
            .collect();
        started.wait().await;
        let url = whichever_takes_writes(primary.port, standby.port);
        let writers = Writers::start(&url, sizes.writers, sizes.pace());
        let scene = Self { primary, standby, link, url, nodes, counts, clients, writers };
        scene.more().await;
        scene
    }

    async fn more(&self) {
        self.in_time("more results", self.counts.more(self.clients.len() * RESULTS_BETWEEN)).await;
    }

    /// As `within`, but many clients take their time.
    async fn in_time(&self, what: &str, work: impl Future<Output = ()>) {
        let time = STEP_TIME_MAX + Duration::from_secs(self.clients.len() as u64);
        tokio::time::timeout(time, work).await.unwrap_or_else(|_| panic!("{what} took longer than {time:?}"));
    }

    /// The standby takes over; returns once everybody has been told, and everything has been read.
    async fn promote(&mut self) -> Vec<History> {
        for node in self.nodes.all() {
            node.is_unready_because("standby").await;
        }
        self.standby.pg_ctl("promote");
        self.in_time("everybody to be told", self.counts.gaps(self.clients.len())).await;
        self.more().await;
        std::mem::replace(&mut self.writers, Writers::none()).finish(&self.url).await;
        let mut histories = Vec::new();
        for (number, client) in self.clients.drain(..).enumerate() {
            histories.push(self.counts.end_of(number, client).await);
        }
        histories
    }
}

/// What was received before and after the one gap that there was.
fn halves(history: &History) -> [&Part; 2] {
    let [before, after] = &history.parts[..] else {
        panic!("{}: {} gaps", history.name, history.parts.len() - 1)
    };
    [before, after]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_promotion_everybody_is_told_and_finds_everything() {
    let mut scene = Scene::begin(true).await;
    // It waits until the standby has everything.
    scene.primary.pg_ctl("stop");
    let histories = scene.promote().await;
    let mut ledger = Ledger::open(&scene.standby.url("postgres")).await;
    let events = ledger.events().await;
    for history in &histories {
        let [before, after] = halves(history);
        for (part, when, is_last) in [(before, "before", false), (after, "after", true)] {
            let name = format!("{}, {when} the promotion", history.name);
            let covered = part.covers(&events, is_last);
            ledger.reconcile(&name, history.tenant, &part.received, Some(&covered), 1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_promotion_that_loses_transactions_everybody_is_told_and_misses_nothing_new() {
    let mut scene = Scene::begin(false).await;
    // What is written from now on reaches the clients and not the standby.
    scene.link.swallow();
    scene.more().await;
    scene.more().await;
    scene.primary.kill();
    scene.link.cut();
    for node in scene.nodes.all() {
        node.database.lead_to(scene.standby.port);
    }
    let histories = scene.promote().await;
    let mut new = Ledger::open(&scene.standby.url("postgres")).await;
    // The old primary comes back, for nobody but us: what it had is what was to be delivered by it.
    scene.primary.pg_ctl("start");
    let mut old = Ledger::open(&scene.primary.url("postgres")).await;
    let (old_events, new_events) = (old.events().await, new.events().await);
    let mut lost = 0;
    for history in &histories {
        let [before, after] = halves(history);
        let name = format!("{}, by the old primary", history.name);
        let covered = before.covers(&old_events, false);
        old.reconcile(&name, history.tenant, &before.received, Some(&covered), 1).await;
        let name = format!("{}, by the new one", history.name);
        let covered = after.covers(&new_events, true);
        new.reconcile(&name, history.tenant, &after.received, Some(&covered), 1).await;
        lost += new.not_stored(&before.received).await;
    }
    let stamps: HashMap<i64, &Option<String>> =
        old_events.iter().map(|event| (event.id, &event.stamp)).collect();
    let is_reused = |event: &&Stored| stamps.get(&event.id).is_some_and(|stamp| **stamp != event.stamp);
    let reused = new_events.iter().filter(is_reused).count();
    println!(
        "{lost} deliveries by the old primary of what the new one never had; {reused} ids for other events"
    );
    assert!(reused > 0, "ids have to come again");
    assert!(lost > 0, "something has to be lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_goes_on_is_not_read_for_those_who_come_back() {
    let primary = Cluster::start_primary();
    let session = connect(&primary.url("postgres")).await.unwrap();
    session.batch_execute("create extension tidings").await.unwrap();
    let link = Proxy::to(primary.port).await;
    let standby = primary.standby_by(link.port());
    let way = Proxy::to(primary.port).await;
    let url = format!("postgres://postgres@{}/postgres", way.address);
    // Whoever comes back needs the database.
    let daemon = Daemon::builder(&url).env("TIDINGS_RING_EVENTS", "0").start().await;
    let ann = token("ann", "acme");
    let query = r#"subscription { events(channel: "c") { data } }"#;
    let mut stream = Sse::open(&daemon, &ann, query).await;
    session.batch_execute("select publish_event('c', 'e', '1')").await.unwrap();
    let cursor = stream.next().await["extensions"]["cursor"].as_str().unwrap().to_owned();
    session.batch_execute("select publish_event('c', 'e', '2')").await.unwrap();
    // Events are read again, by a connection that stays.
    let mut resumed = Sse::resume(&daemon, &ann, query, &cursor).await;
    assert_eq!(resumed.next().await["data"]["events"]["data"], 2);
    let caught_up = "select count(*) from pg_stat_replication where replay_lsn >= pg_current_wal_lsn()";
    within("the standby", async {
        while session.query_one(caught_up, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
    })
    .await;
    standby.pg_ctl("promote");
    way.lead_to(standby.port);
    let source = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                  where application_name in ('tidings poll', 'tidings listen')";
    assert_eq!(session.query_one(source, &[]).await.unwrap().get::<_, i64>(0), 2);
    for stream in [&mut stream, &mut resumed] {
        let told = within("a word about the gap", async {
            loop {
                let told = stream.next().await;
                if !told["errors"].is_null() {
                    return told["errors"][0]["extensions"].clone();
                }
            }
        })
        .await;
        assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
        assert!(told["oldestCursor"].is_string() && told["newestCursor"].is_string(), "{told}");
    }
    let reads = "select count(*) from pg_stat_activity where application_name = 'tidings replay'";
    println!(
        "{} connections still read at the old primary",
        session.query_one(reads, &[]).await.unwrap().get::<_, i64>(0)
    );
    let new = connect(&standby.url("postgres")).await.unwrap();
    // On both sides of the fork the next event has the same id.
    session.batch_execute("select publish_event('c', 'e', '\"old\"')").await.unwrap();
    new.batch_execute("select publish_event('c', 'e', '\"new\"')").await.unwrap();
    let mut back = Sse::resume(&daemon, &ann, query, &cursor).await;
    let told = back.next().await;
    assert_eq!(told["errors"][0]["extensions"]["code"], "CURSOR_HISTORY_CHANGED", "{told}");
    let oldest = told["errors"][0]["extensions"]["oldestCursor"].as_str().unwrap();
    let mut back = Sse::resume(&daemon, &ann, query, oldest).await;
    for expected in [json!(1), json!(2), json!("new")] {
        assert_eq!(back.next().await["data"]["events"]["data"], expected);
    }
}
