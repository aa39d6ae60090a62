//! PostgreSQL's notification queue fills, because a session has listened and stays in a transaction. It holds 8 GB: the
//! long form fills it.

use std::time::Duration;

use tokio_postgres::Client;

use super::Sizes;
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::within;

const QUERY: &str = r#"subscription { events(channel: "c") { data } }"#;

/// Each takes a page of the queue.
const NOTIFY: &str =
    "select count(pg_notify('elsewhere', n || repeat('x', 4090))) from generate_series(1, 20000) n";

/// PostgreSQL removes the files of 8 GB one by one.
const EMPTIED_WITHIN: Duration = Duration::from_secs(600);

async fn usage(session: &Client) -> f64 {
    let query = "select notify_queue_usage from tidings.stats()";
    session.query_one(query, &[]).await.unwrap().get(0)
}

/// What PostgreSQL says to whoever notifies.
fn is_full(refused: &tokio_postgres::Error) {
    let refused = refused.as_db_error().expect("the server answers");
    assert_eq!(refused.code().code(), "54000", "{refused}");
    assert!(refused.message().contains("too many notifications"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_queue_that_somebody_fills_is_told_and_costs_no_event() {
    let is_long = Sizes::get().rounds > 1;
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let session = connect(&url).await.unwrap();
    session.batch_execute("create extension tidings").await.unwrap();
    let daemon = Daemon::start(&url).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), QUERY).await;
    let culprit = connect(&url).await.unwrap();
    culprit.batch_execute("listen elsewhere").await.unwrap();
    culprit.batch_execute("begin; select 1").await.unwrap();

    let mut published = 0;
    let refused = loop {
        if let Err(refused) = session.query_one(NOTIFY, &[]).await {
            break Some(refused);
        }
        published += 1;
        let publish = format!("select publish_event('c', 'e', '{published}')");
        session.batch_execute(&publish).await.unwrap();
        assert_eq!(stream.next().await["data"]["events"]["data"], published, "meanwhile events come");
        if !is_long {
            break None;
        }
    };
    let used = usage(&session).await;
    assert!(used > 0.015, "{used}");
    if let Some(refused) = refused {
        is_full(&refused);
        // In what is left of the last page there is room for a few wake-ups, which have no payload.
        let publish = "select publish_event('c', 'refused', '0')";
        let refused = within("a refused publisher", async {
            loop {
                if let Err(refused) = session.batch_execute(publish).await {
                    return refused;
                }
            }
        });
        is_full(&refused.await);
        let stored = "select count(*) from tidings.events where event_type = 'refused'";
        let stored: i64 = session.query_one(stored, &[]).await.unwrap().get(0);
        for _ in 0..stored {
            assert_eq!(stream.next().await["data"]["events"]["data"], 0, "those that found room");
        }
        published += 1;
        let publish = format!("set tidings.notify = off; select publish_event('c', 'e', '{published}')");
        session.batch_execute(&publish).await.unwrap();
        assert_eq!(stream.next().await["data"]["events"]["data"], published, "found by the safety poll");
        session.batch_execute("reset tidings.notify").await.unwrap();
    }

    // No daemon holds the queue up: it is empty once the culprit has gone, and somebody has notified.
    drop(culprit);
    published += 1;
    let publish = format!("select publish_event('c', 'e', '{published}')");
    let emptied = async {
        // Asking for the usage has PostgreSQL look how much of the queue it can drop.
        while usage(&session).await > 0.5 || session.batch_execute(&publish).await.is_err() {}
        while usage(&session).await > 0.0 {}
    };
    tokio::time::timeout(EMPTIED_WITHIN, emptied).await.expect("the queue is emptied");
    assert_eq!(stream.next().await["data"]["events"]["data"], published);
    println!(
        "notification queue filled to {:.2} %: {published} events, {published} delivered, 0 missing, 0 duplicate, \
         0 foreign, 0 declared gaps",
        used * 100.0
    );
}
