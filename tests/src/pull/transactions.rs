//! The transaction of the caller, and those of others.

use tidings_daemon::source::cursor::Cursor;

use super::{beginning, page, publish, rest};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;

#[tokio::test]
async fn ones_own_events_come_after_the_commit_and_are_not_passed_over_before() {
    let (database, session, start) = beginning().await;
    let other = database.connect().await;
    publish(&session, "1").await;
    session.run("begin").await;
    publish(&session, "2").await;
    publish(&other, "3").await;
    let read = page(&session, Some(&start), 10).await;
    assert_eq!(read.events.iter().map(|event| &*event.payload).collect::<Vec<_>>(), ["1", "3"]);
    let now = session.line("select tidings.current_cursor()").await;
    session.run("savepoint s").await;
    publish(&session, "4").await;
    session.run("release s; savepoint t").await;
    publish(&session, "5").await;
    session.run("rollback to t").await;
    assert!(page(&session, Some(&read.end), 10).await.events.is_empty());
    session.run("commit").await;
    for cursor in [read.end, now] {
        assert_eq!(rest(&other, &cursor, 1).await, ["2", "4"]);
    }
}

#[tokio::test]
async fn events_that_are_rolled_back_leave_nothing_behind() {
    let (_database, session, start) = beginning().await;
    session.run("begin").await;
    publish(&session, "1").await;
    let within = page(&session, Some(&start), 10).await;
    let newest = session.line("select tidings.current_cursor()").await;
    session.run("rollback").await;
    assert!(within.events.is_empty() && !within.more, "{within:?}");
    let after = session.line("select tidings.current_cursor()").await;
    assert_eq!(Cursor::decode(&newest).unwrap().top, Cursor::decode(&after).unwrap().top);
    publish(&session, "2").await;
    for cursor in [within.end, newest] {
        assert_eq!(rest(&session, &cursor, 10).await, ["2"]);
    }
}

#[tokio::test]
async fn a_consumer_that_keeps_its_cursor_beside_its_work_has_each_event_once() {
    let (database, session, start) = beginning().await;
    session.run("create table done (payload text); create table place (cursor text)").await;
    session.run(&format!("insert into place values ('{start}')")).await;
    let worker = database.connect().await;
    let work = "with page as materialized (
                    select * from tidings.read_events((select cursor from place), 'c', 2)
                ), work as (
                    insert into done select payload::text from page where id is not null
                )
                update place set cursor = (select cursor from page order by id desc limit 1)";
    for number in 1..=5 {
        publish(&session, &number.to_string()).await;
    }
    // Now and then the work fails and is done again.
    for outcome in ["rollback", "commit", "commit", "rollback", "commit", "commit"] {
        worker.run(&format!("begin; {work}; {outcome}")).await;
    }
    assert_eq!(session.lines("select payload from done order by payload").await, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn old_snapshots_show_what_they_see_and_never_go_back() {
    let (database, session, start) = beginning().await;
    let old = database.connect().await;
    publish(&session, "1").await;
    for level in
        ["repeatable read", "serializable", "repeatable read read only", "serializable read only deferrable"]
    {
        old.run(&format!("begin isolation level {level}; select 1")).await;
        let first = page(&old, Some(&start), 1).await;
        publish(&session, "2").await;
        let later = page(&session, Some(&start), 100).await;
        let seen = page(&old, Some(&start), 100).await;
        assert!(seen.events.len() < later.events.len(), "{level}: {seen:?}");
        assert_eq!(first.events[0].id, seen.events[0].id);
        // A cursor from after the snapshot was taken: nothing of it comes again, here or later.
        let again = page(&old, Some(&later.end), 100).await;
        assert!(again.events.is_empty(), "{level}: {again:?}");
        let middle = page(&old, Some(&later.events[0].cursor), 100).await;
        assert_eq!(middle.events.len() + 1, seen.events.len(), "{level}: {middle:?}");
        old.run("commit").await;
        assert!(rest(&session, &again.end, 10).await.is_empty(), "{level}");
        let rest = rest(&session, &middle.end, 10).await;
        assert_eq!(rest.len(), later.events.len() - seen.events.len(), "{level}: {rest:?}");
    }
}

#[tokio::test]
async fn a_prepared_transaction_is_read_when_it_is_committed() {
    let cluster = Cluster::start();
    let client = connect(&cluster.url("postgres")).await.unwrap();
    client.batch_execute("alter system set max_prepared_transactions = 5").await.unwrap();
    cluster.pg_ctl("restart");
    let client = connect(&cluster.url("postgres")).await.unwrap();
    client.batch_execute("create extension tidings; set tidings.notify = off").await.unwrap();
    let start: String = client.query_one("select tidings.current_cursor()", &[]).await.unwrap().get(0);
    let prepare = "begin; select publish_event('c', 'e', '1'); prepare transaction 'slow'";
    client.batch_execute(prepare).await.unwrap();
    client.batch_execute("select publish_event('c', 'e', '2')").await.unwrap();
    let read = page(&client, Some(&start), 10).await;
    assert_eq!(read.events.iter().map(|event| &*event.payload).collect::<Vec<_>>(), ["2"]);
    client.batch_execute("commit prepared 'slow'").await.unwrap();
    assert_eq!(rest(&client, &read.end, 10).await, ["1"]);
}
