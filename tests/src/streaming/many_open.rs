//! A cursor whose snapshot names 10,000 open transactions: really open ones.

use std::collections::BTreeSet;
use std::time::Instant;

use tidings_daemon::source::cursor::Cursor;
use tokio_postgres::Client;

use super::cursors::{WAYS, resume};
use super::exactly_once::connect;
use crate::pull::page;
use crate::support::cluster::Cluster;
use crate::support::daemon::Daemon;

const OPEN: usize = 10_000;
const SESSIONS: usize = 4;
/// Committed while they are open, and after.
const OTHERS: usize = 50;

const QUERY: &str = "subscription { events(channel: \"c\") { data } }";

/// Runs a statement for each number, over several sessions.
async fn for_each(url: &str, statements: fn(usize) -> String) {
    let share = |session: usize| {
        let url = url.to_owned();
        tokio::spawn(async move {
            let client = connect(&url).await.unwrap();
            client.batch_execute("set tidings.notify = off").await.unwrap();
            for number in (session..OPEN).step_by(SESSIONS) {
                client.batch_execute(&statements(number)).await.unwrap();
            }
        })
    };
    for session in (0..SESSIONS).map(share).collect::<Vec<_>>() {
        session.await.unwrap();
    }
}

async fn publish(client: &Client, from: usize) {
    let some =
        "select publish_event('c', 'e', to_jsonb($1::bigint + n)) from generate_series(0, $2::bigint - 1) n";
    client.execute(some, &[&(from as i64), &(OTHERS as i64)]).await.unwrap();
}

/// What comes after a cursor by a page at a time.
async fn pulled(client: &Client, cursor: &str) -> Vec<usize> {
    let (mut found, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let read = page(client, Some(&cursor), 1_000).await;
        found.extend(read.events.iter().map(|event| event.payload.parse::<usize>().unwrap()));
        cursor = read.end;
        if !read.more {
            return found;
        }
    }
}

fn assert_once(way: &str, found: Vec<usize>, expected: impl Iterator<Item = usize>) {
    let distinct: BTreeSet<usize> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "{way}: an event came twice");
    assert!(distinct.into_iter().eq(expected), "{way}: others than expected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_that_names_10000_open_transactions_lacks_exactly_theirs() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let client = connect(&url).await.unwrap();
    let most = format!("alter system set max_prepared_transactions = {}", OPEN + 10);
    client.batch_execute(&most).await.unwrap();
    cluster.pg_ctl("restart");
    let client = connect(&url).await.unwrap();
    client.batch_execute("create extension tidings").await.unwrap();
    for_each(&url, |number| {
        format!("begin; select publish_event('c', 'e', '{number}'); prepare transaction 't{number}'")
    })
    .await;
    // A snapshot names those below the last transaction that ended.
    client.batch_execute("select pg_current_xact_id()").await.unwrap();
    let start: String = client.query_one("select tidings.current_cursor()", &[]).await.unwrap().get(0);
    assert!(Cursor::decode(&start).unwrap().seen.in_progress().len() >= OPEN);
    let daemon = Daemon::start(&url).await;
    publish(&client, OPEN).await;
    // They hold up nobody.
    for way in WAYS {
        let began = Instant::now();
        let mut stream = resume(&daemon, way, QUERY, &start).await;
        for number in OPEN..OPEN + OTHERS {
            assert_eq!(stream.next().await["data"]["events"]["data"], number);
        }
        println!("{way:?} beside {OPEN} open transactions: {OTHERS} events in {:?}", began.elapsed());
    }
    assert_once("pages beside them", pulled(&client, &start).await, OPEN..OPEN + OTHERS);

    for_each(&url, |number| format!("commit prepared 't{number}'")).await;
    publish(&client, OPEN + OTHERS).await;
    let all = OPEN + 2 * OTHERS;
    for way in WAYS {
        let began = Instant::now();
        let mut stream = resume(&daemon, way, QUERY, &start).await;
        let mut found = Vec::new();
        while found.len() < all {
            let result = stream.next().await;
            let number = result["data"]["events"]["data"].as_u64();
            found.push(usize::try_from(number.unwrap_or_else(|| panic!("{result}"))).unwrap());
        }
        println!("{way:?} after a cursor of {} bytes: {all} events in {:?}", start.len(), began.elapsed());
        assert_once(&format!("{way:?}"), found, 0..all);
    }
    let began = Instant::now();
    assert_once("pages", pulled(&client, &start).await, 0..all);
    println!("pages after it: {all} events in {:?}", began.elapsed());
}
