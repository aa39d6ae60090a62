//! A crash gives xids that a snapshot counts as finished to new transactions.

use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Source, Step};
use tokio_postgres::Client;

use super::exactly_once::connect;
use crate::support::cluster::{Cluster, signal};
use crate::support::within;

/// A server whose WAL writer stands still, so that what only it would flush is lost in a crash.
pub(crate) struct Crash {
    cluster: Cluster,
    pub(crate) client: Client,
    walwriter: String,
}

impl Crash {
    /// Nothing has been lost yet.
    pub(crate) async fn prepare(cluster: Cluster, client: Client) -> Self {
        let query = "select pid::text from pg_stat_activity where backend_type = 'walwriter'";
        let walwriter = text(&client, query).await;
        signal("STOP", &walwriter);
        Self { cluster, client, walwriter }
    }

    /// Transactions that roll back use up xids, and no trace of that reaches the disk.
    pub(crate) async fn use_up_xids(&self) {
        for _ in 0..40 {
            self.client.batch_execute("begin; select pg_current_xact_id(); rollback").await.unwrap();
        }
    }

    /// Crashes, and waits until the server is there again.
    pub(crate) async fn happen(self) -> (Cluster, Client) {
        let Self { cluster, client, walwriter } = self;
        let backend = text(&client, "select pg_backend_pid()::text").await;
        signal("KILL", &backend);
        // Let go, it would flush before the postmaster could stop it.
        signal("KILL", &walwriter);
        within("the connection's end", async {
            while client.batch_execute("select 1").await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let client = within("the server's recovery", async {
            loop {
                if let Ok(client) = connect(&cluster.url("postgres")).await {
                    break client;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        (cluster, client)
    }
}

pub(crate) async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn committed_events_with_reused_xids_are_not_lost() {
    let cluster = Cluster::start();
    let client = connect(&cluster.url("postgres")).await.unwrap();
    client.batch_execute("create extension tidings; checkpoint").await.unwrap();
    let mut source = PostgresSource::new(
        PostgresOptions::new(cluster.url("postgres").parse().unwrap()),
        Metrics::default(),
    );
    client.batch_execute("select publish_event('c', 'before', '{}')").await.unwrap();
    let Step::Start(_) = within("the start", source.next()).await else { panic!() };

    let crash = Crash::prepare(cluster, client).await;
    crash.use_up_xids().await;
    // The source takes a snapshot that counts all of these as finished.
    let taken = text(&crash.client, "select pg_snapshot_xmax(pg_current_snapshot())::text").await;
    let seen = within("a poll after the rollbacks", async {
        loop {
            if let Step::Batch(batch) = source.next().await
                && batch.end().seen.xmax() >= taken.parse().unwrap()
            {
                break batch.end();
            }
        }
    })
    .await;

    let (_cluster, client) = crash.happen().await;
    client.batch_execute("select publish_event('c', 'after', '1')").await.unwrap();
    client.batch_execute("select publish_event('c', 'after', '2')").await.unwrap();
    let xid: u64 = text(&client, "select min(xid)::text from tidings.events where event_type = 'after'")
        .await
        .parse()
        .unwrap();
    assert!(seen.seen.sees(xid), "the crash must have given a seen xid away again, or this tests nothing");

    let found = within("the events after the crash", async {
        let mut found = Vec::new();
        while found.len() < 2 {
            match source.next().await {
                Step::Batch(batch) => found.extend(batch.events.into_iter().map(|event| event.payload)),
                Step::Start(_) | Step::Gap(..) => panic!("the history is the same"),
                Step::Catalog(_) => {}
            }
        }
        found
    })
    .await;
    assert_eq!(found, ["1".into(), "2".into()]);
}
