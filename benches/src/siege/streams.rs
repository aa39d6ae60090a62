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
/// Ages beyond an hour are not told apart; none is expected.
const AGE_US_MAX: u64 = 3_600_000_000;
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
            ages: Mutex::new(Histogram::new_with_bounds(1, AGE_US_MAX, 3)?),
            received: AtomicU64::new(0),
            grown: Notify::new(),
            lost: Mutex::new(None),
        });
        for number in 0..arguments.streams {
            let socket = TcpStream::connect(&arguments.address).await.context("connecting to the daemon")?;
            socket.set_nodelay(true)?;
            let framed = number % 2 == 1;
            let socket =
                if framed { websocket(arguments, socket).await? } else { sse(arguments, socket).await? };
            tokio::spawn(listen(shared.clone(), socket, framed));
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

async fn sse(arguments: &Arguments, mut socket: TcpStream) -> Result<TcpStream> {
    let body = json!({ "query": SUBSCRIPTION }).to_string();
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        arguments.address,
        arguments.token,
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    until(&mut socket, "\nid: ").await?;
    Ok(socket)
}

async fn websocket(arguments: &Arguments, mut socket: TcpStream) -> Result<TcpStream> {
    let mut hello = upgrade(&arguments.address);
    let init = json!({ "type": "connection_init", "payload": { "token": arguments.token } });
    hello.extend(text_frame(&init.to_string()));
    socket.write_all(&hello).await?;
    until(&mut socket, "connection_ack").await?;
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": SUBSCRIPTION } });
    let mut messages = text_frame(&subscribe.to_string());
    messages.extend(text_frame(r#"{"type":"ping"}"#));
    socket.write_all(&messages).await?;
    // Nothing is published yet, so this is the last of what comes now.
    until(&mut socket, "\"type\":\"pong\"}").await?;
    Ok(socket)
}

async fn until(socket: &mut TcpStream, text: &str) -> Result<()> {
    let mut received = Vec::new();
    while memmem::find(&received, text.as_bytes()).is_none() {
        if socket.read_buf(&mut received).await? == 0 {
            bail!("no {text:?} in {}", String::from_utf8_lossy(&received));
        }
    }
    Ok(())
}

/// Notes results until the stream ends, which it must not.
async fn listen(shared: Arc<Shared>, mut socket: TcpStream, framed: bool) {
    let mut rest = Vec::new();
    loop {
        let (mut taken, mut pings) = (0, 0);
        if framed {
            while let Some((opcode, payload, end)) = frame(&rest[taken..]) {
                note(&shared, payload);
                pings += u32::from(opcode == PING);
                taken += end;
            }
        } else if let Some(end) = memmem::rfind(&rest, b"\n\n") {
            taken = end + 2;
            note(&shared, &rest[..taken]);
        }
        rest.drain(..taken);
        for _ in 0..pings {
            // Masked with zeros.
            let _ = socket.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await;
        }
        match socket.read_buf(&mut rest).await {
            Ok(1..) => {}
            ended => {
                shared.lost.lock().get_or_insert_with(|| format!("{ended:?}"));
                shared.grown.notify_waiters();
                return;
            }
        }
    }
}

const PING: u8 = 9;

/// The opcode and payload of the frame that the daemon's bytes begin with, and where it ends, once it is whole.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, length) = (bytes.first()?, bytes.get(1)?);
    let (begin, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?]))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(*short)),
    };
    Some((first & 0x0f, bytes.get(begin..begin + length)?, begin + length))
}

/// Notes every result among whole messages.
fn note(shared: &Shared, messages: &[u8]) {
    for at in memmem::find_iter(messages, DATA) {
        let digits = &messages[at + DATA.len()..];
        let length = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        let published: Option<u64> =
            std::str::from_utf8(&digits[..length]).ok().and_then(|text| text.parse().ok());
        let Some(published) = published else {
            shared
                .lost
                .lock()
                .get_or_insert_with(|| format!("no time in {}", String::from_utf8_lossy(messages)));
            continue;
        };
        let now = u64::try_from(shared.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        shared.ages.lock().saturating_record(now.saturating_sub(published).max(1));
        shared.received.fetch_add(1, Ordering::Release);
        shared.grown.notify_waiters();
    }
}
