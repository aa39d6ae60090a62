//! Clients that come and go: what happened in between comes first, then the stream goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::database_with_orders;
use super::exactly_once::{LAST_ROW, QUERY, SETUP, connect, reconcile, take, write};
use crate::support::cluster::Cluster;
use crate::support::daemon::{Daemon, token, token_of};
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

const WRITERS: u64 = 24;
const CLIENTS: usize = 8;
const TRANSACTIONS: u32 = 20;

/// A stream over any transport.
pub(super) enum Stream {
    Sse(Sse),
    Socket(Box<Socket>),
}

impl Stream {
    /// Subscribes, after a cursor if there is one, by whatever means the transport has.
    async fn open(daemon: &Daemon, query: &str, cursor: Option<&str>, random: &mut StdRng) -> Self {
        let token = token("ann", "acme");
        let mut payload = json!({ "query": query });
        if let Some(cursor) = cursor {
            payload["extensions"] = json!({ "cursor": cursor });
        }
        match (random.random_range(0..3), cursor) {
            (0, Some(cursor)) => Self::Sse(Sse::resume(daemon, &token, query, cursor).await),
            (0 | 1, _) => Self::Sse(Sse::post(daemon, &token, &payload).await),
            _ => {
                let mut socket = Socket::open(daemon, &token).await;
                socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
                if cursor.is_none() {
                    socket.send(json!({ "type": "ping" })).await;
                    assert_eq!(socket.receive().await["type"], "pong");
                }
                Self::Socket(Box::new(socket))
            }
        }
    }

    pub(super) async fn next(&mut self) -> Value {
        match self {
            Self::Sse(stream) => stream.next().await,
            Self::Socket(socket) => socket.next().await,
        }
    }
}

/// Reads on, leaving and coming back to any of the daemons, until the last row has come.
async fn roam(
    daemons: Arc<[Daemon; 2]>,
    seed: u64,
    started: Arc<Barrier>,
    reconnects: Arc<AtomicUsize>,
) -> Vec<(i32, i64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut stream = Stream::open(&daemons[0], QUERY, None, &mut random).await;
    started.wait().await;
    let (mut received, mut cursor) = (Vec::new(), None);
    loop {
        for _ in 0..random.random_range(1..300) {
            let result = stream.next().await;
            cursor = Some(result["extensions"]["cursor"].as_str().expect("a cursor").to_owned());
            if take(&result, &mut received) {
                return received;
            }
        }
        let daemon = &daemons[random.random_range(0..2)];
        drop(stream);
        stream = Stream::open(daemon, QUERY, cursor.as_deref(), &mut random).await;
        reconnects.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s21_w14_clients_that_come_and_go_between_two_daemons_get_everything_once() {
    let cluster = Cluster::start();
    let url = cluster.url("postgres");
    connect(&url).await.unwrap().batch_execute(SETUP).await.unwrap();
    // One that remembers some of what is missed, and one that remembers nothing.
    let small = |url: &str, ring| {
        Daemon::builder(url).env("TIDINGS_MAILBOX_MESSAGES", "400").env("TIDINGS_RING_EVENTS", ring).start()
    };
    let daemons = Arc::new([small(&url, "500").await, small(&url, "0").await]);
    let (started, reconnects) = (Arc::new(Barrier::new(CLIENTS + 1)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|seed| tokio::spawn(roam(daemons.clone(), seed, started.clone(), reconnects.clone())))
        .collect();
    started.wait().await;
    let writers: Vec<_> =
        (0..WRITERS).map(|seed| tokio::spawn(write(url.clone(), seed, TRANSACTIONS))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let client = connect(&url).await.unwrap();
    client.execute("update counters set version = version + 1 where id = $1", &[&LAST_ROW]).await.unwrap();
    let query = "select (payload->>'id')::int, (payload->>'version')::bigint from tidings.events order by id";
    let rows = client.query(query, &[]).await.unwrap();
    let stored: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert!(stored.len() > 4_000, "only {} events", stored.len());
    for client in clients {
        reconcile("a client that comes and goes", &stored, &client.await.unwrap());
    }
    let count = async |name| {
        let mut sum = 0;
        for daemon in &*daemons {
            sum += daemon.metric(name).await.parse::<u64>().unwrap();
        }
        sum
    };
    let (memory, table) =
        (count("tidings_replay_memory_reads_total").await, count("tidings_replay_reads_total").await);
    println!(
        "{} events, {CLIENTS} clients, {} reconnects, {} mailboxes that were full meanwhile, {memory} reads of \
         memory, {table} of the table",
        stored.len(),
        reconnects.load(Ordering::Relaxed),
        count("tidings_mailbox_overflows_total").await
    );
    assert!(memory > 0 && table > 0, "both are met");
    assert!(reconnects.load(Ordering::Relaxed) > CLIENTS * 3);
}

const ORDERS: &str = "subscription { orderChanged { operation record { id } old { id } } }";

#[tokio::test]
async fn s21_what_happened_while_nobody_served_comes_first() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut stream = Sse::open(&daemon, &token("ann", "acme"), ORDERS).await;
    session.batch_execute("insert into orders values (1, 'acme', 'new', 1)").await.unwrap();
    let first = stream.next().await;
    let cursor = first["extensions"]["cursor"].as_str().unwrap().to_owned();
    drop((stream, daemon));
    let missed = "insert into orders values (2, 'acme', 'new', 1), (3, 'globex', 'new', 1);
                  update orders set status = 'paid'; delete from orders where id = 1";
    session.batch_execute(missed).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut stream = Sse::resume(&daemon, &token("ann", "acme"), ORDERS, &cursor).await;
    session.batch_execute("insert into orders values (4, 'acme', 'new', 1)").await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let change = stream.next().await["data"]["orderChanged"].take();
        let id = change["record"]["id"].as_i64().or_else(|| change["old"]["id"].as_i64());
        seen.push(format!("{} {}", change["operation"].as_str().unwrap(), id.unwrap()));
    }
    assert_eq!(seen, ["INSERT 2", "UPDATE 1", "UPDATE 2", "DELETE 1", "INSERT 4"]);
    // Another document, another tenant: the cursor is about events, and whose they are is asked anew.
    let globex = "subscription { orderInserted { id } }";
    let mut stream = Sse::resume(&daemon, &token("gil", "globex"), globex, &cursor).await;
    assert_eq!(stream.next().await["data"]["orderInserted"]["id"], 3);
    session.batch_execute("insert into orders values (5, 'globex', 'new', 1)").await.unwrap();
    assert_eq!(stream.next().await["data"]["orderInserted"]["id"], 5);
}

#[tokio::test]
async fn a_cursor_of_another_history_or_from_behind_retention_is_told_so_and_where_to_go_on() {
    let (database, other) = (database_with_orders().await, database_with_orders().await);
    let session = database.connect().await;
    // One that remembers nothing: what is in memory is not lost yet.
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_RING_EVENTS", "0").start().await;
    let ann = token("ann", "acme");
    let cursor = async |daemon: &Daemon| {
        let socket = &mut Socket::connect(daemon, "graphql-transport-ws").await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": ann } })).await;
        socket.receive().await["payload"]["cursor"].as_str().unwrap().to_owned()
    };
    let elsewhere = cursor(&Daemon::start(&other.conninfo()).await).await;
    let old = cursor(&daemon).await;
    let mut stream = Sse::open(&daemon, &ann, ORDERS).await;
    session.batch_execute("insert into orders values (1, 'acme', 'new', 1)").await.unwrap();
    // The daemon has it before it is removed: nobody who is connected lacks it.
    assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], 1);
    drop(stream);
    // Everything is removed: what the cursor lacks, too.
    let remove = "do $$ begin perform tidings.remove_slot(slot, pg_current_snapshot()) from generate_series(0, 2) slot;
                  end $$";
    session.batch_execute(remove).await.unwrap();
    session.batch_execute("insert into orders values (2, 'acme', 'new', 1)").await.unwrap();
    for (cursor, code) in [(elsewhere, "CURSOR_HISTORY_CHANGED"), (old, "CURSOR_EXPIRED")] {
        let mut stream = Sse::resume(&daemon, &ann, ORDERS, &cursor).await;
        let error = stream.next().await["errors"][0].take();
        assert_eq!(error["extensions"]["code"], code, "{error}");
        assert_eq!(error["extensions"]["cursor"], cursor, "{error}");
        assert_eq!(stream.next_event().await.unwrap().event, "complete");
        let oldest = error["extensions"]["oldestCursor"].as_str().unwrap();
        let mut stream = Sse::resume(&daemon, &ann, ORDERS, oldest).await;
        assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], 2, "what is left");
        let newest = error["extensions"]["newestCursor"].as_str().unwrap();
        let mut stream = Sse::resume(&daemon, &ann, ORDERS, newest).await;
        session.batch_execute("insert into orders values (3, 'acme', 'new', 1)").await.unwrap();
        assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], 3, "what is new");
        session.batch_execute("delete from orders where id = 3").await.unwrap();
        // Seen by the daemon, whose newest cursor is then beyond it.
        assert_eq!(stream.next().await["data"]["orderChanged"]["operation"], "DELETE");
        // The same over WebSocket is an error of the operation.
        let mut socket = Socket::open(&daemon, &ann).await;
        let payload = json!({ "query": ORDERS, "extensions": { "cursor": cursor } });
        socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
        let error = socket.receive().await;
        assert_eq!(
            (&error["type"], &error["payload"][0]["extensions"]["code"]),
            (&json!("error"), &json!(code))
        );
    }
    assert_eq!(daemon.metric("tidings_replays_total{outcome=\"expired\"").await, "2");
}

#[tokio::test]
async fn what_retention_removed_and_memory_has_is_not_lost() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    session.batch_execute("insert into orders values (1, 'acme', 'new', 1)").await.unwrap();
    let ann = token("ann", "acme");
    let mut daemon = Daemon::start(&database.conninfo()).await;
    let mut stream = Sse::open(&daemon, &ann, ORDERS).await;
    session.batch_execute("insert into orders values (2, 'acme', 'new', 1)").await.unwrap();
    let cursor = stream.next().await["extensions"]["cursor"].as_str().unwrap().to_owned();
    assert!(daemon.terminate().await.success());
    session.batch_execute("insert into orders values (3, 'acme', 'new', 1)").await.unwrap();
    // It reads what is there when it starts.
    let daemon = Daemon::start(&database.conninfo()).await;
    assert_eq!(daemon.metric("tidings_ring_events ").await, "3");
    session.batch_execute("insert into orders values (4, 'acme', 'new', 1)").await.unwrap();
    let mut stream = Sse::resume(&daemon, &ann, ORDERS, &cursor).await;
    for id in [3, 4] {
        assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], id);
    }
    let remove = "do $$ begin perform tidings.remove_slot(slot, pg_current_snapshot()) from generate_series(0, 2) slot;
                  end $$";
    session.batch_execute(remove).await.unwrap();
    session.batch_execute("insert into orders values (5, 'acme', 'new', 1)").await.unwrap();
    let mut stream = Sse::resume(&daemon, &ann, ORDERS, &cursor).await;
    for id in [3, 4, 5] {
        assert_eq!(stream.next().await["data"]["orderChanged"]["record"]["id"], id);
    }
    assert_eq!(daemon.metric("tidings_replay_reads_total").await, "0");
}

#[tokio::test]
async fn a_storm_of_clients_that_come_back_costs_no_statement_that_memory_spares() {
    assert_eq!(storm("10000").await, 0, "they were not away for long");
}

#[tokio::test]
async fn a_storm_of_clients_that_come_back_costs_few_statements() {
    let reads = storm("0").await;
    assert!(reads > 0 && reads < STORM / 2, "{reads} statements");
}

const STORM: usize = 300;

/// Many come back after a restart, to a daemon that remembers so many events. How many statements they cost.
async fn storm(remembered: &str) -> usize {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let mut daemon = Daemon::start(&database.conninfo()).await;
    let query = "subscription { orderInserted { id } }";
    let ann = token_of(json!({ "sub": "ann", "tenant_id": "acme" }), std::time::Duration::from_secs(600));
    let mut cursors = Vec::new();
    for id in 0..20 {
        let mut stream = Sse::open(&daemon, &ann, query).await;
        session.run(&format!("insert into orders values ({id}, 'acme', 'new', 1)")).await;
        let result = stream.next().await;
        cursors.push((id, result["extensions"]["cursor"].as_str().unwrap().to_owned()));
    }
    assert!(daemon.terminate().await.success());
    session
        .batch_execute("insert into orders select generate_series(20, 29), 'acme', 'new', 1")
        .await
        .unwrap();
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_RING_EVENTS", remembered).start().await;
    let daemon = Arc::new(daemon);
    let clients = (0..STORM).map(|number| {
        let (daemon, ann, (id, cursor)) = (daemon.clone(), ann.clone(), cursors[number % 20].clone());
        tokio::spawn(async move {
            let mut stream = Sse::resume(&daemon, &ann, query, &cursor).await;
            for expected in id + 1..30 {
                assert_eq!(stream.next().await["data"]["orderInserted"]["id"], expected);
            }
            stream
        })
    });
    let mut streams = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        streams.push(client.await.unwrap());
    }
    session.batch_execute("insert into orders values (30, 'acme', 'new', 1)").await.unwrap();
    for stream in &mut streams {
        assert_eq!(stream.next().await["data"]["orderInserted"]["id"], 30, "everybody is in the stream");
    }
    let reads: usize = daemon.metric("tidings_replay_reads_total").await.parse().unwrap();
    println!("{STORM} clients with {} cursors came back: {reads} statements", cursors.len());
    reads
}
