//! HTTP/2: a hundred streams on one connection, WebSockets inside it.

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{NEWS, alice, body, daemon};
use crate::support::certificates::Authority;
use crate::support::daemon::Daemon;
use crate::support::database::Database;
use crate::support::files::Files;
use crate::support::http2::{Http2, Stream};
use crate::support::within;

const STREAMS: usize = 100;

async fn subscribe(client: &mut Http2, accept: &str) -> Stream {
    let bearer = format!("Bearer {}", alice());
    let headers = [("accept", accept), ("content-type", "application/json"), ("authorization", &bearer)];
    client.request(Method::POST, "/graphql", &headers, &body(NEWS)).await
}

/// A hundred streams of one connection are live at once, and each gets every event.
async fn a_hundred_streams(database: &Database, daemon: &Daemon, mut client: Http2) {
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = subscribe(&mut client, "text/event-stream").await;
        stream.until("id: ").await;
        assert_eq!(stream.status, 200);
        assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");
        assert!(!stream.headers.contains_key("connection"), "{:?}", stream.headers); // S2
        streams.push(stream);
    }
    let session = database.connect().await;
    for number in 1..=3 {
        session.run(&format!("select publish_event('news', 'said', '{number}')")).await;
        let expected = format!("\"data\":{number}}}");
        join_all(streams.iter_mut().map(|stream| stream.until(&expected))).await;
    }
    drop(streams);
    drop(client);
    daemon.wait_for_logs("connection closed", STREAMS).await;
}

#[tokio::test]
async fn s02_a_hundred_streams_share_a_connection_with_prior_knowledge() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let client = Http2::connect(&daemon.address).await;
    a_hundred_streams(&database, &daemon, client).await;
    assert_eq!(daemon.metric("tidings_subscriptions ").await, "0");
}

#[tokio::test]
async fn s02_a_hundred_streams_share_a_connection_with_tls() {
    let (database, files, authority) = (Database::new().await, Files::new(), Authority::new());
    let made = authority.certificate();
    let daemon = Daemon::builder(&database.conninfo())
        .env("TIDINGS_TLS_CERTIFICATE", &files.write("certificate.pem", &made.certificate))
        .env("TIDINGS_TLS_KEY", &files.write("key.pem", &made.key))
        .start()
        .await;
    let socket = authority.connect(&daemon.address, &["h2"]).await.unwrap();
    let client = Http2::over(socket, "localhost").await;
    a_hundred_streams(&database, &daemon, client).await;
}

#[tokio::test]
async fn streams_of_all_kinds_mix_with_queries() {
    let daemon = daemon().await;
    let mut client = Http2::connect(&daemon.address).await;
    let mut multipart = subscribe(&mut client, "multipart/mixed;subscriptionSpec=1.0").await;
    multipart.until("{}\r\n--graphql").await;
    let mut sse = subscribe(&mut client, "text/event-stream").await;
    sse.until("id: ").await;
    let query = subscribe(&mut client, "application/json").await;
    assert_eq!(query.status, 406);
    assert!(query.whole().await.contains("NOT_ACCEPTABLE"));
    // Closing one ends that one.
    drop(multipart);
    daemon.wait_for_log("connection closed").await;
    assert_eq!(daemon.metric("tidings_subscriptions ").await, "1");
    let large = " ".repeat(1 << 20);
    let bearer = format!("Bearer {}", alice());
    let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
    let answer = client.request(Method::POST, "/graphql", &headers, &body(&large)).await;
    assert_eq!(answer.status, 200, "a body above every window arrives");
}

/// A WebSocket inside an HTTP/2 stream (RFC 8441).
async fn websocket(client: &Http2, host: &str) -> WebSocketStream<DuplexStream> {
    let request = http::Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{host}/graphql"))
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "graphql-transport-ws")
        .body(())
        .unwrap();
    let mut sender = within("room", client.sender().ready()).await.unwrap();
    let (answer, mut up) = sender.send_request(request, false).unwrap();
    let answer = within("the answer", answer).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["sec-websocket-protocol"], "graphql-transport-ws");
    let mut down = answer.into_body();
    let (ours, theirs) = duplex(64 << 10);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            let _ = up.send_data(bytes::Bytes::copy_from_slice(&buffer[..length]), false);
        }
    });
    tokio::spawn(async move {
        while let Some(Ok(data)) = down.data().await {
            let _ = down.flow_control().release_capacity(data.len());
            if writer.write_all(&data).await.is_err() {
                break;
            }
        }
    });
    WebSocketStream::from_raw_socket(ours, Role::Client, None).await
}

async fn receive(socket: &mut WebSocketStream<DuplexStream>) -> Value {
    loop {
        let message = within("a message", socket.next()).await.unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[tokio::test]
async fn websockets_run_inside_http2() {
    let database = Database::new().await;
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_LIMITS_IDLE_S", "1").start().await;
    let mut client = Http2::connect(&daemon.address).await;
    // The daemon's settings, which allow it, are there with the first answer.
    assert_eq!(client.request(Method::GET, "/healthz", &[], "").await.status, 200);
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = websocket(&client, &daemon.address).await;
        let init = json!({ "type": "connection_init", "payload": { "token": alice() } });
        socket.send(Message::text(init.to_string())).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "connection_ack");
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": NEWS } });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        socket.send(Message::text(json!({ "type": "ping" }).to_string())).await.unwrap();
        assert_eq!(receive(&mut socket).await["type"], "pong");
        sockets.push(socket);
    }
    // They keep their connection, though nothing else is asked on it for longer than an idle one is kept.
    tokio::time::sleep(std::time::Duration::from_millis(3_500)).await;
    database.connect().await.run("select publish_event('news', 'said', '1')").await;
    for socket in &mut sockets {
        let message = receive(socket).await;
        assert_eq!(message["payload"]["data"]["events"]["data"], 1, "{message}");
    }
    drop(sockets);
    drop(client);
    daemon.wait_for_logs("connection closed", 10).await;
}
