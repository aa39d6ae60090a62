//! Results that are written past the task of their connection: whatever the socket takes of them, frames stay whole and in
//! order.

use std::ops::Range;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{NEWS, alice, authorization, body};
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::raw::{Raw, websocket_frame};
use crate::support::within;

/// Events of one half of a test.
const EVENTS: u64 = 400;

/// The kernel makes some thousands of it: far less than waits for a client that does not read.
const RECEIVE_BYTES: u32 = 2048;

/// A socket that takes little at a time.
async fn narrow(daemon: &Daemon) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BYTES).unwrap();
    socket.connect(daemon.address.parse().unwrap()).await.unwrap()
}

/// Publishes numbered events, each in a transaction of its own.
async fn publish(database: &Database, numbers: Range<u64>) {
    let session = database.connect().await;
    for number in numbers {
        let text = "x".repeat((number * 7919 % 30_000) as usize);
        session
            .run(&format!("select publish_event('news', 'said', '{{\"n\":{number},\"t\":\"{text}\"}}')"))
            .await;
    }
}

/// How many results there were, and how many of them were written directly.
async fn counts(daemon: &Daemon) -> [u64; 2] {
    let count = async |name: &str| daemon.metric(name).await.parse::<u64>().unwrap();
    [count("tidings_deliveries_total").await, count("tidings_direct_deliveries_total").await]
}

/// Publishes one event after the other until one was written directly, as the client's task had nothing to do. Returns the
/// next number.
async fn warm_up(daemon: &Daemon, database: &Database) -> u64 {
    within("a result that is written directly", async {
        for number in 0.. {
            publish(database, number..number + 1).await;
            loop {
                match counts(daemon).await {
                    [_, direct] if direct > 0 => return number + 1,
                    [all, _] if all > number => break,
                    _ => {}
                }
            }
        }
        unreachable!("there is always a next number")
    })
    .await
}

/// That both ways were taken.
async fn both_ways(daemon: &Daemon) {
    let [all, direct] = counts(daemon).await;
    println!("{direct} of {all} results were written directly");
    assert!(direct > 0 && direct < all, "{direct} of {all}");
}

fn numbers(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["data"]["events"]["data"]["n"].as_u64().expect("a result")).collect()
}

/// The chunks of a body so far, each of which ends where it says.
fn chunks(mut body: &[u8]) -> String {
    let mut data = Vec::new();
    while let Some(end) = body.windows(2).position(|pair| pair == b"\r\n") {
        let size =
            std::str::from_utf8(&body[..end]).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
        let size = size.unwrap_or_else(|| panic!("{:?} is no size", String::from_utf8_lossy(&body[..end])));
        let Some(chunk) = body.get(end + 2..end + 2 + size + 2) else { break };
        assert!(chunk.ends_with(b"\r\n"), "a chunk ends where it says");
        data.extend_from_slice(&chunk[..size]);
        body = &body[end + 4 + size..];
    }
    String::from_utf8(data).unwrap()
}

/// Reads until there is a chunk with a text.
async fn read_until(socket: &mut TcpStream, received: &mut Vec<u8>, text: &str) {
    within(text, async {
        let mut chunk = 0;
        while !(received.ends_with(b"\n\n\r\n") && String::from_utf8_lossy(&received[chunk..]).contains(text))
        {
            // Longer than a result: that with the text begins behind here.
            chunk = received.len().saturating_sub(40_000);
            assert_ne!(socket.read_buf(received).await.unwrap(), 0, "the stream ended");
        }
    })
    .await;
}

/// A WebSocket that is subscribed and acknowledged.
async fn subscribed(mut raw: Raw, daemon: &Daemon) -> Raw {
    raw.upgrade(&daemon.address).await;
    let extensions = json!({ "acknowledge": true });
    for message in [
        json!({ "type": "connection_init", "payload": { "token": alice() } }),
        json!({ "type": "subscribe", "id": "1", "payload": { "query": NEWS, "extensions": extensions } }),
    ] {
        raw.write(&websocket_frame(0x81, message.to_string().as_bytes())).await;
    }
    // The acknowledgements of the connection and of the subscription.
    for _ in 0..2 {
        assert_eq!(raw.next_frame().await.unwrap().0, 1);
    }
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_stay_whole_however_little_a_socket_takes() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = narrow(&daemon).await;
    let query = body(NEWS);
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\n{}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{query}",
        daemon.address,
        authorization(),
        query.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    // Until its cursor it is not live.
    read_until(&mut socket, &mut received, "id: ").await;
    let first = warm_up(&daemon, &database).await;
    // Now nobody reads, and then somebody does all the time.
    let (half, end) = (first + EVENTS, first + 2 * EVENTS);
    publish(&database, first..half).await;
    let last = format!("\"n\": {},", end - 1);
    tokio::join!(publish(&database, half..end), read_until(&mut socket, &mut received, &last));
    let start = received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let text = chunks(&received[start..]);
    let data = text.lines().filter_map(|line| line.strip_prefix("data: {").map(|rest| format!("{{{rest}")));
    let results: Vec<Value> = data.map(|data| serde_json::from_str(&data).unwrap()).collect();
    assert_eq!(numbers(&results), (0..end).collect::<Vec<_>>());
    both_ways(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_stay_whole_among_pongs_however_little_a_socket_takes() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut raw = subscribed(Raw::over(narrow(&daemon).await), &daemon).await;
    let (mut results, mut pongs) = (Vec::new(), 0);
    let first = warm_up(&daemon, &database).await;
    let (half, end) = (first + EVENTS, first + 2 * EVENTS);
    publish(&database, first..half).await;
    let read = async {
        while results.len() < end as usize {
            match raw.next_frame().await.expect("a frame") {
                (1, text) => {
                    let mut message: Value = serde_json::from_slice(&text).unwrap();
                    results.push(message["payload"].take());
                }
                (10, payload) => {
                    assert_eq!(payload, b"?");
                    pongs += 1;
                }
                // The daemon's own.
                (9, _) => {}
                other => panic!("{other:?}"),
            }
            if results.len() % 10 == 0 {
                raw.write(&websocket_frame(0x89, b"?")).await;
            }
        }
    };
    tokio::join!(publish(&database, half..end), read);
    assert_eq!(numbers(&results), (0..end).collect::<Vec<_>>());
    assert!(pongs > 0);
    both_ways(&daemon).await;
}

/// Sockets that say something all the time.
const TALKERS: usize = 8;

/// Events of a transaction, and transactions.
const BATCH: u64 = 20;
const BATCHES: u64 = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_is_woken_for_something_else_changes_no_order() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut talkers = Vec::new();
    for _ in 0..TALKERS {
        let mut raw = subscribed(Raw::connect(&daemon).await, &daemon).await;
        talkers.push(tokio::spawn(async move {
            let mut results = Vec::new();
            while results.len() < (BATCH * BATCHES) as usize {
                raw.write(&websocket_frame(0x89, b"?")).await;
                if let (1, text) = raw.next_frame().await.expect("a frame") {
                    let mut message: Value = serde_json::from_slice(&text).unwrap();
                    results.push(message["payload"].take());
                }
            }
            numbers(&results)
        }));
    }
    let session = database.connect().await;
    for batch in 0..BATCHES {
        let (from, to) = (batch * BATCH, (batch + 1) * BATCH - 1);
        session
            .run(&format!(
                "select publish_event('news', 'said', jsonb_build_object('n', n)) from generate_series({from}, {to}) n"
            ))
            .await;
    }
    for talker in talkers {
        assert_eq!(talker.await.unwrap(), (0..BATCH * BATCHES).collect::<Vec<_>>());
    }
}
