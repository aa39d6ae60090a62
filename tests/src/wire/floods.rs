//! HTTP/2 against its own rules: every flood ends its connection, and no other.

use http::Method;
use serde_json::json;

use super::{NEWS, Neighbours, alice, body};
use crate::support::daemon::Daemon;
use crate::support::http2::{END_HEADERS, END_STREAM, Frames, Http2, connect, frame, get, kind};
use crate::support::raw::text_frame;

/// RFC 9113, section 7.
const ENHANCE_YOUR_CALM: u32 = 11;

const SETTING_INITIAL_WINDOW: u16 = 4;

/// A GET of the health page on a stream.
fn head(daemon: &Daemon, stream: u32, flags: u8) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, &get("/healthz", &daemon.address, &[]))
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut frames = Frames::open(&daemon.address, &[]).await;
    let mut flood = Vec::new();
    for number in 0..10_000 {
        let stream = 2 * number + 1;
        flood.extend(head(&daemon, stream, END_HEADERS | END_STREAM));
        flood.extend(frame(kind::RESET, 0, stream, &8_u32.to_be_bytes()));
    }
    // Whatever the daemon does not take any more, it has said why.
    frames.send(&flood).await;
    assert_eq!(frames.sent_away().await, Some(ENHANCE_YOUR_CALM));
    assert!(!daemon.log().contains("h2::"), "a client's mistakes fill no disk: {}", daemon.log());
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_alone() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut frames = Frames::open(&daemon.address, &[]).await;
    let token = format!("Bearer {}", alice());
    let headers = [("accept", "text/event-stream"), ("authorization", &*token)];
    let target = "/graphql?query=subscription%7Bevents(channel:%22news%22)%7Bdata%7D%7D";
    let block = get(target, &daemon.address, &headers);
    for number in 0..300 {
        let flags = END_HEADERS | END_STREAM;
        assert!(frames.send(&frame(kind::HEADERS, flags, 2 * number + 1, &block)).await);
    }
    let mut refused = 0;
    while refused < 300 - 256 {
        let (stream, payload) = frames.next_of(kind::RESET).await.expect("the connection goes on");
        assert_eq!(payload, 7_u32.to_be_bytes(), "REFUSED_STREAM");
        assert!(stream > 2 * 255, "{stream}");
        refused += 1;
    }
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn heads_without_end_are_given_up() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    // A head that is larger than allowed, in one piece after another, each small (CVE-2024-27316).
    let mut frames = Frames::open(&daemon.address, &[]).await;
    frames.send(&head(&daemon, 1, END_STREAM)).await;
    let piece = frame(kind::CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(200));
    let mut taken = 0;
    while taken < 10_000 && frames.send(&piece).await {
        taken += 1;
    }
    assert!(taken < 10_000, "the daemon went on reading");
    // The same without any content.
    let mut frames = Frames::open(&daemon.address, &[]).await;
    frames.send(&head(&daemon, 1, END_STREAM)).await;
    let empty = frame(kind::CONTINUATION, 0, 1, &[]).repeat(100);
    let mut taken = 0;
    while taken < 100_000 && frames.send(&empty).await {
        taken += 1;
    }
    assert!(taken < 100_000, "the daemon went on reading");
    // One that is too large as a whole is answered.
    let mut client = Http2::connect(&daemon.address).await;
    let large = "y".repeat(20_000);
    let answer = client.request(Method::GET, "/healthz", &[("x", &large)], "").await;
    assert_eq!(answer.status, 431);
    assert_eq!(client.request(Method::GET, "/healthz", &[], "").await.status, 200);
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn what_breaks_the_rules_ends_with_an_error() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let ends = END_HEADERS | END_STREAM;
    for (what, bytes) in [
        ("an even stream", head(&daemon, 2, ends)),
        ("data of no stream", frame(kind::DATA, 0, 1, b"x")),
        ("a head that is no HPACK", frame(kind::HEADERS, ends, 1, &[0x80])),
        ("a ping of another size", frame(kind::PING, 0, 0, &[0; 7])),
        ("a frame above the limit", frame(kind::DATA, 0, 1, &[0; 20_000])),
        ("a window without end", frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).repeat(2)),
        ("a window of no stream", frame(kind::WINDOW_UPDATE, 0, 0, &0_u32.to_be_bytes())),
        ("a continuation of nothing", frame(kind::CONTINUATION, END_HEADERS, 1, &[])),
    ] {
        let mut frames = Frames::open(&daemon.address, &[]).await;
        frames.send(&bytes).await;
        // Which error it is, the library says; that it is one, and the end, is ours.
        assert!(matches!(frames.sent_away().await, Some(1..)), "{what}");
        while frames.next().await.is_some() {}
    }
    // Frames that are legal and of no use cost the daemon an answer each, which has to be read.
    let mut frames = Frames::open(&daemon.address, &[]).await;
    for _ in 0..100 {
        assert!(frames.send(&frame(kind::PING, 0, 0, &[7; 8]).repeat(10)).await);
        for _ in 0..10 {
            assert_eq!(frames.next_of(kind::PING).await.unwrap().1, [7; 8]);
        }
    }
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn floods_whose_answers_nobody_reads_end_the_connection() {
    let (daemon, mut neighbours) =
        Neighbours::of(|settings| settings.env("TIDINGS_LIMITS_WRITE_STALL_S", "1")).await;
    let before = daemon.memory_kib();
    for flood in [frame(kind::PING, 0, 0, &[7; 8]), frame(kind::SETTINGS, 0, 0, &[])] {
        let mut frames = Frames::open(&daemon.address, &[]).await;
        let flood = flood.repeat(1_000);
        // The daemon stops reading once its answers are not taken, and closes when that has lasted.
        while frames.send(&flood).await {}
    }
    let grown = daemon.memory_kib().saturating_sub(before);
    assert!(grown < 50_000, "{grown} KiB");
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_stream_whose_window_stays_closed_is_given_up() {
    let stall = |settings: crate::support::daemon::Builder| {
        settings.env("TIDINGS_LIMITS_WRITE_STALL_S", "1").env("TIDINGS_LIMITS_IDLE_S", "2")
    };
    let (daemon, mut neighbours) = Neighbours::of(stall).await;
    let mut frames = Frames::open(&daemon.address, &[(SETTING_INITIAL_WINDOW, 0)]).await;
    let token = format!("Bearer {}", alice());
    let headers = [("accept", "text/event-stream"), ("authorization", &*token)];
    let target = "/graphql?query=subscription%7Bevents(channel:%22news%22)%7Bdata%7D%7D";
    let block = get(target, &daemon.address, &headers);
    frames.send(&frame(kind::HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;
    // The head needs no window. The rest is not taken, so the stream is reset.
    assert_eq!(frames.next_of(kind::HEADERS).await.unwrap().0, 1);
    assert_eq!(frames.next_of(kind::RESET).await.unwrap().0, 1);
    assert_eq!(daemon.metric("tidings_listener_limits_total{limit=\"stream_stall\"}").await, "1");
    daemon.wait_for_log("connection closed").await;
    // Nothing is under way any more: the connection goes, too.
    assert_eq!(frames.sent_away().await, Some(0));
    while frames.next().await.is_some() {}
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_websocket_inside_http2_whose_window_stays_closed_is_given_up() {
    let (daemon, mut neighbours) =
        Neighbours::of(|settings| settings.env("TIDINGS_LIMITS_WRITE_STALL_S", "1")).await;
    // Room for the acknowledgement, and not for what follows. The connection itself is read and answered.
    let mut frames = Frames::open(&daemon.address, &[(SETTING_INITIAL_WINDOW, 300)]).await;
    let headers = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "graphql-transport-ws")];
    let block = connect("/graphql", &daemon.address, &headers);
    frames.send(&frame(kind::HEADERS, END_HEADERS, 1, &block)).await;
    assert_eq!(frames.next_of(kind::HEADERS).await.unwrap().0, 1);
    let init = json!({ "type": "connection_init", "payload": { "token": alice() } });
    let ping = json!({ "type": "ping", "payload": { "x": "y".repeat(80) } });
    frames.send(&frame(kind::DATA, 0, 1, &text_frame(&init.to_string()))).await;
    assert!(!frames.next_of(kind::DATA).await.unwrap().1.is_empty());
    frames.send(&frame(kind::DATA, 0, 1, &text_frame(&ping.to_string()).repeat(50))).await;
    daemon.wait_for_log("connection closed").await;
    assert_eq!(daemon.metric("tidings_connections{transport=\"graphql-transport-ws\"}").await, "1");
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_connection_without_requests_is_given_up() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| {
        settings.env("TIDINGS_LIMITS_REQUEST_S", "1").env("TIDINGS_LIMITS_IDLE_S", "1")
    })
    .await;
    // Nothing but the preface; half a head; a stream that is kept alive is kept.
    let mut silent = Frames::open(&daemon.address, &[]).await;
    let mut half = Frames::open(&daemon.address, &[]).await;
    half.send(&head(&daemon, 1, END_STREAM)).await;
    let mut used = Http2::connect(&daemon.address).await;
    let bearer = format!("Bearer {}", alice());
    let headers =
        [("accept", "text/event-stream"), ("authorization", &*bearer), ("content-type", "application/json")];
    let mut stream = used.request(Method::POST, "/graphql", &headers, &body(NEWS)).await;
    stream.until("id: ").await;
    assert_eq!(silent.sent_away().await, Some(0));
    while silent.next().await.is_some() {}
    while half.next().await.is_some() {}
    let number = neighbours.publish().await;
    stream.until(&format!("\"data\":{number}}}")).await;
    // A body that does not come is answered as over HTTP/1.1, and the connection goes on.
    let headers =
        [("content-type", "application/json"), ("authorization", &*bearer), ("content-length", "10")];
    let mut sender = used.sender();
    let mut request = http::Request::post(format!("http://{}/graphql", daemon.address));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (answer, _unsent) = sender.send_request(request.body(()).unwrap(), false).unwrap();
    let answer = crate::support::within("the answer", answer).await.unwrap();
    assert_eq!(answer.status(), 408);
    assert_eq!(used.request(Method::GET, "/healthz", &[], "").await.status, 200);
}
