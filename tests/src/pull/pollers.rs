//! Pollers see each event once, whatever the writers do and however small their pages are.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tidings_daemon::source::cursor::Cursor;

use super::page;
use crate::streaming::exactly_once::{LAST_ROW, SETUP, connect, reconcile, write};
use crate::support::cluster::Cluster;

const WRITERS: u64 = 24;
const TRANSACTIONS: u32 = 25;

/// Reads on until the last row has come. Most pages are small; now and then a page is not taken to its end, and some are
/// read in a transaction that has an old snapshot.
async fn poll(url: String, seed: u64, start: String, rows_max: i32) -> (Vec<(i32, i64)>, usize, usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let sessions = [connect(&url).await.unwrap(), connect(&url).await.unwrap()];
    let (mut received, mut cursor) = (Vec::new(), start);
    let (mut calls, mut parts) = (0, 0);
    let mut old = 0;
    loop {
        let session = if old > 0 { &sessions[0] } else { &sessions[random.random_range(0..2)] };
        if old == 0 && random.random_ratio(1, 40) {
            sessions[0].batch_execute("begin isolation level repeatable read").await.unwrap();
            old = random.random_range(2..8);
        }
        let read = page(session, Some(&cursor), random.random_range(1..=rows_max)).await;
        calls += 1;
        let taken = if random.random_ratio(1, 10) { random.random_range(0..5) } else { usize::MAX };
        let whole = taken >= read.events.len();
        for event in read.events.into_iter().take(taken) {
            let payload: Value = serde_json::from_str(&event.payload).unwrap();
            let row = i32::try_from(payload["id"].as_i64().unwrap()).unwrap();
            received.push((row, payload["version"].as_i64().unwrap()));
            cursor = event.cursor;
        }
        if whole {
            cursor = read.end;
        }
        parts = parts.max(Cursor::decode(&cursor).unwrap().parts().count());
        if old > 0 {
            old -= 1;
            if old == 0 {
                sessions[0].batch_execute("commit").await.unwrap();
            }
        }
        if received.iter().any(|(row, _)| *row == LAST_ROW) && old == 0 && !read.more && whole {
            return (received, calls, parts);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pollers_beside_24_writers_get_each_event_once_and_in_row_order() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let client = connect(&url).await.unwrap();
    client.batch_execute(SETUP).await.unwrap();
    let start: String = client.query_one("select tidings.current_cursor()", &[]).await.unwrap().get(0);
    // Open from before the first event until all others have been read.
    let open = connect(&url).await.unwrap();
    open.batch_execute("begin; update counters set version = version + 1 where id = -2").await.unwrap();
    let pollers: Vec<_> = [(1, 400), (2, 30), (3, 1)]
        .map(|(seed, rows_max)| tokio::spawn(poll(url.clone(), seed, start.clone(), rows_max)))
        .into_iter()
        .collect();
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write(url.clone(), seed, TRANSACTIONS))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    client.execute("update counters set version = version + 1 where id = $1", &[&LAST_ROW]).await.unwrap();
    let query = "select (payload->>'id')::int, (payload->>'version')::bigint from tidings.events order by id";
    let rows = client.query(query, &[]).await.unwrap();
    let stored: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(stored.len() > 4_000, "only {} events", stored.len());
    for poller in pollers {
        let (received, calls, parts) = poller.await.unwrap();
        reconcile(&format!("{calls} calls, cursors of up to {parts} parts"), &stored, &received);
    }
    open.batch_execute("commit").await.unwrap();
}
