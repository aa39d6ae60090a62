//! A subscriber over WebSocket.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::daemon::Daemon;
use super::within;

/// One open socket.
pub struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Connects with a subprotocol, without sending anything.
    pub async fn connect(daemon: &Daemon, protocol: &str) -> Self {
        Self::connect_with(daemon, protocol, &[]).await
    }

    /// The same with further headers.
    pub async fn connect_with(daemon: &Daemon, protocol: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::connect_by(&format!("ws://{}/graphql", daemon.address), protocol, headers).await
    }

    /// The same at any URL.
    pub async fn connect_to(url: &str, protocol: &str) -> Self {
        Self::connect_by(url, protocol, &[]).await
    }

    async fn connect_by(url: &str, protocol: &str, headers: &[(&'static str, &str)]) -> Self {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        let (stream, _) = within("the upgrade", connect_async(request)).await.unwrap();
        Self(stream)
    }

    /// Connects with `graphql-transport-ws` and waits for the acknowledgement.
    pub async fn open(daemon: &Daemon, token: &str) -> Self {
        let mut socket = Self::connect(daemon, "graphql-transport-ws").await;
        let payload = json!({"Authorization": format!("Bearer {token}")});
        socket.send(json!({"type": "connection_init", "payload": payload})).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket
    }

    /// Subscribes, and returns once the subscription is live: messages are handled in order, so a
    /// pong says that what was sent before the ping is done.
    pub async fn subscribe(&mut self, id: &str, query: &str) {
        self.send(json!({"type": "subscribe", "id": id, "payload": {"query": query}})).await;
        self.send(json!({"type": "ping"})).await;
        let answer = self.receive().await;
        assert_eq!(answer["type"], "pong", "{query}: {answer}");
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    /// Sends bytes, whatever they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.send(Message::binary(bytes.to_vec())).await.unwrap();
    }

    /// The next message, pings of the server left out.
    pub async fn receive(&mut self) -> Value {
        loop {
            match self.receive_frame().await {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["type"] != "ping" {
                        return message;
                    }
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for a ping of the WebSocket itself, and answers it.
    pub async fn next_ping(&mut self) {
        while !matches!(self.receive_frame().await, Message::Ping(_)) {}
        within("a pong", self.0.flush()).await.unwrap();
    }

    /// The payload of the next `next` message.
    pub async fn next(&mut self) -> Value {
        let mut message = self.receive().await;
        assert_eq!(message["type"], "next", "{message}");
        message["payload"].take()
    }

    /// The code and reason with which the server closes.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.receive_frame().await {
                let frame = frame.expect("a close code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    async fn receive_frame(&mut self) -> Message {
        within("a message on the socket", self.0.next()).await.expect("the socket goes on").unwrap()
    }
}
