//! The database goes away, comes back, or comes back as another.

use super::database_with_orders;
use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Gap, Source, Step};

use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;
use crate::support::sse::Sse;
use crate::support::within;

/// Whether the daemon at an address is ready, and why not.
pub(crate) async fn readiness(address: &str) -> (u16, String) {
    let response = reqwest::get(format!("http://{address}/readyz")).await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Waits until it is what a status says; why.
pub(crate) async fn wait_for_readiness(daemon: &Daemon, status: u16) -> String {
    within("a change of readiness", async {
        loop {
            let (now, reason) = readiness(&daemon.address).await;
            if now == status {
                return reason;
            }
        }
    })
    .await
}

#[tokio::test]
async fn readiness_is_red_while_the_database_is_down_and_says_why() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("create extension tidings").await.unwrap();
    let daemon = Daemon::start(&url).await;
    let query = r#"subscription { events(channel: "c") { type } }"#;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), query).await;
    wait_for_readiness(&daemon, 200).await;
    cluster.pg_ctl("stop");
    let reason = wait_for_readiness(&daemon, 503).await;
    assert!(reason.contains("PostgreSQL") || reason.contains("connection"), "{reason}");
    let health = reqwest::get(format!("http://{}/healthz", daemon.address)).await.unwrap();
    assert_eq!(health.status(), 200, "the process itself is well");
    cluster.pg_ctl("start");
    wait_for_readiness(&daemon, 200).await;

    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("select publish_event('c', 'back', '{}')").await.unwrap();
    assert_eq!(stream.next().await["data"]["events"]["type"], "back", "the subscription lived on");
}

#[tokio::test]
async fn a_replaced_history_ends_every_subscription_in_so_many_words() {
    let database = database_with_orders().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let query = r#"subscription { events(channel: "c") { type } }"#;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), query).await;
    let client = database.connect().await;
    client.run("drop extension tidings").await;
    client.run("create extension tidings").await;
    let ended = stream.next().await;
    let error = &ended["errors"][0]["extensions"];
    assert_eq!(error["code"], "CURSOR_HISTORY_CHANGED", "{ended}");
    assert!(error["cursor"].is_string(), "{ended}");
    assert_eq!(stream.next_event().await.map(|event| event.event).as_deref(), Some("complete"));
}

#[tokio::test]
async fn a_database_without_the_extension_is_waited_for_with_advice() {
    let database = Database::empty().await;
    let daemon = Daemon::builder(&database.conninfo()).spawn().await;
    let reason = wait_for_readiness(&daemon, 503).await;
    assert!(!reason.is_empty());
    daemon.wait_for_log("CREATE EXTENSION tidings").await;
    database.connect().await.run("create extension tidings").await;
    wait_for_readiness(&daemon, 200).await;
}

#[tokio::test]
async fn a_source_that_retention_overtakes_reports_a_gap_and_goes_on() {
    let database = Database::new().await;
    let options = PostgresOptions::new(database.conninfo().parse().unwrap());
    let mut source = PostgresSource::new(options, Metrics::default());
    let Step::Start(_) = within("the start", source.next()).await else {
        panic!("the first step is the start")
    };

    let client = database.connect().await;
    client.run("select publish_event('c', 'lost', '1'); set tidings.retention = '1s'").await;
    within("the slot's removal", async {
        while client.line("select tidings.maintain() -> 'removed_slots'").await == "[]" {}
    })
    .await;
    let mut types = Vec::new();
    let mut gaps = Vec::new();
    within("the event after the gap", async {
        while types.is_empty() {
            match source.next().await {
                Step::Gap(gap, _) => {
                    gaps.push(gap);
                    client.run("select publish_event('c', 'later', '2')").await;
                }
                Step::Batch(batch) => types.extend(batch.events.into_iter().map(|event| event.event_type)),
                Step::Start(_) | Step::Catalog(_) => {}
            }
        }
    })
    .await;
    assert_eq!((gaps, types), (vec![Gap::Expired], vec!["later".into()]));
}

#[tokio::test]
async fn check_says_what_is_wrong_with_the_database() {
    let check = async |url: &str| {
        let binary = std::env::var("TIDINGS_BIN").unwrap();
        let mut command = tokio::process::Command::new(binary);
        command.arg("check").env_clear().env("TIDINGS_AUTH", "none").env("TIDINGS_DATABASE_URL", url);
        let output = within("the check", command.output()).await.unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        (output.status.success(), text)
    };
    let database = Database::empty().await;
    let (ok, text) = check(&database.conninfo()).await;
    assert!(!ok && text.contains("CREATE EXTENSION tidings"), "{text}");
    let client = database.connect().await;
    client.run("create extension tidings").await;
    let role = database.role().await;
    let (ok, text) = check(&format!("{} user={role}", database.conninfo())).await;
    assert!(!ok && text.contains("tidings.grant_daemon"), "{text}");
    client.run(&format!("select tidings.grant_daemon('{role}')")).await;
    let (ok, text) = check(&format!("{} user={role}", database.conninfo())).await;
    assert!(ok && text.contains("0 attached tables"), "{text}");
    assert!(text.contains("wake-up:       direct"), "{text}");
    client.run(&format!("drop owned by {role}")).await;
}
