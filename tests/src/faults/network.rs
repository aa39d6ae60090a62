//! The network goes silent between a daemon and its database, in whole or in part.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::streaming::exactly_once::connect;
use crate::streaming::outage::{readiness, wait_for_readiness};
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::proxy::Proxy;
use crate::support::sse::Sse;
use crate::support::within;

const QUERY: &str = r#"subscription { events(channel: "c") { data } }"#;

/// A server with the extension, and a way to it.
async fn server() -> (Cluster, Proxy, tokio_postgres::Client) {
    let cluster = Cluster::start();
    let way = Proxy::to(cluster.port).await;
    let session = connect(&cluster.url("postgres")).await.unwrap();
    session.batch_execute("create extension tidings").await.unwrap();
    (cluster, way, session)
}

fn url(way: &Proxy) -> String {
    format!("postgres://postgres@{}/postgres", way.address)
}

async fn publish(session: &tokio_postgres::Client, number: i32) {
    session.batch_execute(&format!("select publish_event('c', 'e', '{number}')")).await.unwrap();
}

#[tokio::test]
async fn a_database_that_falls_silent_turns_readiness_red_and_nothing_is_lost() {
    let (_cluster, way, session) = server().await;
    let daemon = Daemon::builder(&url(&way)).env("TIDINGS_MAX_LAG_MS", "3000").start().await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    publish(&session, 1).await;
    assert_eq!(stream.next().await["data"]["events"]["data"], 1);
    let began = Instant::now();
    way.swallow();
    publish(&session, 2).await;
    let reason = wait_for_readiness(&daemon, 503).await;
    assert!(reason.contains("last caught up"), "{reason}");
    let red = began.elapsed();
    // The network's own machinery answers for the server, so nothing but the bound of an answer tells.
    within("the source to give up", async {
        while !wait_for_readiness(&daemon, 503).await.contains("PostgreSQL did not answer within") {}
    })
    .await;
    let given_up = began.elapsed();
    publish(&session, 3).await;
    way.heal();
    for expected in [2, 3] {
        assert_eq!(stream.next().await["data"]["events"]["data"], expected);
    }
    wait_for_readiness(&daemon, 200).await;
    publish(&session, 4).await;
    assert_eq!(stream.next().await["data"]["events"]["data"], 4);
    println!("a silent database: unready after {red:.1?}, given up after {given_up:.1?}");
    assert_eq!(daemon.metric("tidings_source_reconnects_total").await, "1");
}

#[tokio::test]
async fn silence_of_the_listen_connection_costs_time_alone() {
    let (_cluster, way, session) = server().await;
    let daemon = Daemon::builder(&url(&way)).env("TIDINGS_SAFETY_POLL_MS", "500").start().await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    way.swallow_those_with("tidings listen");
    let mut slowest = Duration::ZERO;
    for number in 0..10 {
        let began = Instant::now();
        publish(&session, number).await;
        assert_eq!(stream.next().await["data"]["events"]["data"], number);
        slowest = slowest.max(began.elapsed());
    }
    println!("without wake-ups: {slowest:.1?} at most");
    assert!(slowest >= Duration::from_millis(100), "wake-ups still come: {slowest:?}");
    assert_eq!(readiness(&daemon.address).await.0, 200);
    assert_eq!(daemon.metric("tidings_source_reconnects_total").await, "0");
}

#[tokio::test]
async fn a_silent_server_does_not_keep_anybody_from_the_one_that_takes_writes() {
    let (cluster, silent, session) = server().await;
    silent.swallow();
    let both = super::nodes::whichever_takes_writes(silent.port(), cluster.port);
    let began = Instant::now();
    let daemon = Daemon::start(&both).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    publish(&session, 1).await;
    assert_eq!(stream.next().await["data"]["events"]["data"], 1);
    let reserved = reqwest::Client::new()
        .put(format!("http://{}/graphql/stream", daemon.address))
        .bearer_auth(token("ann", "acme"));
    assert_eq!(within("a reservation", reserved.send()).await.unwrap().status(), 201);
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}: no bound has to pass", began.elapsed());
}

/// A primary that has vanished, and a standby that nobody has promoted yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_silent_server_a_standby_is_waited_for() {
    let primary = Cluster::start_primary();
    let session = connect(&primary.url("postgres")).await.unwrap();
    session.batch_execute("create extension tidings").await.unwrap();
    let standby = primary.standby_by(primary.port);
    let silent = Proxy::to(primary.port).await;
    silent.swallow();
    let both = super::nodes::whichever_takes_writes(silent.port(), standby.port);
    let daemon = Daemon::builder(&both).spawn().await;
    within("a word about the standby", async {
        while !wait_for_readiness(&daemon, 503).await.contains("standby") {}
    })
    .await;
    standby.pg_ctl("promote");
    let began = Instant::now();
    wait_for_readiness(&daemon, 200).await;
    println!("followed {:.1?} after its promotion", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(25), "no bound of an answer has to pass");
}

/// As with a machine that is set back to a snapshot: nothing in the history's id tells.
#[tokio::test]
async fn a_database_that_was_put_back_is_another_history_for_whoever_has_seen_more() {
    let (cluster, way, session) = server().await;
    publish(&session, 1).await;
    cluster.pg_ctl("stop");
    cluster.save();
    cluster.pg_ctl("start");
    let daemon = Daemon::start(&url(&way)).await;
    let ann = token("ann", "acme");
    let mut stream = Sse::open(&daemon, &ann, QUERY).await;
    let session = connect(&cluster.url("postgres")).await.unwrap();
    // More than the numbers that a sequence sets aside.
    let many = "select publish_event('c', 'e', to_jsonb(n)) from generate_series(2, 100) n";
    session.batch_execute(many).await.unwrap();
    let mut cursor = json!(null);
    for expected in 2..=100 {
        let mut result = stream.next().await;
        assert_eq!(result["data"]["events"]["data"], expected);
        cursor = result["extensions"]["cursor"].take();
    }
    cluster.pg_ctl("stop");
    cluster.put_back();
    cluster.pg_ctl("start");
    let told = stream.next().await["errors"][0]["extensions"].take();
    assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
    let mut back = Sse::resume(&daemon, &ann, QUERY, cursor.as_str().unwrap()).await;
    let told = back.next().await["errors"][0]["extensions"].take();
    assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
    let mut back = Sse::resume(&daemon, &ann, QUERY, told["oldestCursor"].as_str().unwrap()).await;
    let session = connect(&cluster.url("postgres")).await.unwrap();
    session.batch_execute("select publish_event('c', 'e', '\"again\"')").await.unwrap();
    for expected in [json!(1), json!("again")] {
        assert_eq!(back.next().await["data"]["events"]["data"], expected);
    }
    // Nor is it taken for one of now when as many events have come again.
    session.batch_execute(many).await.unwrap();
    let mut back = Sse::resume(&daemon, &ann, QUERY, cursor.as_str().unwrap()).await;
    let told = back.next().await["errors"][0]["extensions"].take();
    assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
}
