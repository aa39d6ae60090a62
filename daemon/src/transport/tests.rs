//! The endpoint with a service behind it: events from a publisher to the bytes of a socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower::ServiceExt;

use super::listener::{Listening, Reception};
use super::{Endpoint, router};
use crate::access::arrival::Door;
use crate::access::authenticator::Authenticator;
use crate::access::presence::Presence;
use crate::access::revocation::Revocations;
use crate::config::{AuthMode, Config, ListenAddress};
use crate::event::Event;
use crate::hub::mailbox::MailboxLimits;
use crate::metrics::Metrics;
use crate::service::{Service, ServiceOptions};
use crate::shutdown::Shutdown;
use crate::source::catalog::Catalog;
use crate::source::memory::{self, Publisher};
use crate::store::Reservations;
use crate::store::control::Control;
use crate::store::memory::MemoryStore;

struct Running {
    publisher: Publisher,
    address: std::net::SocketAddr,
    metrics: Metrics,
}

/// An endpoint that anybody may use, and who publishes to it.
fn endpoint(
    config: &Config,
    mailbox: MailboxLimits,
    metrics: &Metrics,
    shutdown: Shutdown,
) -> (Publisher, Endpoint) {
    let (publisher, source) = memory::source(Catalog::default(), 16);
    let service =
        Service::start(source, ServiceOptions { mailbox, metrics: metrics.clone(), ..Default::default() });
    let authenticator = Authenticator::new(config).unwrap();
    let revocations = Revocations::new(Presence::default(), Duration::ZERO);
    revocations.replace(Vec::new());
    let store = Arc::new(MemoryStore::new(config.reservation_limits()));
    let reservations =
        Reservations::start(store, Control::memory(), metrics.reservations.clone(), shutdown.clone());
    let endpoint =
        Endpoint::new(service, authenticator, revocations, reservations, config, metrics.clone(), shutdown);
    (publisher, endpoint)
}

async fn start(mailbox: MailboxLimits, write_stall: Duration) -> Running {
    let mut config = Config { auth: Some(AuthMode::None), ..Config::default() };
    config.limits.write_stall = write_stall;
    let metrics = Metrics::register(&mut Registry::default());
    let shutdown = Shutdown::new(Duration::ZERO);
    let (publisher, endpoint) = endpoint(&config, mailbox, &metrics, shutdown.clone());
    let listening = Listening::bind(&"127.0.0.1:0".parse().unwrap(), 0o600, "listen").await.unwrap();
    let ListenAddress::Tcp(address) = listening.address().unwrap() else { unreachable!() };
    let routes = router(endpoint);
    let reception = Reception::new(
        Door::Endpoint,
        routes,
        config.limits,
        &config.trusted_proxies,
        None,
        metrics.clone(),
        shutdown,
    );
    tokio::spawn(reception.serve(listening));
    Running { publisher, address, metrics }
}

async fn subscribe(running: &Running) -> TcpStream {
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let request = "GET /graphql?query=subscription%7Bevents(channel:%22c%22)%7Bdata%7D%7D HTTP/1.1\r\n\
                   host: x\r\naccept: text/event-stream\r\n\r\n";
    socket.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut socket, "id: ").await;
    socket
}

async fn read_until(socket: &mut TcpStream, text: &str) -> String {
    let mut received = Vec::new();
    let read = async {
        let mut looked_at = 0;
        while !String::from_utf8_lossy(&received[looked_at..]).contains(text) {
            looked_at = received.len().saturating_sub(text.len());
            assert_ne!(socket.read_buf(&mut received).await.unwrap(), 0, "the stream ended");
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
    String::from_utf8(received).unwrap()
}

fn event(payload: String) -> Event {
    Event { channel: "c".into(), event_type: "t".into(), payload: payload.into(), ..Event::default() }
}

#[tokio::test]
async fn s04_s20_each_event_is_a_next_with_its_cursor() {
    let running = start(MailboxLimits::default(), Duration::from_secs(60)).await;
    let mut socket = subscribe(&running).await;
    for number in 1..=3 {
        running.publisher.publish(event(number.to_string())).await.unwrap();
    }
    let text = read_until(&mut socket, "\"data\":3}").await;
    let nexts: Vec<_> = text.split("\n\n").filter(|block| block.contains("event: next\n")).collect();
    assert_eq!(nexts.len(), 3, "{text}");
    for (block, number) in nexts.iter().zip(1..) {
        let cursor = block.split("id: ").nth(1).unwrap().lines().next().unwrap();
        let data = format!(
            "data: {{\"data\":{{\"events\":{{\"data\":{number}}}}},\"extensions\":{{\"cursor\":\"{cursor}\"}}}}"
        );
        assert!(block.ends_with(&data), "{block}");
    }
}

#[tokio::test]
async fn each_version_of_http_1_gets_the_framing_that_it_knows() {
    let running = start(MailboxLimits::default(), Duration::from_secs(60)).await;
    for (version, header, chunked, closes) in [
        ("1.1", "x: y", true, false),
        ("1.1", "connection: x, Close", true, true),
        ("1.0", "x: y", false, false),
    ] {
        let mut socket = TcpStream::connect(running.address).await.unwrap();
        let request = format!(
            "GET /graphql?query=subscription%7Bevents(channel:%22c%22)%7Bdata%7D%7D HTTP/{version}\r\n\
             host: x\r\naccept: text/event-stream\r\n{header}\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let opening = read_until(&mut socket, "id: ").await;
        let (head, _) = opening.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.contains("\r\ntransfer-encoding: chunked"), chunked, "{head}");
        assert_eq!(head.contains("\r\nconnection: close"), closes, "{head}");
        running.publisher.publish(event("1".to_owned())).await.unwrap();
        read_until(&mut socket, "\"data\":1}").await;
    }
}

/// Publishes large events until something has come of it.
async fn flood(running: &Running, enough: impl Fn(&Metrics) -> bool) {
    let payload = format!("\"{}\"", "x".repeat(100_000));
    let flood = async {
        while !enough(&running.metrics) {
            running.publisher.publish(event(payload.clone())).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), flood).await.unwrap();
}

const SMALL: MailboxLimits = MailboxLimits { messages: 8, bytes: 1 << 20 };

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let running = start(SMALL, Duration::from_secs(1)).await;
    let _stuck = subscribe(&running).await;
    flood(&running, |metrics| metrics.connections.get_or_create(&[("transport", "sse")]).get() == 0).await;
    let stalls = &running.metrics.endpoint.listener_limits;
    assert_eq!(stalls.get_or_create(&[("limit", "write_stall")]).get(), 1);
}

#[tokio::test]
async fn a_client_that_reads_too_late_catches_up() {
    let running = start(SMALL, Duration::from_secs(60)).await;
    let mut slow = subscribe(&running).await;
    flood(&running, |metrics| metrics.mailbox_overflows.get() > 0).await;
    running.publisher.publish(event("\"last\"".to_owned())).await.unwrap();
    let text = read_until(&mut slow, "\"data\":\"last\"").await;
    let (nexts, published) = (text.matches("event: next\n").count(), running.metrics.events.clone());
    let channel = running.metrics.channel_label("c");
    assert_eq!(nexts as u64, published.get_or_create(&channel).get(), "every event has come, once");
    assert!(!text.contains("errors"), "{text}");
}

/// What a quiet stream says in three minutes of the test's own clock, and when.
async fn quiet_minutes(query: &str) -> Vec<(Duration, String)> {
    let config = Config { auth: Some(AuthMode::None), ..Config::default() };
    let (_publisher, endpoint) = endpoint(
        &config,
        MailboxLimits::default(),
        &Metrics::register(&mut Registry::default()),
        Shutdown::new(Duration::ZERO),
    );
    let uri = format!("/graphql?query=subscription%7Bevents(channel:%22c%22)%7Bdata%7D%7D{query}");
    let request = Request::get(uri).header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let mut body = router(endpoint).oneshot(request).await.unwrap().into_body();
    let (began, mut said) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(180) {
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        said.push((began.elapsed(), String::from_utf8(bytes.to_vec()).unwrap()));
    }
    said
}

#[tokio::test(start_paused = true)]
async fn s22_what_waits_is_said_before_goodbye() {
    let config = Config { auth: Some(AuthMode::None), ..Config::default() };
    let (metrics, shutdown) = (Metrics::register(&mut Registry::default()), Shutdown::new(Duration::ZERO));
    let (publisher, endpoint) = endpoint(&config, MailboxLimits::default(), &metrics, shutdown.clone());
    let uri = "/graphql?query=subscription%7Bevents(channel:%22c%22)%7Bdata%7D%7D";
    let request = Request::get(uri).header("accept", "text/event-stream").body(Body::empty()).unwrap();
    let mut body = router(endpoint).oneshot(request).await.unwrap().into_body();
    let mut said = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
    said().await.unwrap();
    publisher.publish(event("1".to_owned())).await.unwrap();
    shutdown.begin();
    // Time passes only when nobody has anything to do: now both wait for the stream.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = said().await.unwrap();
    let last = std::str::from_utf8(&last).unwrap();
    let (result, goodbye) = (last.find("\"data\":1}").unwrap(), last.find("retry: ").unwrap());
    assert!(result < goodbye, "{last}");
    assert!(said().await.is_none());
}

fn gaps<'a>(times: impl Iterator<Item = &'a Duration> + Clone) -> impl Iterator<Item = Duration> {
    times.clone().skip(1).zip(times).map(|(later, earlier)| *later - *earlier)
}

#[tokio::test(start_paused = true)]
async fn s19_s20_a_quiet_stream_comments_every_12_seconds_and_names_its_cursor_every_minute() {
    let said = quiet_minutes("").await;
    assert!(said[0].0 < Duration::from_secs(1) && said[0].1.starts_with(":\n\nretry: "), "{said:?}");
    let longest = gaps(said.iter().map(|(time, _)| time)).max().unwrap();
    assert!(longest <= Duration::from_millis(12_010), "{longest:?}");
    let named = said.iter().filter(|(_, text)| text.contains("id: "));
    let longest = gaps(named.clone().map(|(time, _)| time)).max().unwrap();
    assert!(longest <= Duration::from_millis(60_050), "{longest:?}");
    assert!(named.clone().count() >= 3, "{said:?}");
    for (_, text) in &said {
        assert!(text.ends_with("\n\n") && !text.contains("event:") && !text.contains('\r'), "{text:?}");
    }
    let retries: usize = said.iter().map(|(_, text)| text.matches("retry:").count()).sum();
    assert_eq!(retries, 1, "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn s23_who_asks_for_named_events_gets_a_test_and_heartbeats() {
    let said = quiet_minutes("&events=named").await;
    let events = |text: &str| -> Vec<String> {
        let blocks = text.split("\n\n").filter(|block| block.starts_with("event: "));
        blocks.map(str::to_owned).collect()
    };
    let first = events(&said[0].1);
    assert!(first.len() == 1 && first[0].starts_with("event: test\ndata: {"), "{said:?}");
    let longest = gaps(said.iter().map(|(time, _)| time)).max().unwrap();
    assert!(longest <= Duration::from_millis(12_010), "{longest:?}");
    for (_, text) in &said[1..] {
        let beats = events(text);
        let [beat] = beats.as_slice() else { panic!("one heartbeat: {text:?}") };
        let data = beat.strip_prefix("event: heartbeat\ndata: ").unwrap();
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        data["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
}
