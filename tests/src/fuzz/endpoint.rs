//! The real daemon over sockets: HTTP as bytes and as requests, WebSockets of both subprotocols.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{Fuzz, requests};
use crate::support::daemon::{Daemon, token};
use crate::support::database::Database;

/// No answer to one input takes this long.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Inputs after which the daemon has allocated what it needs.
const WARM_UP: u64 = 300;
/// What an allocator may keep that is no growth, in KiB.
const SLACK_KIB: u64 = 48 << 10;

/// A daemon that is attacked, and the runtime of those who attack it.
struct Attacked {
    runtime: Runtime,
    daemon: Daemon,
    token: String,
    /// A reservation of the token's user.
    stream: String,
    warm_kib: u64,
    _database: Database,
}

impl Attacked {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (database, daemon) = runtime.block_on(async {
            let database = Database::new().await;
            let sql = database.connect().await;
            sql.run("create table orders (id int primary key, tenant_id text, note text)").await;
            sql.run("select attach_trigger('orders', 'Order', tenant_column => 'tenant_id')").await;
            let daemon = Daemon::builder(&database.conninfo())
                .env("TIDINGS_LIMITS_REQUEST_S", "5")
                .env("TIDINGS_LIMITS_ATTEMPTS_PER_MINUTE", "10000000")
                .env("TIDINGS_LIMITS_OPERATIONS_PER_MINUTE", "10000000")
                .env("TIDINGS_LOG_FILTER", "warn,tidings_daemon::cli=info,tidings_daemon::service=info")
                .start()
                .await;
            (database, daemon)
        });
        let token = token("ann", "acme");
        let mut attacked =
            Self { runtime, daemon, token, stream: String::new(), warm_kib: 0, _database: database };
        attacked.reserve();
        attacked
    }

    /// Takes a reservation, so that some requests get further than its check.
    fn reserve(&mut self) {
        let request = reqwest::Client::new()
            .put(format!("http://{}/graphql/stream", self.daemon.address))
            .bearer_auth(&self.token)
            .send();
        let text = self.runtime.block_on(async { request.await.unwrap().text().await.unwrap() });
        self.stream = if text.len() < 200 { text } else { String::new() };
    }

    fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.daemon.pid())).expect("the daemon runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The daemon has not panicked, and serves others.
    fn is_well(&self) {
        assert!(!self.daemon.log().contains("panicked"), "{}", self.daemon.log());
        let health = reqwest::Client::new().get(format!("http://{}/healthz", self.daemon.address)).send();
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER_TIME_MAX, health).await });
        assert_eq!(answer.expect("an answer in time").expect("an answer").status(), 200);
    }

    /// Tries inputs until the time is over, then looks at what the daemon still holds.
    fn run(mut self, mut fuzz: Fuzz, mut attempt: impl FnMut(&Self, &[u8], &mut rand::rngs::StdRng)) {
        while let Some(input) = fuzz.input() {
            fuzz.guard(&input, |rng| {
                attempt(&self, &input, rng);
                assert!(!self.daemon.log().contains("panicked"), "{}", self.daemon.log());
            });
            if fuzz.tried.is_multiple_of(100) {
                fuzz.guard(&input, |_| self.is_well());
                self.reserve();
            }
            if fuzz.tried == WARM_UP {
                self.warm_kib = self.resident_kib();
            }
        }
        self.is_well();
        let (before, after) = (self.warm_kib, self.resident_kib());
        fuzz.report(&format!("; daemon {before} KiB after {WARM_UP} inputs, {after} KiB at the end"));
        if before > 0 {
            assert!(after < before + before / 2 + SLACK_KIB, "it grows: {before} KiB, then {after} KiB");
        }
    }

    /// Sends bytes, says that no more come, and reads the answer as far as it ends.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(&self.daemon.address).await.expect("the daemon listens");
        // It may be refused before all of it is sent.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        while let Ok(1..) = socket.read_buf(&mut answer).await {
            let streams = [&b"text/event-stream"[..], b"multipart/mixed; b"];
            let is_stream = streams.iter().any(|kind| answer.windows(kind.len()).any(|part| part == *kind));
            if is_stream || answer.len() > 4 << 20 {
                break;
            }
        }
        answer
    }

    /// An input with the tokens that stand for themselves.
    fn filled(&self, input: &[u8]) -> Vec<u8> {
        let mut filled = input.to_owned();
        for (name, value) in [("{TOKEN}", &self.token), ("{STREAM}", &self.stream)] {
            while let Some(at) = filled.windows(name.len()).position(|part| part == name.as_bytes()) {
                filled.splice(at..at + name.len(), value.bytes());
            }
        }
        filled
    }
}

/// HTTP answers, if there is one: a known status, and never the one that says that the daemon is broken.
fn is_an_answer(answer: &[u8]) {
    if answer.is_empty() || !answer.starts_with(b"HTTP/1.") {
        return;
    }
    let text = String::from_utf8_lossy(&answer[..answer.len().min(400)]).into_owned();
    let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
    let known = [
        100, 101, 200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 413, 414, 415, 417, 421,
        422, 426, 429, 431, 503, 505,
    ];
    assert!(known.contains(&status), "{text}");
}

#[test]
fn http_is_answered_whatever_its_bytes_are() {
    let attacked = Attacked::start();
    let fuzz = Fuzz::new("http", requests::WORDS);
    attacked.run(fuzz, |attacked, input, rng| {
        // Every other input is a request with known parts; the kept ones come as they are.
        let made = if rng.random_bool(0.5) { requests::request(rng) } else { input.to_owned() };
        let bytes = attacked.filled(&made);
        let answer = attacked
            .runtime
            .block_on(async { tokio::time::timeout(ANSWER_TIME_MAX, attacked.exchange(&bytes)).await });
        let answer = answer.unwrap_or_else(|_| panic!("no end of the answer to {}", bytes.escape_ascii()));
        is_an_answer(&answer);
    });
}

impl Attacked {
    /// Says each line of an input on one socket; afterwards it is open and answers, or was closed with a code.
    async fn converse(&self, subprotocol: &str, input: &[u8]) {
        let mut request = format!("ws://{}/graphql", self.daemon.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", subprotocol.parse().unwrap());
        let (mut socket, _) = connect_async(request).await.expect("an upgrade is never refused");
        for line in input.split(|byte| *byte == b'\n') {
            let message = match std::str::from_utf8(line) {
                Ok(text) => Message::text(text),
                Err(_) => Message::binary(line.to_owned()),
            };
            if socket.feed(message).await.is_err() {
                break;
            }
        }
        let _ = socket.send(Message::Ping(Bytes::from_static(b"end"))).await;
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Pong(said) if said == b"end"[..] => return,
                Message::Close(frame) => {
                    let frame = frame.expect("a close has a code");
                    assert_ne!(
                        u16::from(frame.code),
                        1011 * u16::from(subprotocol != "graphql-ws"),
                        "{frame:?}"
                    );
                    return;
                }
                Message::Text(text) => {
                    drop(serde_json::from_str::<serde_json::Value>(&text).expect("messages are JSON"))
                }
                _ => {}
            }
        }
    }
}

#[test]
fn websockets_are_answered_whatever_is_said() {
    let attacked = Attacked::start();
    let fuzz = Fuzz::new("sockets", requests::MESSAGES);
    attacked.run(fuzz, |attacked, input, rng| {
        let subprotocol = if rng.random_bool(0.5) { "graphql-transport-ws" } else { "graphql-ws" };
        let bytes = attacked.filled(input);
        let talk = attacked.converse(subprotocol, &bytes);
        let over = attacked.runtime.block_on(async { tokio::time::timeout(ANSWER_TIME_MAX, talk).await });
        over.unwrap_or_else(|_| panic!("no answer over {subprotocol} to {}", bytes.escape_ascii()));
    });
}
