//! SIGTERM: streams are told, and the process ends in bounded time.

use serde_json::json;

use super::raw::Raw;
use super::{QUIET, alice, body, builder};
use crate::support::websocket::Socket;

#[tokio::test]
async fn s22_w13_sigterm_tells_every_stream_when_to_come_back() {
    let mut daemon = builder().env("TIDINGS_DRAIN_S", "1").start().await;
    let authorization = format!("authorization: Bearer {}", alice());
    let headers = ["accept: text/event-stream", "content-type: application/json", &authorization];
    let mut stream = Raw::request(&daemon, "POST /graphql", &headers, &body(QUIET)).await;
    stream.until("id: ").await;
    let mut socket = Socket::open(&daemon, &alice()).await;
    socket.subscribe("1", QUIET).await;

    let mut legacy = Socket::connect(&daemon, "graphql-ws").await;
    legacy.send(json!({ "type": "connection_init", "payload": { "token": alice() } })).await;
    assert_eq!(legacy.receive().await["type"], "connection_ack");

    let (status, stream, closed, legacy) =
        tokio::join!(daemon.terminate(), stream.read_to_end(), socket.closed(), legacy.closed());
    assert!(status.success(), "{status}");
    assert_eq!(stream.matches("retry: ").count(), 2, "{stream}");
    assert!(stream.ends_with("\r\n0\r\n\r\n") && !stream.contains("event: complete"), "{stream}");
    assert_eq!((closed.0, legacy.0), (1012, 1012)); // W13
}
