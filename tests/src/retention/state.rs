//! What operators are told of transactions that hold back retention, and of what is stored.

use super::database_with_orders;
use crate::support::daemon::Daemon;
use crate::support::database::Database;

/// A metric of a daemon that has just started: it reads the state of the database at once.
async fn told(conninfo: &str) -> (f64, i64) {
    let daemon = Daemon::start(conninfo).await;
    crate::support::within("the state of the database", async {
        while daemon.metric("tidings_database_state_timestamp_seconds ").await == "0.0" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let number = async |name: &str| daemon.metric(name).await;
    assert_eq!(number("tidings_retention_seconds ").await, "172800.0");
    assert!(number("tidings_stored_bytes ").await.parse::<u64>().unwrap() > 0);
    assert!((0.0..0.5).contains(&number("tidings_notify_queue_usage_ratio ").await.parse::<f64>().unwrap()));
    let age = number("tidings_oldest_transaction_age_seconds ").await.parse().unwrap();
    (age, number("tidings_oldest_transaction_pid ").await.parse().unwrap())
}

/// What a daemon logs in as, with no more rights than it needs.
async fn as_daemon(database: &Database) -> String {
    let role = database.role().await;
    database.connect().await.run(&format!("select tidings.grant_daemon('{role}')")).await;
    database.conninfo().replace("user='postgres'", &format!("user='{role}'"))
}

#[tokio::test]
async fn the_oldest_transaction_that_may_still_publish_is_told_with_its_process_and_age() {
    let database = database_with_orders().await;
    let conninfo = as_daemon(&database).await;
    let (age, pid) = told(&conninfo).await;
    assert_eq!((age, pid), (0.0, 0), "nobody");

    let (older, younger) = (database.connect().await, database.connect().await);
    older.run("set tidings.notify = off; begin; insert into orders values (1)").await;
    younger.run("begin; insert into orders values (2)").await;
    // Another database's transactions publish nothing here.
    let elsewhere = Database::new().await;
    let stranger = elsewhere.connect().await;
    stranger.run("begin; select pg_current_xact_id()").await;
    let (age, pid) = told(&conninfo).await;
    assert_eq!(pid.to_string(), older.line("select pg_backend_pid()").await, "of whomever it is");
    assert!(age > 0.0);

    let gid = format!("open in {}", older.line("select current_database()").await);
    older.run(&format!("prepare transaction '{gid}'")).await;
    let (age, pid) = told(&conninfo).await;
    assert_eq!(pid, 0, "a prepared transaction has no process");
    assert!(age > 0.0);
    let stats = "select concat_ws('|', unsettled_pid is null, unsettled_gid) from tidings.stats()";
    assert_eq!(younger.line(stats).await, format!("t|{gid}"), "but a name");
    younger.run("commit").await;
    younger.run(&format!("rollback prepared '{gid}'")).await;
    assert_eq!(told(&conninfo).await, (0.0, 0));
}
