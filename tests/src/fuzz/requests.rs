//! HTTP requests made of parts that the endpoint knows, put together without regard for sense.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// Words for changed requests.
pub(super) const WORDS: &[&str] = &[
    "GET ",
    "POST ",
    "PUT ",
    "DELETE ",
    "OPTIONS ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "host: x\r\n",
    "content-length: 0\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "expect: 100-continue\r\n",
    "upgrade: websocket\r\nconnection: upgrade\r\n",
    "authorization: Bearer {TOKEN}\r\n",
    "x-graphql-event-stream-token: {STREAM}\r\n",
    "last-event-id: AAAA\r\n",
    "accept: text/event-stream\r\n",
    "?token={STREAM}",
    "&operationId=1",
    "lastEventId=",
    "query=%7B__typename%7D",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Words for changed messages.
pub(super) const MESSAGES: &[&str] = &[
    "\"type\":",
    "\"id\":",
    "\"payload\":",
    "{\"type\":\"connection_init\",\"payload\":{\"token\":\"{TOKEN}\"}}\n",
    "\"subscribe\"",
    "\"start\"",
    "\"complete\"",
    "\"stop\"",
    "\"ping\"",
    "\"query\":",
    "\"{__typename}\"",
    "\"subscription{orderInserted{id}}\"",
    "\"extensions\":",
    "{\"acknowledge\":true}",
    "{\"cursor\":\"AAAA\"}",
    "\n",
    "null",
    "{",
    "}",
    "[",
    "]",
];

const METHODS: &[&str] =
    &["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "CONNECT", "TRACE", "get", "BREW"];
const PATHS: &[&str] = &[
    "/graphql",
    "/graphql/stream",
    "/graphql/",
    "/graphql/ui/x",
    "/graphql/ui/../../etc/passwd",
    "/healthz",
    "/readyz",
    "/metrics",
    "/",
    "*",
    "http://elsewhere/graphql",
    "//graphql",
    "/%2e%2e/graphql",
    "/graphql%00",
];
const PARAMETERS: &[&str] = &[
    "query=%7B__typename%7D",
    "query=subscription%7BorderInserted%7Bid%7D%7D",
    "query=mutation%7Ba%7D",
    "query=",
    "query=%ff",
    "query",
    "variables=%7B%7D",
    "variables=[",
    "variables=%7B%22a%22:1e999%7D",
    "operationName=A",
    "extensions=%7B%22operationId%22:%221%22%7D",
    "extensions=%7B%22cursor%22:%22AAAA%22%7D",
    "token={STREAM}",
    "token=",
    "token=zzz",
    "operationId=1",
    "operationId=",
    "operationId=%00",
    "lastEventId=AAAA",
    "lastEventId=",
    "events=named",
    "access_token={TOKEN}",
    "a=%",
    "&&==",
];
const HEADERS: &[&str] = &[
    "authorization: Bearer {TOKEN}",
    "authorization: Bearer {TOKEN}",
    "authorization: Bearer {TOKEN}",
    "authorization: Bearer zzz",
    "authorization: Basic YTpi",
    "authorization:",
    "accept: text/event-stream",
    "accept: */*",
    "accept: text/event-stream;q=0, */*;q=0.1",
    "accept: multipart/mixed;subscriptionSpec=1.0",
    "accept: text/html",
    "accept: application/graphql-response+json",
    "accept: ,;q==",
    "content-type: application/json",
    "content-type: application/json",
    "content-type: application/json; charset=utf-7",
    "content-type: text/plain",
    "content-type: multipart/form-data; boundary=x",
    "content-encoding: gzip",
    "x-graphql-event-stream-token: {STREAM}",
    "x-graphql-event-stream-token: {STREAM}",
    "x-graphql-event-stream-token: zzz",
    "x-graphql-event-stream-token:",
    "last-event-id: AAAA",
    "last-event-id: \u{ff}",
    "origin: http://evil.example",
    "origin: null",
    "cookie: token={TOKEN}; a",
    "expect: 100-continue",
    "upgrade: websocket",
    "connection: upgrade",
    "sec-websocket-version: 13",
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol: graphql-transport-ws",
    "transfer-encoding: chunked",
    "x-forwarded-for: 1.2.3.4, zzz",
    "forwarded: for=\"[::1\"",
    "accept-encoding: gzip;q=9",
    "connection: close",
    "te: trailers",
    "range: bytes=0-",
];
const BODIES: &[&str] = &[
    "",
    "{}",
    "[]",
    "null",
    "{",
    r#"{"query":"{__typename}"}"#,
    r#"{"query":"subscription{orderInserted{id}}"}"#,
    r#"{"query":"subscription{orderInserted{id}}","extensions":{"operationId":"1"}}"#,
    r#"{"query":"subscription{orderInserted{id}}","extensions":{"operationId":"1","cursor":"AAAA","acknowledge":true}}"#,
    r#"{"query":"{__typename}","extensions":{"operationId":""}}"#,
    r#"{"query":"{__typename}","extensions":{"operationId":7}}"#,
    r#"{"query":"query($a:Int){__typename}","variables":{"a":1e999}}"#,
    r#"{"query":7}"#,
    r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"zz"}}}"#,
    "5\r\n{\"que\r\n0\r\n\r\n",
    "\u{feff}{}",
];

/// Requests that are good as they are; their last part is the body.
const GOOD: &[(&str, &[&str], &str)] = &[
    ("POST /graphql", &["content-type: application/json", "accept: */*"], r#"{"query":"{__typename}"}"#),
    (
        "POST /graphql",
        &["content-type: application/json", "accept: text/event-stream"],
        r#"{"query":"subscription{orderInserted{id}}"}"#,
    ),
    (
        "GET /graphql/stream?query=subscription%7BorderInserted%7Bid%7D%7D",
        &["accept: multipart/mixed;subscriptionSpec=1.0"],
        "",
    ),
    ("PUT /graphql/stream", &["accept: text/plain"], ""),
    ("GET /graphql/stream", &["accept: text/event-stream", "x-graphql-event-stream-token: {STREAM}"], ""),
    ("GET /graphql/stream?token={STREAM}&lastEventId=AAAA", &["accept: text/event-stream"], ""),
    (
        "POST /graphql/stream?token={STREAM}",
        &["content-type: application/json"],
        r#"{"query":"subscription{orderInserted{id}}","extensions":{"operationId":"1"}}"#,
    ),
    (
        "POST /graphql/stream",
        &["content-type: application/json", "x-graphql-event-stream-token: {STREAM}"],
        r#"{"query":"subscription{orderInserted{id}}","extensions":{"operationId":"2","acknowledge":true}}"#,
    ),
    ("DELETE /graphql/stream?operationId=1", &["x-graphql-event-stream-token: {STREAM}"], ""),
];

/// A request: a good one with some parts too many, or parts at random.
pub(super) fn request(rng: &mut StdRng) -> Vec<u8> {
    let good = rng.random_bool(0.6);
    let (line, headers, mut body) = *GOOD.choose(rng).unwrap();
    let mut line = line.to_owned();
    let mut headers = headers.to_vec();
    headers.push("authorization: Bearer {TOKEN}");
    if !good {
        line = format!("{} {}", METHODS.choose(rng).unwrap(), PATHS.choose(rng).unwrap());
        headers.clear();
        body = BODIES.choose(rng).unwrap();
    } else if rng.random_bool(0.1) {
        body = BODIES.choose(rng).unwrap();
    }
    for _ in 0..rng.random_range(0..if good { 2 } else { 4 }) {
        line.push(if line.contains('?') { '&' } else { '?' });
        line.push_str(PARAMETERS.choose(rng).unwrap());
    }
    for _ in 0..rng.random_range(0..if good { 2 } else { 7 }) {
        headers.insert(rng.random_range(0..=headers.len()), HEADERS.choose(rng).unwrap());
    }
    let version = if rng.random_bool(0.95) { "1.1" } else { "1.0" };
    let length =
        if rng.random_bool(0.95) { format!("content-length: {}\r\n", body.len()) } else { String::new() };
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{line} HTTP/{version}\r\nhost: localhost\r\n{headers}{length}\r\n{body}").into_bytes()
}
