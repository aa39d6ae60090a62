//! Behind nginx, as Debian packages it: every transport works, at once, with its usual settings.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{NEWS, alice, authorization, body};
use crate::support::certificates::Authority;
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::files::Files;
use crate::support::http2::Http2;
use crate::support::nginx::Nginx;
use crate::support::raw::{Raw, Wire, text_frame};
use crate::support::websocket::Socket;

/// What nginx needs to be told about WebSockets, whoever is behind it.
const UPGRADES: &str = "proxy_http_version 1.1; proxy_set_header upgrade $http_upgrade; \
                        proxy_set_header connection upgrade; proxy_set_header host $host;";

/// A server with the usual settings in front of an upstream, `more` on top.
fn plain(upstream: String, more: &'static str) -> impl FnOnce(u16) -> String {
    move |port| {
        format!(
            "server {{ listen 127.0.0.1:{port} {more}; location / {{ proxy_pass http://{upstream}; }}\n\
             location /sockets/ {{ {UPGRADES} proxy_pass http://{upstream}/; }} }}"
        )
    }
}

/// The three transports through one proxy.
struct Clients {
    sse: Raw,
    multipart: Raw,
    socket: Socket,
}

impl Clients {
    async fn subscribe(address: &str) -> Self {
        let stream = async |accept: &str, live: &str| {
            stream(TcpStream::connect(address).await.unwrap(), address, accept, live).await
        };
        let sse = stream("text/event-stream", "id: ").await;
        let multipart = stream("multipart/mixed;subscriptionSpec=1.0", "{}\r\n--graphql").await;
        let mut socket =
            Socket::connect_to(&format!("ws://{address}/sockets/graphql"), "graphql-transport-ws").await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": alice() } })).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket.subscribe("1", NEWS).await;
        Self { sse, multipart, socket }
    }

    /// Each gets this event, though nothing follows it.
    async fn get(&mut self, number: u32) {
        let expected = format!("\"data\":{number}}}");
        self.sse.until(&expected).await;
        self.multipart.until(&expected).await;
        assert_eq!(self.socket.next().await["data"]["events"]["data"], number);
    }
}

/// A stream that is live.
async fn stream(socket: impl Wire + 'static, host: &str, accept: &str, live: &str) -> Raw {
    let mut raw = Raw::over(socket);
    let accept = format!("accept: {accept}");
    let headers = [&*authorization(), &accept, "content-type: application/json"];
    raw.ask("POST /graphql", host, &headers, &body(NEWS)).await;
    raw.until(live).await;
    raw
}

async fn publish(database: &Database, number: u32) {
    let statement = format!("select publish_event('news', 'said', '{number}')");
    database.connect().await.run(&statement).await;
}

#[tokio::test]
async fn with_default_buffering_events_arrive_at_once_over_every_transport() {
    let (database, files) = (Database::new().await, Files::new());
    let path = files.path("socket");
    let listen = format!("127.0.0.1:0,unix:{path}");
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_LISTEN", &listen).start().await;
    for (number, upstream) in (1..).zip([daemon.address.clone(), format!("unix:{path}:")]) {
        let nginx = Nginx::start(plain(upstream, "")).await;
        let mut clients = Clients::subscribe(&nginx.address).await;
        for number in [number * 10, number * 10 + 1] {
            publish(&database, number).await;
            clients.get(number).await;
        }
        // Who leaves nginx leaves the daemon.
        drop(clients);
        daemon.wait_for_logs("connection closed", number as usize * 3).await;
    }
}

#[tokio::test]
async fn heartbeats_keep_quiet_streams_open_beyond_the_proxys_timeout() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let upstream = daemon.address.clone();
    let nginx = Nginx::start(move |port| {
        format!("proxy_read_timeout 15s; proxy_send_timeout 15s;\n{}", plain(upstream, "")(port))
    })
    .await;
    let mut clients = Clients::subscribe(&nginx.address).await;
    let start = Instant::now();
    // Each says something of its own, again and again, until that has lasted for twice the timeout.
    let Clients { sse, multipart, socket } = &mut clients;
    let lasting = || start.elapsed() < Duration::from_secs(31);
    tokio::join!(
        async {
            while lasting() {
                sse.more().await
            }
        },
        async {
            while lasting() {
                multipart.more().await
            }
        },
        async {
            while lasting() {
                socket.next_ping().await
            }
        },
    );
    publish(&database, 7).await;
    clients.get(7).await;
}

#[tokio::test]
async fn a_hundred_streams_of_one_browser_come_through() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let nginx = Nginx::start(plain(daemon.address.clone(), "http2")).await;
    let mut client = Http2::connect(&nginx.address).await;
    let bearer = format!("Bearer {}", alice());
    let headers =
        [("accept", "text/event-stream"), ("content-type", "application/json"), ("authorization", &*bearer)];
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut stream = client.request(Method::POST, "/graphql", &headers, &body(NEWS)).await;
        stream.until("id: ").await;
        streams.push(stream);
    }
    publish(&database, 1).await;
    join_all(streams.iter_mut().map(|stream| stream.until("\"data\":1}"))).await;
}

/// The configuration of docs/operations.md, with what differs here.
fn documented(replacements: &[(&str, &str)]) -> String {
    let docs = include_str!("../../../docs/operations.md");
    let (_, block) = docs.split_once("    # nginx\n").expect("the snippet");
    let mut text: String = block
        .lines()
        .take_while(|line| line.starts_with("    ") || line.is_empty())
        .collect::<Vec<_>>()
        .join("\n");
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} in {text}");
        text = text.replace(from, to);
    }
    text
}

#[tokio::test]
async fn the_documented_configuration_works_and_shows_operators_pages_to_nobody() {
    let (database, files, authority) = (Database::new().await, Files::new(), Authority::new());
    let (path, made) = (files.path("socket"), authority.certificate());
    let (certificate, key) = (files.write("cert", &made.certificate), files.write("key", &made.key));
    let _daemon =
        Daemon::builder(&database.conninfo()).env("TIDINGS_LISTEN", &format!("unix:{path}")).start().await;
    let nginx = Nginx::start(|port| {
        documented(&[
            ("/run/tidings/tidings.sock", &path),
            ("listen 443 ", &format!("listen 127.0.0.1:{port} ")),
            ("/etc/ssl/events.example.pem", &certificate),
            ("/etc/ssl/private/events.example.key", &key),
            ("events.example", "localhost"),
        ])
    })
    .await;
    let connect = async |protocol: &str| authority.connect(&nginx.address, &[protocol]).await.unwrap();
    let mut sse = stream(connect("http/1.1").await, "localhost", "text/event-stream", "id: ").await;
    let mut client = Http2::over(connect("h2").await, "localhost").await;
    let bearer = format!("Bearer {}", alice());
    let headers =
        [("accept", "text/event-stream"), ("content-type", "application/json"), ("authorization", &*bearer)];
    let mut stream = client.request(Method::POST, "/graphql", &headers, &body(NEWS)).await;
    stream.until("id: ").await;
    let mut socket = Raw::over(connect("http/1.1").await);
    socket.upgrade("localhost").await;
    let init = json!({ "type": "connection_init", "payload": { "token": alice() } });
    socket.write(&text_frame(&init.to_string())).await;
    let (_, ack) = socket.next_frame().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&ack).unwrap()["type"], "connection_ack");

    publish(&database, 1).await;
    sse.until("\"data\":1}").await;
    stream.until("\"data\":1}").await;
    for page in ["/metrics", "/readyz", "/admin", "/healthz"] {
        let answer = client.request(Method::GET, page, &[("x-forwarded-for", "127.0.0.1")], "").await;
        assert_eq!(answer.status, 404, "{page}");
    }
}
