//! The worker that sends one NOTIFY for many commits.

use tokio_postgres::Client;

use crate::streaming::exactly_once::connect;
use crate::support::cluster::{Cluster, signal};
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::within;

const PRELOADED: &str = "-c max_prepared_transactions=5 -c shared_preload_libraries=tidings";

const MODE: &str = "select tidings.wake_up_mode()";
const PUBLISH: &str = "select publish_event('c', 'e', '{}')";
const QUERY: &str = r#"subscription { events(channel: "c") { type data } }"#;

/// A server whose worker serves one of two databases, both with the extension.
async fn served() -> (Cluster, Client, Client) {
    let cluster = Cluster::start_with(PRELOADED, Vec::new());
    let admin = connect(&cluster.url("postgres")).await.unwrap();
    admin.batch_execute("create extension tidings").await.unwrap();
    serve(&admin, "served").await;
    // The worker tries again and again.
    admin.batch_execute("create database served").await.unwrap();
    let served = connect(&cluster.url("served")).await.unwrap();
    served.batch_execute("create extension tidings").await.unwrap();
    until_mode(&served, "coalesced").await;
    (cluster, admin, served)
}

/// Has the worker serve another database, or none.
async fn serve(admin: &Client, database: &str) {
    admin.batch_execute(&format!("alter system set tidings.database = '{database}'")).await.unwrap();
    admin.batch_execute("select pg_reload_conf()").await.unwrap();
}

async fn text(client: &Client, query: &str) -> String {
    client.query_one(query, &[]).await.unwrap().get(0)
}

async fn until_mode(client: &Client, mode: &str) {
    within(mode, async { while text(client, MODE).await != mode {} }).await;
}

/// A daemon that does not look by itself, and a stream of it.
async fn follower(cluster: &Cluster, database: &str) -> (Daemon, Sse) {
    let daemon = Daemon::builder(&cluster.url(database)).env("TIDINGS_SAFETY_POLL_MS", "60000").start().await;
    let stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    (daemon, stream)
}

async fn arrives(client: &Client, stream: &mut Sse) {
    client.batch_execute(PUBLISH).await.unwrap();
    assert_eq!(stream.next().await["data"]["events"]["type"], "e");
}

#[tokio::test]
async fn it_wakes_the_daemon_and_spares_the_writers_the_notify() {
    let (cluster, admin, served) = served().await;
    let (_daemon, mut stream) = follower(&cluster, "served").await;
    arrives(&served, &mut stream).await;
    // A transaction that has notified cannot be prepared: this one has not.
    let prepared = format!("begin; {PUBLISH}; prepare transaction 'one'");
    served.batch_execute(&prepared).await.unwrap();
    served.batch_execute("commit prepared 'one'").await.unwrap();
    // Nobody is told of it, until somebody commits.
    arrives(&served, &mut stream).await;
    assert_eq!(stream.next().await["data"]["events"]["type"], "e", "the prepared one");
    // Without the worker: in another database, and where it is not wanted.
    assert_eq!(text(&admin, MODE).await, "direct");
    let error = admin.batch_execute(&prepared).await.unwrap_err().to_string();
    admin.batch_execute("rollback").await.unwrap();
    assert!(error.contains("db error"), "{error}");
    let (_other, mut other) = follower(&cluster, "postgres").await;
    arrives(&admin, &mut other).await;
    served.batch_execute("set tidings.coalesce = off").await.unwrap();
    assert_eq!(text(&served, MODE).await, "direct");
    arrives(&served, &mut stream).await;
    served.batch_execute("set tidings.notify = off").await.unwrap();
    assert_eq!(text(&served, MODE).await, "off");
    served.batch_execute("reset tidings.coalesce; reset tidings.notify").await.unwrap();
    // What is rolled back wakes nobody; of many writers each is heard.
    served.batch_execute(&format!("begin; {PUBLISH}; rollback")).await.unwrap();
    let writers = (0..8).map(|writer| {
        let url = cluster.url("served");
        tokio::spawn(async move {
            let session = connect(&url).await.unwrap();
            for number in 0..50 {
                let data = format!("{{\"writer\": {writer}, \"number\": {number}}}");
                session
                    .query_one("select publish_event('c', 'many', $1::text::jsonb)", &[&data])
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let mut seen = [0; 8];
    for _ in 0..400 {
        let event = stream.next().await["data"]["events"].take();
        assert_eq!(event["type"], "many");
        let writer = usize::try_from(event["data"]["writer"].as_u64().unwrap()).unwrap();
        assert_eq!(event["data"]["number"], seen[writer]);
        seen[writer] += 1;
    }
}

#[tokio::test]
async fn it_comes_back_and_until_then_transactions_notify_by_themselves() {
    const WORKER: &str = "select pid::text from pg_stat_activity where backend_type = 'tidings wake-up'";
    let (cluster, admin, served) = served().await;
    let (_daemon, mut stream) = follower(&cluster, "served").await;
    let first = text(&admin, WORKER).await;
    // A transaction that counts on it, and commits when it has gone.
    served.batch_execute(&format!("begin; {PUBLISH}")).await.unwrap();
    admin.batch_execute(&format!("select pg_terminate_backend({first})")).await.unwrap();
    until_mode(&served, "direct").await;
    served.batch_execute("commit").await.unwrap();
    until_mode(&served, "coalesced").await;
    assert_eq!(stream.next().await["data"]["events"]["type"], "e", "the next worker tells of it");
    let second = text(&admin, WORKER).await;
    assert_ne!(first, second);
    arrives(&served, &mut stream).await;
    // Killed, it takes the server with it, as any of its processes would.
    signal("KILL", &second);
    let served = within("the server's recovery", async {
        loop {
            match connect(&cluster.url("served")).await {
                Ok(session) if session.batch_execute(MODE).await.is_ok() => return session,
                _ => {}
            }
        }
    })
    .await;
    until_mode(&served, "coalesced").await;
    arrives(&served, &mut stream).await;
    // The extension goes and comes: the worker does not need it.
    served.batch_execute("drop extension tidings; create extension tidings").await.unwrap();
    assert_eq!(text(&served, MODE).await, "coalesced");
    served.batch_execute(PUBLISH).await.unwrap();
    assert_eq!(stream.next().await["errors"][0]["extensions"]["code"], "CURSOR_HISTORY_CHANGED");
    // A fast shutdown does not wait for it; after the start it is there.
    cluster.pg_ctl("restart");
    let served = connect(&cluster.url("served")).await.unwrap();
    until_mode(&served, "coalesced").await;
    let (_daemon, mut stream) = follower(&cluster, "served").await;
    arrives(&served, &mut stream).await;
}

#[tokio::test]
async fn its_database_can_change_and_may_be_none() {
    let (_cluster, admin, served) = served().await;
    serve(&admin, "postgres").await;
    until_mode(&admin, "coalesced").await;
    until_mode(&served, "direct").await;
    serve(&admin, "").await;
    until_mode(&admin, "direct").await;
    serve(&admin, "served").await;
    until_mode(&served, "coalesced").await;
}
