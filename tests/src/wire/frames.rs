//! WebSocket frames against the rules (RFC 6455), and more of them than anybody needs.

use serde_json::{Value, json};

use super::{NEWS, Neighbours, alice};
use crate::support::daemon::{Builder, Daemon};
use crate::support::raw::{Raw, websocket_frame as frame};
use crate::support::websocket::Socket;

/// Opcodes.
const CONTINUE: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

fn last(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | opcode, payload)
}

/// A socket that is upgraded, and nothing more.
async fn upgraded(daemon: &Daemon) -> Raw {
    let mut raw = Raw::connect(daemon).await;
    raw.upgrade(&daemon.address).await;
    raw
}

/// A socket that is acknowledged.
async fn acknowledged(daemon: &Daemon) -> Raw {
    let mut raw = upgraded(daemon).await;
    let init = json!({ "type": "connection_init", "payload": { "token": alice() } });
    raw.write(&last(TEXT, init.to_string().as_bytes())).await;
    assert_eq!(message(&mut raw).await["type"], "connection_ack");
    raw
}

/// The next message of the daemon.
async fn message(raw: &mut Raw) -> Value {
    loop {
        let (opcode, payload) = raw.next_frame().await.expect("a frame");
        match opcode {
            TEXT => return serde_json::from_slice(&payload).unwrap(),
            CLOSE => panic!("closed: {payload:?}"),
            _ => {}
        }
    }
}

/// The code with which the daemon closes; nothing if it goes without a word.
async fn closed(raw: &mut Raw) -> Option<u16> {
    loop {
        let (opcode, payload) = raw.next_frame().await?;
        if opcode == CLOSE {
            return Some(u16::from_be_bytes([payload[0], payload[1]]));
        }
    }
}

#[tokio::test]
async fn frames_that_break_the_rules_close_with_the_code_for_it() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut unmasked = last(TEXT, b"{}");
    unmasked[1] &= 0x7f;
    unmasked.drain(2..6);
    for (what, bytes, code) in [
        ("a fragmented ping", frame(PING, b"x"), 1002),
        ("a fragmented close", frame(CLOSE, &[3, 232]), 1002),
        ("a ping above 125 bytes", last(PING, &[b'x'; 126]), 1002),
        ("a frame without a mask", unmasked, 1002),
        ("a reserved bit", frame(0xc0 | TEXT, b"{}"), 1002),
        ("a reserved opcode", last(3, b"{}"), 1002),
        ("a reserved control opcode", last(11, b""), 1002),
        ("a continuation of nothing", last(CONTINUE, b"{}"), 1002),
        ("a message inside a message", [frame(TEXT, b"{"), last(TEXT, b"}")].concat(), 1002),
        ("text that is not UTF-8", last(TEXT, b"{\"type\":\"\xff\"}"), 1007),
        ("text cut inside a character", last(TEXT, &"{ü".as_bytes()[..2]), 1007),
        ("a surrogate", last(TEXT, b"\xed\xa0\x80"), 1007),
        ("bytes that are no JSON", last(BINARY, b"\xff\x00"), 4400),
        ("a frame that announces 2^63 bytes", vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        (
            "a frame that announces too many bytes",
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0],
            1009,
        ),
    ] {
        let mut raw = acknowledged(&daemon).await;
        raw.write(&bytes).await;
        assert_eq!(closed(&mut raw).await, Some(code), "{what}");
    }
    // Characters cut by fragments are whole again, and pings may come in between.
    let mut raw = acknowledged(&daemon).await;
    let text = json!({ "type": "ping", "payload": { "x": "ü" } }).to_string();
    let cut = text.find('ü').unwrap() + 1;
    raw.write(&frame(TEXT, &text.as_bytes()[..cut])).await;
    raw.write(&last(PING, b"between")).await;
    raw.write(&last(CONTINUE, &text.as_bytes()[cut..])).await;
    assert_eq!(message(&mut raw).await, json!({ "type": "pong", "payload": { "x": "ü" } }));
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn a_message_may_come_byte_by_byte() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut raw = acknowledged(&daemon).await;
    let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": NEWS } });
    let ping = json!({ "type": "ping" });
    for message in [subscribe, ping] {
        for byte in last(TEXT, message.to_string().as_bytes()) {
            raw.write(&[byte]).await;
        }
    }
    assert_eq!(message(&mut raw).await["type"], "pong");
    // A message in as many fragments as it has bytes, and empty ones.
    let ping = json!({ "type": "ping", "payload": { "y": 1 } }).to_string();
    raw.write(&frame(TEXT, b"")).await;
    for byte in ping.bytes() {
        raw.write(&[frame(CONTINUE, &[byte]), frame(CONTINUE, b"")].concat()).await;
    }
    raw.write(&last(CONTINUE, b"")).await;
    assert_eq!(message(&mut raw).await["payload"]["y"], 1);
    let number = neighbours.publish().await;
    assert_eq!(message(&mut raw).await["payload"]["data"]["events"]["data"], number);
}

#[tokio::test]
async fn an_upgrade_without_init_has_three_seconds_whatever_else_it_says() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let mut silent = upgraded(&daemon).await;
    let mut half = upgraded(&daemon).await;
    half.write(&last(TEXT, b"{\"type\":\"connection_init\"}")[..10]).await;
    let mut chatty = upgraded(&daemon).await;
    let ping = last(TEXT, b"{\"type\":\"ping\"}");
    let (silent, half, chatty) = tokio::join!(closed(&mut silent), closed(&mut half), async {
        loop {
            if chatty.try_write(&ping).await.is_err() {
                return closed(&mut chatty).await;
            }
            match chatty.next_frame().await {
                Some((CLOSE, payload)) => return Some(u16::from_be_bytes([payload[0], payload[1]])),
                Some(_) => {}
                None => return None,
            }
        }
    });
    assert_eq!((silent, half, chatty), (Some(4408), Some(4408), Some(4408)));
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_on_one_socket_are_refused_one_by_one() {
    let (daemon, mut neighbours) = Neighbours::of(|settings| settings).await;
    let before = daemon.memory_kib();
    let mut socket = Socket::open(&daemon, &alice()).await;
    let (mut refused, mut sent) = (0, 0);
    while sent < 10_000 {
        // Answers are read now and then, as far as they have to be: a client that reads none is another test.
        for _ in 0..500 {
            let payload = json!({ "query": NEWS });
            socket.send(json!({ "type": "subscribe", "id": sent.to_string(), "payload": payload })).await;
            sent += 1;
        }
        socket.send(json!({ "type": "ping" })).await;
        loop {
            let answer = socket.receive().await;
            if answer["type"] == "pong" {
                break;
            }
            assert_eq!(answer["type"], "error");
            let code = &answer["payload"][0]["extensions"]["code"];
            assert!(code == "TOO_MANY_SUBSCRIPTIONS" || code == "RATE_LIMITED", "{answer}");
            refused += 1;
        }
    }
    assert!(refused >= 10_000 - 256, "{refused}");
    let running = daemon.metric("tidings_transport_subscriptions{transport=\"graphql-transport-ws\"}").await;
    assert!(running.parse::<u32>().unwrap() <= 257, "{running}");
    let grown = daemon.memory_kib().saturating_sub(before);
    assert!(grown < 50_000, "{grown} KiB");
    neighbours.notice_nothing().await;
}

#[tokio::test]
async fn who_sends_and_never_reads_is_given_up() {
    let stall = |settings: Builder| settings.env("TIDINGS_LIMITS_WRITE_STALL_S", "1");
    let (daemon, mut neighbours) = Neighbours::of(stall).await;
    let before = daemon.memory_kib();
    let ping = json!({ "type": "ping", "payload": { "x": "y".repeat(100) } }).to_string();
    for flood in [last(TEXT, ping.as_bytes()), last(PING, &[b'x'; 125])] {
        let mut raw = acknowledged(&daemon).await;
        let flood = flood.repeat(1_000);
        // The daemon stops reading once its answers are not taken, and closes when that has lasted.
        while raw.try_write(&flood).await.is_ok() {}
    }
    let grown = daemon.memory_kib().saturating_sub(before);
    assert!(grown < 50_000, "{grown} KiB");
    neighbours.notice_nothing().await;
}
