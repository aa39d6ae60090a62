//! HTTP/1 in strange shapes: each is understood in one way only, or refused.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{NEWS, Neighbours, authorization, body, daemon};
use crate::support::daemon::Daemon;
use crate::support::raw::{Raw, Response};

const JSON: &str = "content-type: application/json";

/// The answer to a head and a body that are sent as they are.
async fn ask(daemon: &Daemon, head: &[&str], body: &str) -> Response {
    Raw::send(daemon, &format!("{}\r\n\r\n{body}", head.join("\r\n"))).await.response().await
}

/// The status of what may also be closed without a word.
async fn status(daemon: &Daemon, bytes: &str) -> Option<u16> {
    let answer = Raw::send(daemon, bytes).await.read_to_end().await;
    let status = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    assert!(status.is_some() || answer.is_empty(), "{answer}");
    status.map(|status| status[..3].parse().unwrap())
}

#[tokio::test]
async fn headers_that_are_given_twice_are_refused() {
    let daemon = daemon().await;
    let (host, auth) = (format!("host: {}", daemon.address), authorization());
    let query = body("{__typename}");
    let length = format!("content-length: {}", query.len());
    let base = ["POST /graphql HTTP/1.1", &host, &auth, JSON, &length];
    assert_eq!(ask(&daemon, &base, &query).await.status, 200);
    for (twice, expected) in [
        (&*host, 400),
        ("host: other.example", 400),
        (JSON, 400),
        ("content-type: text/plain", 400),
        (&*auth, 401),
        ("authorization: Bearer abc", 401),
        ("origin: https://a.example\r\norigin: https://b.example", 400),
    ] {
        let head = [&base[..], &[twice]].concat();
        let response = ask(&daemon, &head, &query).await;
        assert_eq!(response.status, expected, "{twice}: {response:?}");
        assert!(response.json()["errors"][0]["message"].is_string());
    }
    let differing = [&base[..], &["content-length: 1"]].concat();
    assert_eq!(ask(&daemon, &differing, &query).await.status, 400);
}

#[tokio::test]
async fn a_target_may_be_absolute_and_names_the_same_host() {
    let daemon = daemon().await;
    let auth = authorization();
    let host = &daemon.address;
    let ask = async |target: &str, host: &str| {
        let head = [&*format!("GET {target} HTTP/1.1"), host, &auth];
        ask(&daemon, &head, "").await.status
    };
    let query = "query=%7B__typename%7D";
    assert_eq!(ask(&format!("http://{host}/graphql?{query}"), &format!("host: {host}")).await, 200);
    assert_eq!(ask(&format!("http://other.example/graphql?{query}"), &format!("host: {host}")).await, 400);
    assert_eq!(ask(&format!("http://{host}/metrics"), "host: other.example").await, 400);
    assert_eq!(ask(&format!("/graphql?{query}"), "x: no host").await, 400);
    assert_eq!(ask(&format!("/graphql?{query}"), "host: a b").await, 400);
    assert_eq!(ask(&format!("/graphql?{query}"), "host: user@a").await, 400);
    assert_eq!(ask("//graphql", &format!("host: {host}")).await, 404);
    assert_eq!(ask("/graphql/../metrics", &format!("host: {host}")).await, 404);
    assert_eq!(ask("/%67raphql", &format!("host: {host}")).await, 404);
    assert_eq!(ask("*", &format!("host: {host}")).await, 404);
}

#[tokio::test]
async fn nothing_is_smuggled_in_behind_a_body() {
    let daemon = daemon().await;
    let (host, auth) = (format!("host: {}", daemon.address), authorization());
    let smuggled = format!("GET /healthz HTTP/1.1\r\n{host}\r\n\r\n");
    let query = body("{__typename}");
    let chunked = format!("{:x}\r\n{query}\r\n0\r\n\r\n", query.len());
    let head = |more: &str| format!("POST /graphql HTTP/1.1\r\n{host}\r\n{auth}\r\n{JSON}\r\n{more}\r\n\r\n");
    // Length and chunks in both orders, and chunks alone: the body is that of the chunks, and the socket ends
    // with the answer, so what follows is never a request.
    for more in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked",
    ] {
        let answer = Raw::send(&daemon, &format!("{}{chunked}{smuggled}", head(more))).await;
        let answer = answer.read_to_end().await;
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"__typename\":\"Query\""),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{more}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    for (more, rest) in [
        ("transfer-encoding: gzip, chunked, identity", &*chunked),
        ("transfer-encoding: identity", &chunked),
        ("transfer-encoding: xchunked", &chunked),
        ("transfer-encoding : chunked", &chunked),
        ("content-length: +5", "hello"),
        ("content-length: 5, 5", "hello"),
        ("content-length: -1", ""),
        ("content-length: 99999999999999999999", ""),
        ("transfer-encoding: chunked", "zz\r\n"),
        ("transfer-encoding: chunked", "ffffffffffffffffff\r\n"),
        ("x: y\n folded: z", ""),
        ("x\u{0}: y", ""),
        ("x: a\rb", ""),
    ] {
        let answer = status(&daemon, &format!("{}{rest}{smuggled}", head(more))).await;
        assert!(matches!(answer, None | Some(400)), "{more}: {answer:?}");
    }
    let old = format!("POST /graphql HTTP/1.0\r\n{host}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}");
    assert_eq!(status(&daemon, &old).await, Some(400));
    for garbage in
        ["GET\r\n\r\n", "\u{0}\u{1}\u{2}\u{3}\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "HELO x\r\n\r\n\r\n"]
    {
        assert!(matches!(status(&daemon, garbage).await, None | Some(400 | 505)), "{garbage:?}");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let daemon = daemon().await;
    let auth = authorization();
    let target = "/graphql?query=%7B__typename%7D";
    let answer = Raw::send(&daemon, &format!("GET {target} HTTP/1.0\r\n{auth}\r\n\r\n")).await;
    let answer = answer.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("}"), "{answer}");
    // A stream has no chunks there; it ends with its socket. This is how nginx asks by default.
    let stream = format!("GET {target} HTTP/1.0\r\naccept: text/event-stream\r\n{auth}\r\n\r\n");
    let answer = Raw::send(&daemon, &stream).await.read_to_end().await;
    assert!(answer.ends_with("event: complete\ndata:\n\n"), "{answer}"); // S5
    assert!(!answer.contains("transfer-encoding"), "{answer}");
}

#[tokio::test]
async fn heads_have_a_size_and_a_number_of_lines() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let (host, auth) = (format!("host: {}", daemon.address), authorization());
    let with = async |more: &str| {
        let target = "GET /graphql?query=%7B__typename%7D HTTP/1.1";
        status(&daemon, &format!("{target}\r\n{host}\r\n{auth}\r\nconnection: close\r\n{more}\r\n\r\n")).await
    };
    let many: String = (0..90).map(|number| format!("x{number}: y\r\n")).collect();
    assert_eq!(with(many.trim_end()).await, Some(200));
    let more: String = (0..110).map(|number| format!("x{number}: y\r\n")).collect();
    assert_eq!(with(more.trim_end()).await, Some(431));
    assert_eq!(with(&format!("x: {}", "y".repeat(8_000))).await, Some(200));
    let refused = with(&format!("x: {}", "y".repeat(60_000))).await;
    assert!(matches!(refused, None | Some(431)), "{refused:?}");
    let long = format!("GET /graphql?query={} HTTP/1.1\r\n{host}\r\n\r\n", "y".repeat(70_000));
    let refused = status(&daemon, &long).await;
    assert!(matches!(refused, None | Some(414 | 431)), "{refused:?}");
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut raw = Raw::connect(&daemon).await;
    let query = body(NEWS);
    let head = format!(
        "POST /graphql HTTP/1.1\r\nhost: {}\r\n{}\r\n{JSON}\r\naccept: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        daemon.address,
        authorization(),
        query.len()
    );
    for byte in (head + &query).bytes() {
        raw.write(&[byte]).await;
    }
    raw.until("id: ").await;
    let number = neighbours.publish().await;
    raw.until(&format!("\"data\":{number}}}")).await;
}

#[tokio::test]
async fn compressed_bodies_are_refused_unread() {
    // Before anybody is connected: it may take longer than a client may be silent.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..256 {
        bomb.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"] {
        let mut raw = Raw::connect(&daemon).await;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\n{}\r\n{JSON}\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            daemon.address,
            authorization(),
            bomb.len()
        );
        raw.write(head.as_bytes()).await;
        let response = raw.next_response().await;
        assert_eq!(response.status, 415, "{encoding}");
        // What nobody reads may come all the same.
        let _ = raw.try_write(&bomb).await;
    }
    let rss = daemon.memory_kib();
    assert!(rss < 300_000, "{rss} KiB");
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn floods_of_requests_on_one_socket_are_answered_one_by_one() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let (host, auth) = (&daemon.address, authorization());
    for (authorization, expected) in [("x: nobody", 401), (&*auth, 201)] {
        let mut raw = Raw::connect(&daemon).await;
        let put = format!("PUT /graphql HTTP/1.1\r\nhost: {host}\r\n{authorization}\r\n\r\n");
        raw.write(put.repeat(300).as_bytes()).await;
        for _ in 0..300 {
            let status = raw.next_response().await.status;
            // Whoever floods may be told that it is too much.
            assert!(status == expected || status == 429, "{status}");
        }
    }
    // What is kept is bounded: the newest.
    let kept = "select count(*) from tidings.connections";
    let kept: u32 = neighbours.database.connect().await.line(kept).await.parse().unwrap();
    assert!((1..=100).contains(&kept), "{kept}");
    neighbours.notice_nothing().await;
}
