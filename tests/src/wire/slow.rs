//! Clients that are slow, or there no more: each costs a bounded time, and its neighbours nothing.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{NEWS, Neighbours, authorization, body};
use crate::support::daemon::{Builder, Daemon};
use crate::support::raw::Raw;
use crate::support::within;

fn short(settings: Builder) -> Builder {
    let settings = settings.env("TIDINGS_LIMITS_REQUEST_S", "1").env("TIDINGS_LIMITS_IDLE_S", "2");
    settings.env("TIDINGS_LIMITS_WRITE_STALL_S", "1")
}

async fn limit(daemon: &Daemon, name: &str) -> String {
    daemon.metric(&format!("tidings_listener_limits_total{{limit=\"{name}\"}}")).await
}

#[tokio::test]
async fn slowloris_of_every_kind_is_given_up() {
    let (daemon, mut neighbours) = Neighbours::of(short).await;
    let host = format!("host: {}", daemon.address);
    let mut slow = Vec::new();
    for begun in [
        "",
        "G",
        "GET /graphql HTTP/1.1\r\n",
        &format!("GET /graphql HTTP/1.1\r\n{host}\r\nx: "),
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{0}\u{0}\u{6}\u{4}",
    ] {
        for _ in 0..20 {
            slow.push(Raw::send(&daemon, begun).await);
        }
    }
    // One that goes on, a byte at a time, gets no more time by that.
    let mut dribbling = Raw::send(&daemon, "GET /graphql HTTP/1.1\r\nx: ").await;
    let dribble = async {
        while dribbling.try_write(b"y").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    within("the end of a dribble", dribble).await;
    for raw in &mut slow {
        raw.until_closed().await;
    }
    assert_eq!(limit(&daemon, "head").await, (slow.len() + 1).to_string());
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_socket_between_two_requests_may_wait_longer_than_a_head_may_take() {
    let (daemon, _neighbours) = Neighbours::of(short).await;
    let mut raw = Raw::connect(&daemon).await;
    let ask = async |raw: &mut Raw| {
        raw.ask("GET /healthz", &daemon.address, &[], "").await;
        assert_eq!(raw.next_response().await.status, 200);
    };
    ask(&mut raw).await;
    // Time that passes is what this is about: more than a head may take, less than a pause may.
    tokio::time::sleep(std::time::Duration::from_millis(1_400)).await;
    ask(&mut raw).await;
    // The next head begins, and has its own, shorter time.
    raw.write(b"GET /healthz").await;
    raw.until_closed().await;
    assert_eq!(limit(&daemon, "head").await, "1");
    let mut raw = Raw::connect(&daemon).await;
    ask(&mut raw).await;
    raw.until_closed().await;
    assert_eq!(limit(&daemon, "idle").await, "1");
}

#[tokio::test]
async fn a_stream_may_be_quiet_for_as_long_as_it_likes() {
    let (daemon, mut neighbours) = Neighbours::of(short).await;
    let mut stream = Raw::connect(&daemon).await;
    let headers = [&*authorization(), "accept: text/event-stream", "content-type: application/json"];
    stream.ask("POST /graphql", &daemon.address, &headers, &body(NEWS)).await;
    stream.until("id: ").await;
    // Longer than every limit: the keep-alive comes, and then an event.
    stream.until("\r\n:\n\n\r\n").await;
    let number = neighbours.publish().await;
    stream.until(&format!("\"data\":{number}}}")).await;
}

#[tokio::test]
async fn who_never_reads_is_given_up_and_who_is_half_open_is_let_go() {
    let (daemon, mut neighbours) = Neighbours::of(short).await;
    let (auth, query) = (authorization(), body(NEWS));
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\n{auth}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{query}",
        daemon.address,
        query.len()
    );
    // It asks, says that it says no more, and is gone, as far as its own side knows.
    let mut half_open = Raw::send(&daemon, &head).await;
    half_open.until("id: ").await;
    half_open.finish_sending().await;
    daemon.wait_for_log("connection closed").await;
    half_open.until_closed().await;

    // It asks and never reads, while there is more to say than all buffers hold.
    let mut deaf = TcpStream::connect(&daemon.address).await.unwrap();
    deaf.write_all(head.as_bytes()).await.unwrap();
    daemon.wait_for_logs("connection opened", 4).await;
    let session = neighbours.database.connect().await;
    let large = "select publish_event('news', 'said', to_jsonb(repeat('x', 900000)))";
    let mut sent = 0;
    while daemon.log().matches("connection closed").count() < 2 {
        session.run(large).await;
        sent += 1;
        assert!(sent < 200, "the daemon buffers for ever");
        let expected = "x".repeat(900_000);
        assert_eq!(neighbours.sse.next().await["data"]["events"]["data"], *expected);
        assert_eq!(neighbours.socket.next().await["data"]["events"]["data"], *expected);
    }
    neighbours.notice_nothing().await;
    drop(deaf);
}
