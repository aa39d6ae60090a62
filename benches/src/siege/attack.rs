//! What slow and hostile clients send, as bytes of a fresh connection.

use serde_json::json;

use crate::Arguments;

/// One kind of client.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    /// Sent at once.
    pub(crate) first: Vec<u8>,
    /// Sent a byte at a time, again and again, after it.
    pub(crate) dribble: Vec<u8>,
}

fn at_once(first: impl Into<Vec<u8>>) -> Attack {
    Attack { first: first.into(), dribble: Vec::new() }
}

/// Slow ones: each holds its connection as long as the daemon lets it.
pub(crate) fn slow(arguments: &Arguments) -> Vec<Attack> {
    let (host, token) = (&arguments.address, &arguments.attacker_token);
    let post = format!(
        "POST /graphql HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    let stream = json!({ "query": "subscription { events(channel: \"siege\") { data } }" }).to_string();
    let dribbled = |first: Vec<u8>, dribble: &str| Attack { first, dribble: dribble.into() };
    let mut half_frame = upgrade(host);
    half_frame.extend(&text_frame(r#"{"type":"connection_init"}"#)[..10]);
    let mut acknowledged = upgrade(host);
    let init = json!({ "type": "connection_init", "payload": { "token": token } });
    acknowledged.extend(text_frame(&init.to_string()));
    vec![
        at_once(""),
        at_once("GET /gra"),
        dribbled(format!("GET /graphql HTTP/1.1\r\nhost: {host}\r\nx: ").into(), "y"),
        dribbled(format!("{post}content-length: 1000000\r\n\r\n").into(), " "),
        at_once(PREFACE),
        at_once([PREFACE, &frame(1, 1, 1, &[0x82])].concat()),
        at_once(upgrade(host)),
        dribbled(half_frame, " "),
        // A message of fragments without end, and no pong.
        Attack {
            first: [&acknowledged[..], &[0x01, 0x81, 0, 0, 0, 0, b'x']].concat(),
            dribble: vec![0x00, 0x81, 0, 0, 0, 0, b'x'],
        },
        // Streams that are never read.
        at_once(format!(
            "{post}accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{stream}",
            stream.len()
        )),
    ]
}

/// Hostile ones: each is answered or closed, and another comes.
pub(crate) fn bad(arguments: &Arguments) -> Vec<Attack> {
    let (host, token) = (&arguments.address, &arguments.attacker_token);
    let get = format!("GET /graphql HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
    let post = get.replacen("GET", "POST", 1) + "content-type: application/json\r\n";
    let body = |text: &str| format!("{post}content-length: {}\r\n\r\n{text}", text.len());
    let mut acknowledged = upgrade(host);
    let init = json!({ "type": "connection_init", "payload": { "token": token } });
    acknowledged.extend(text_frame(&init.to_string()));
    let after_ack = |frames: &[u8]| at_once([&acknowledged, frames].concat());
    let subscriptions: Vec<u8> = (0..1_000)
        .flat_map(|id| {
            let payload = json!({ "query": "subscription { events(channel: \"other\") { id } }" });
            text_frame(&json!({ "type": "subscribe", "id": id.to_string(), "payload": payload }).to_string())
        })
        .collect();
    let resets: Vec<u8> = (0..200)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [frame(1, 5, stream, &[0x82, 0x86, 0x84]), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
        })
        .collect();
    let continuations: Vec<u8> =
        [frame(1, 1, 1, &[0x82]), frame(9, 0, 1, &[0, 1, b'x', 1, b'y']).repeat(2_000)].concat();
    vec![
        at_once(format!("{get}host: {host}\r\n\r\n")),
        at_once(format!("{get}x: {}\r\n\r\n", "y".repeat(60_000))),
        at_once(b"\x00\x01\x02\xff".repeat(1_000)),
        at_once(format!("{post}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")),
        at_once(format!("{post}content-encoding: gzip\r\ncontent-length: 1000000\r\n\r\n")),
        at_once(body(&"[".repeat(1 << 20))),
        at_once(body(&json!({ "query": "{a".repeat(10_000) }).to_string())),
        at_once(body(
            &json!({ "query": "subscription {" , "variables": { "x": "y".repeat(100_000) } }).to_string(),
        )),
        at_once(format!("PUT /graphql HTTP/1.1\r\nhost: {host}\r\n\r\n").repeat(100)),
        at_once((get.replacen("GET", "PUT", 1) + "\r\n").repeat(20)),
        after_ack(&[0x81, 0xff, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0]),
        after_ack(&[0x81, 0x81, 0, 0, 0, 0, 0xff]),
        after_ack(&[0x09, 0x81, 0, 0, 0, 0, b'x']),
        after_ack(&subscriptions),
        at_once([PREFACE, &frame(4, 0, 0, &[]), &resets].concat()),
        at_once([PREFACE, &frame(4, 0, 0, &[]), &continuations].concat()),
        at_once([PREFACE, &frame(4, 0, 0, &[]), &frame(6, 0, 0, &[7; 8]).repeat(1_000)].concat()),
    ]
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A WebSocket's upgrade.
pub(crate) fn upgrade(host: &str) -> Vec<u8> {
    format!(
        "GET /graphql HTTP/1.1\r\nhost: {host}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: graphql-transport-ws\r\n\r\n"
    )
    .into_bytes()
}

/// A text frame of a WebSocket, masked with zeros.
pub(crate) fn text_frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] =
        if text.len() < 126 { &[0x81, 0x80 | length[1]] } else { &[0x81, 0x80 | 126, length[0], length[1]] };
    [head, &[0; 4], text.as_bytes()].concat()
}
