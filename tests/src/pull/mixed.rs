//! A consumer that reads pages and streams in turns, with one cursor.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::page_of;
use crate::streaming::exactly_once::{LAST_ROW, QUERY, SETUP, connect, reconcile, take, write};
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

const WRITERS: u64 = 24;
const TRANSACTIONS: u32 = 25;
const CONSUMERS: u64 = 4;

/// What a consumer has, and where it goes on.
struct Consumer {
    cursor: String,
    received: Vec<(i32, i64)>,
    turns: [usize; 3],
}

impl Consumer {
    /// Takes a part of what pages bring; true if the last row was there.
    async fn pull(&mut self, client: &Client, random: &mut StdRng) -> bool {
        for _ in 0..random.random_range(1..6) {
            let rows: i32 = random.random_range(1..60);
            let call = "tidings.read_events($1, 'public.counters', $2, 'acme')";
            let page = page_of(client, call, &[&self.cursor, &rows]).await;
            let taken = random.random_range(0..=page.events.len());
            let whole = taken == page.events.len();
            for event in page.events.into_iter().take(taken) {
                let payload: Value = serde_json::from_str(&event.payload).unwrap();
                let row = i32::try_from(payload["id"].as_i64().unwrap()).unwrap();
                self.received.push((row, payload["version"].as_i64().unwrap()));
                self.cursor = event.cursor;
                if row == LAST_ROW {
                    return true;
                }
            }
            if whole {
                self.cursor = page.end;
            }
        }
        false
    }

    /// Takes some results of a stream.
    async fn stream(&mut self, daemon: &Daemon, over_sse: bool, random: &mut StdRng) -> bool {
        let payload = json!({ "query": QUERY, "extensions": { "cursor": self.cursor } });
        let token = token("ann", "acme");
        let results = random.random_range(1..120);
        let mut sse = None;
        let mut socket = None;
        if over_sse {
            sse = Some(Sse::post(daemon, &token, &payload).await);
        } else {
            let mut opened = Socket::open(daemon, &token).await;
            opened.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
            socket = Some(opened);
        }
        for _ in 0..results {
            let result = match (&mut sse, &mut socket) {
                (Some(stream), _) => stream.next().await,
                (_, Some(socket)) => socket.next().await,
                _ => unreachable!("one of them is open"),
            };
            result["extensions"]["cursor"].as_str().expect("a cursor").clone_into(&mut self.cursor);
            if take(&result, &mut self.received) {
                return true;
            }
        }
        false
    }
}

async fn consume(url: String, daemons: Arc<[Daemon; 2]>, seed: u64, start: String) -> Consumer {
    let mut random = StdRng::seed_from_u64(seed);
    let client = connect(&url).await.unwrap();
    let mut consumer = Consumer { cursor: start, received: Vec::new(), turns: [0; 3] };
    loop {
        let turn = random.random_range(0..3);
        consumer.turns[turn] += 1;
        let daemon = &daemons[random.random_range(0..2)];
        let last = match turn {
            0 => consumer.pull(&client, &mut random).await,
            _ => consumer.stream(daemon, turn == 1, &mut random).await,
        };
        if last {
            return consumer;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_mixes_pages_and_streams_gets_each_event_once() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    let client = connect(&url).await.unwrap();
    client.batch_execute(SETUP).await.unwrap();
    let start: String = client.query_one("select tidings.current_cursor()", &[]).await.unwrap().get(0);
    let daemons = Arc::new([Daemon::start(&url).await, Daemon::start(&url).await]);
    let consumers: Vec<_> = (0..CONSUMERS)
        .map(|seed| tokio::spawn(consume(url.clone(), daemons.clone(), seed, start.clone())))
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
    for consumer in consumers {
        let Consumer { received, turns: [pages, sse, sockets], .. } = consumer.await.unwrap();
        assert!(pages > 2 && sse > 2 && sockets > 2, "{pages} {sse} {sockets}");
        let who = format!("{pages} turns of pages, {sse} of SSE, {sockets} of WebSocket");
        reconcile(&who, &stored, &received);
    }
}
