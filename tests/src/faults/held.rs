//! `wait_for_standby`: what a failover would take back is not delivered.

use serde_json::Value;
use tokio_postgres::Client;

use crate::streaming::exactly_once::connect;
use crate::streaming::outage::{readiness, wait_for_readiness};
use crate::support::cluster::Cluster;
use crate::support::daemon::{Builder, Daemon, token};
use crate::support::proxy::Proxy;
use crate::support::sse::Sse;
use crate::support::within;

const QUERY: &str = r#"subscription { events(channel: "c") { id type } }"#;

/// What sends WAL to the standby has nothing more to send.
const CAUGHT_UP: &str =
    "select coalesce(bool_and(flush_lsn >= pg_current_wal_insert_lsn()), false) from pg_stat_replication";

/// A primary, a synchronous standby, and the way between them.
async fn replicated() -> (Cluster, Cluster, Proxy, Client) {
    let primary = Cluster::start_primary();
    let session = connect(&primary.url("postgres")).await.unwrap();
    session.batch_execute("create extension tidings").await.unwrap();
    let way = Proxy::to(primary.port).await;
    let standby = primary.standby_by(way.port());
    session.batch_execute("alter system set synchronous_standby_names = 'FIRST 1 (*)'").await.unwrap();
    session.batch_execute("select pg_reload_conf()").await.unwrap();
    until(&session, "select exists (select from pg_stat_replication where sync_state = 'sync')").await;
    (primary, standby, way, session)
}

async fn until(session: &Client, condition: &str) {
    within(condition, async { while !session.query_one(condition, &[]).await.unwrap().get::<_, bool>(0) {} })
        .await;
}

/// Publishes; without waiting for the standby if it is not there.
async fn publish(session: &Client, commit: &str, event_type: &str) {
    let statement =
        format!("set synchronous_commit = {commit}; select publish_event('c', '{event_type}', '{{}}')");
    session.batch_execute(&statement).await.unwrap();
}

fn holding(url: &str) -> Builder {
    Daemon::builder(url).env("TIDINGS_WAIT_FOR_STANDBY", "true")
}

fn event_type(result: &Value) -> &str {
    result["data"]["events"]["type"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_held_until_the_standby_has_them_and_a_failover_takes_none_back() {
    let (primary, standby, way, session) = replicated().await;
    let url = primary.url("postgres");
    let (mut holding_one, other) = (holding(&url).start().await, Daemon::start(&url).await);
    // What is read again is held as well.
    let reading = holding(&url).env("TIDINGS_RING_EVENTS", "0").start().await;
    let ann = token("ann", "acme");
    let mut held = Sse::open(&holding_one, &ann, QUERY).await;
    let mut unheld = Sse::open(&other, &ann, QUERY).await;
    publish(&session, "on", "first").await;
    let first = held.next().await;
    assert_eq!((event_type(&first), event_type(&unheld.next().await)), ("first", "first"));
    let cursor = first["extensions"]["cursor"].as_str().unwrap().to_owned();

    way.swallow();
    publish(&session, "local", "second").await;
    assert_eq!(event_type(&unheld.next().await), "second", "it is committed and visible");
    let reason = wait_for_readiness(&holding_one, 503).await;
    assert!(reason.contains("held until the synchronous standbys have WAL up to"), "{reason}");
    let mut resumed = Sse::resume(&reading, &ann, QUERY, &cursor).await;
    let reason = wait_for_readiness(&reading, 503).await;
    assert!(reason.contains("events are held until"), "{reason}");
    way.heal();
    // Had one of them been handed over before, the second here would not be the next.
    assert_eq!(event_type(&held.next().await), "second");
    assert_eq!(event_type(&resumed.next().await), "second");
    wait_for_readiness(&holding_one, 200).await;
    until(&session, CAUGHT_UP).await;

    way.swallow();
    publish(&session, "local", "lost").await;
    assert_eq!(event_type(&unheld.next().await), "lost", "without waiting it is delivered");
    wait_for_readiness(&holding_one, 503).await;
    primary.kill();
    standby.pg_ctl("promote");
    let survivor = connect(&standby.url("postgres")).await.unwrap();
    let stored = survivor.query("select event_type from tidings.events order by id", &[]).await.unwrap();
    let stored: Vec<String> = stored.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored, ["first", "second"], "what was delivered is there, and nothing else was");
    assert!(holding_one.terminate().await.success());
    let end = held.next_event().await;
    assert!(end.as_ref().is_none_or(|event| event.event == "complete"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_synchronous_standby_nothing_is_promised() {
    let primary = Cluster::start_primary();
    let url = primary.url("postgres");
    connect(&url).await.unwrap().batch_execute("create extension tidings").await.unwrap();
    let daemon = holding(&url).spawn().await;
    within("the reason in /readyz", async {
        while !readiness(&daemon.address).await.1.contains("synchronous_standby_names of the server is empty")
        {
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_position_is_that_of_as_many_standbys_as_a_commit_waits_for() {
    let (primary, _first, _way, session) = replicated().await;
    let _second = primary.standby_by(primary.port);
    until(&session, "select count(*) = 2 from pg_stat_replication").await;
    let wanted = [
        ("'FIRST 2 (*)'", Some(2)),
        ("'ANY 2 (*)'", Some(2)),
        ("'any 1 (a, \"b c\")'", Some(1)),
        ("'2 (a, b)'", Some(2)),
        ("'a, b'", Some(1)),
        ("'*'", Some(1)),
        ("''", None),
    ];
    for (names, count) in wanted {
        session
            .batch_execute(&format!("alter system set synchronous_standby_names = {names}"))
            .await
            .unwrap();
        session.batch_execute("select pg_reload_conf()").await.unwrap();
        let applied = format!(
            "select current_setting('synchronous_standby_names') = {names} \
             and tidings.synchronous_standbys() is not distinct from {}::integer",
            count.map_or_else(|| "null".to_owned(), |count: i32| count.to_string())
        );
        until(&session, &applied).await;
        let named = names.contains('*') && count.is_some();
        let query = "select (tidings.standby_position()).flushed is not null = $1";
        within(names, async {
            while !session.query_one(query, &[&named]).await.unwrap().get::<_, bool>(0) {}
        })
        .await;
    }
}
