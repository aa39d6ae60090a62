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

/// A request that is well-formed more often than not.
pub(super) fn request(rng: &mut StdRng) -> Vec<u8> {
    let mut text = format!("{} {}", METHODS.choose(rng).unwrap(), PATHS.choose(rng).unwrap());
    if rng.random_bool(0.1) {
        // The two paths that there is most to say about.
        text = format!("{} /graphql/stream", METHODS[..4].choose(rng).unwrap());
    }
    for number in 0..rng.random_range(0..4) {
        text.push(if number == 0 { '?' } else { '&' });
        text.push_str(PARAMETERS.choose(rng).unwrap());
    }
    text.push_str(if rng.random_bool(0.95) { " HTTP/1.1\r\n" } else { " HTTP/1.0\r\n" });
    if rng.random_bool(0.95) {
        text.push_str("host: localhost\r\n");
    }
    for _ in 0..rng.random_range(0..7) {
        text.push_str(HEADERS.choose(rng).unwrap());
        text.push_str("\r\n");
    }
    let body = BODIES.choose(rng).unwrap();
    if rng.random_bool(0.9) {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    format!("{text}\r\n{body}").into_bytes()
}
