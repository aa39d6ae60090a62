//! The real daemon over sockets: HTTP as bytes and as requests, WebSockets of both subprotocols.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
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
/// An answer comes within this time, unless the daemon waits for more.
const PAUSE: Duration = Duration::from_millis(40);
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
    /// How often there was which answer: the run is worth something if there are many kinds.
    answers: Mutex<BTreeMap<String, u64>>,
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
        let mut attacked = Self {
            runtime,
            daemon,
            token,
            stream: String::new(),
            warm_kib: 0,
            answers: Mutex::default(),
            _database: database,
        };
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
        super::resident_kib(&self.daemon.pid().to_string())
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
        let answers: Vec<_> =
            self.answers.lock().iter().map(|(answer, times)| format!("{answer} x{times}")).collect();
        let answers = answers.join(", ");
        fuzz.report(&format!(
            "; daemon {before} KiB after {WARM_UP} inputs, {after} KiB at the end; answers {answers}"
        ));
        if before > 0 {
            assert!(after < before + before / 2 + SLACK_KIB, "it grows: {before} KiB, then {after} KiB");
        }
    }

    /// Sends bytes and reads the answer as far as it ends. If none comes they are no whole request: then says that
    /// no more come.
    async fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(&self.daemon.address).await.expect("the daemon listens");
        // It may be refused before all of it is sent.
        let _ = socket.write_all(bytes).await;
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            match tokio::time::timeout(PAUSE, socket.read_buf(&mut answer)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return answer,
                Err(_) => {
                    let _ = socket.shutdown().await;
                    while !is_whole(&answer) && matches!(socket.read_buf(&mut answer).await, Ok(1..)) {}
                    return answer;
                }
            }
        }
        answer
    }

    fn count(&self, answer: impl ToString) {
        *self.answers.lock().entry(answer.to_string()).or_default() += 1;
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

/// Whether an answer has ended, or is a stream, which does not.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let body = answer.len() - end - 4;
    let length = head.split("content-length: ").nth(1).and_then(|text| text.lines().next()?.parse().ok());
    let streams = ["text/event-stream", "multipart/mixed; b", "http/1.1 101"];
    length.map_or_else(|| answer.ends_with(b"\r\n0\r\n\r\n"), |length: usize| body >= length)
        || streams.iter().any(|stream| head.contains(stream))
}

/// The status, if there is one: it is known, and never the one that says that the daemon is broken.
fn status(answer: &[u8]) -> String {
    if answer.is_empty() || !answer.starts_with(b"HTTP/1.") {
        return if answer.is_empty() { "none" } else { "HTTP/2" }.to_owned();
    }
    let text = String::from_utf8_lossy(&answer[..answer.len().min(400)]).into_owned();
    let status: u16 = text.split(' ').nth(1).unwrap().parse().unwrap();
    let known = [
        100, 101, 200, 201, 202, 204, 304, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 414, 415, 417,
        421, 422, 426, 429, 431, 503, 505,
    ];
    assert!(known.contains(&status), "{text}");
    status.to_string()
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
        attacked.count(status(&answer));
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
        loop {
            match socket.next().await {
                Some(Ok(Message::Pong(said))) if said == b"end"[..] => return self.count("open"),
                Some(Ok(Message::Close(frame))) => {
                    let code = u16::from(frame.expect("a close has a code").code);
                    // Of the two only the older protocol has it, for who is rejected (L1).
                    assert!(code != 1011 || subprotocol == "graphql-ws", "an internal error");
                    assert!(
                        code != 1000 || subprotocol == "graphql-ws",
                        "W13: clients come back without a pause"
                    );
                    return self.count(code);
                }
                Some(Ok(Message::Text(text))) => {
                    serde_json::from_str::<serde_json::Value>(&text).expect("messages are JSON");
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return self.count(error),
                None => return self.count("end"),
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
