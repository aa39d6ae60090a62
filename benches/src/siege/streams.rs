//! The healthy streams: every event reaches each of them, and its age is noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use memchr::memmem;
use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::Arguments;
use crate::attack::{text_frame, upgrade};

const SUBSCRIPTION: &str = "subscription { events(channel: \"siege\") { data } }";
/// What stands before the time of an event's publication in its result.
const DATA: &[u8] = b"\"events\":{\"data\":";
/// Time for the last events of a phase to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of them.
pub(crate) struct Streams {
    shared: Arc<Shared>,
}

struct Shared {
    start: Instant,
    ages: Mutex<Histogram<u64>>,
    received: AtomicU64,
    grown: Notify,
    lost: Mutex<Option<String>>,
}

impl Streams {
    /// Opens them; returns once all are live.
    pub(crate) async fn open(arguments: &Arguments) -> Result<Self> {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            ages: Mutex::new(Histogram::new(3)?),
            received: AtomicU64::new(0),
            grown: Notify::new(),
            lost: Mutex::new(None),
        });
        for number in 0..arguments.streams {
            let socket = TcpStream::connect(&arguments.address).await.context("connecting to the daemon")?;
            socket.set_nodelay(true)?;
            let (socket, rest) = if number % 2 == 0 {
                sse(arguments, socket).await?
            } else {
                websocket(arguments, socket).await?
            };
            tokio::spawn(listen(shared.clone(), socket, rest));
        }
        Ok(Self { shared })
    }

    /// Microseconds since the beginning.
    pub(crate) fn now_us(&self) -> i64 {
        i64::try_from(self.shared.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// Forgets what was measured.
    pub(crate) fn begin(&self) {
        self.shared.ages.lock().reset();
        self.shared.received.store(0, Ordering::Release);
    }

    /// What was measured, once so many results have come.
    pub(crate) async fn received(&self, count: u64) -> Result<Histogram<u64>> {
        let all = async {
            loop {
                let grown = self.shared.grown.notified();
                if self.shared.received.load(Ordering::Acquire) >= count {
                    return;
                }
                grown.await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, all).await;
        self.check()?;
        let received = self.shared.received.load(Ordering::Acquire);
        ensure!(in_time.is_ok() && received == count, "{received} results instead of {count}");
        Ok(self.shared.ages.lock().clone())
    }

    /// No stream was lost.
    pub(crate) fn check(&self) -> Result<()> {
        match &*self.shared.lost.lock() {
            Some(reason) => bail!("a healthy stream was lost: {reason}"),
            None => Ok(()),
        }
    }
}

async fn sse(arguments: &Arguments, mut socket: TcpStream) -> Result<(TcpStream, Vec<u8>)> {
    let body = json!({ "query": SUBSCRIPTION }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        arguments.address,
        arguments.token,
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    let rest = until(&mut socket, "\nid: ").await?;
    Ok((socket, rest))
}

async fn websocket(arguments: &Arguments, mut socket: TcpStream) -> Result<(TcpStream, Vec<u8>)> {
    let mut hello = upgrade(&arguments.address);
    let init = json!({ "type": "connection_init", "payload": { "token": arguments.token } });
    hello.extend(text_frame(&init.to_string()));
    socket.write_all(&hello).await?;
    until(&mut socket, "connection_ack").await?;
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": SUBSCRIPTION } });
    let mut messages = text_frame(&subscribe.to_string());
    messages.extend(text_frame(r#"{"type":"ping"}"#));
    socket.write_all(&messages).await?;
    let rest = until(&mut socket, "pong").await?;
    Ok((socket, rest))
}

async fn until(socket: &mut TcpStream, text: &str) -> Result<Vec<u8>> {
    let mut received = Vec::new();
    while memmem::find(&received, text.as_bytes()).is_none() {
        if socket.read_buf(&mut received).await? == 0 {
            bail!("no {text:?} in {}", String::from_utf8_lossy(&received));
        }
    }
    Ok(received)
}

/// Notes results until the stream ends, which it must not.
async fn listen(shared: Arc<Shared>, mut socket: TcpStream, mut rest: Vec<u8>) {
    let mut pongs = 0_u32;
    rest.clear();
    loop {
        match socket.read_buf(&mut rest).await {
            Ok(1..) => {}
            ended => {
                shared.lost.lock().get_or_insert_with(|| format!("{ended:?}"));
                return;
            }
        }
        let taken = note(&shared, &rest, &mut pongs);
        rest.drain(..taken);
        for _ in 0..std::mem::take(&mut pongs) {
            // A pong of RFC 6455, masked with zeros.
            let _ = socket.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await;
        }
    }
}

/// Notes every whole result in what was received; returns how much of it is done with.
fn note(shared: &Shared, received: &[u8], pongs: &mut u32) -> usize {
    let mut done = 0;
    while let Some(at) = memmem::find(&received[done..], DATA) {
        let begin = done + at + DATA.len();
        let Some(length) = received[begin..].iter().position(|byte| !byte.is_ascii_digit()) else { break };
        let digits = std::str::from_utf8(&received[begin..begin + length]).unwrap_or_default();
        let now = u64::try_from(shared.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        let published: u64 = digits.parse().unwrap_or(now);
        // Ages beyond an hour saturate; none is expected.
        shared.ages.lock().saturating_record(now.saturating_sub(published).max(1));
        shared.received.fetch_add(1, Ordering::Release);
        shared.grown.notify_waiters();
        done = begin + length;
    }
    // An empty ping of the WebSocket comes alone, between messages.
    if received.ends_with(&[0x89, 0x00]) {
        *pongs += 1;
        return received.len();
    }
    // A result that is cut is found again from its beginning.
    done.max(received.len().saturating_sub(4096))
}
