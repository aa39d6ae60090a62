//! A subscription over WebSocket, `graphql-transport-ws`.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use memchr::memmem;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::arguments::Arguments;

/// The library's default of 128 KiB, times 1,000 subscribers, is time spent on clearing memory.
const READ_BUFFER_BYTES: usize = 16 * 1024;

pub(crate) struct WebSocket {
    socket: WebSocketStream<TcpStream>,
}

impl WebSocket {
    /// Connects and subscribes. Returns when the server has taken the subscription: there is no
    /// message that says so, but messages are answered in order, so a pong to a ping sent after it does.
    pub(crate) async fn open(arguments: &Arguments, request: &Value) -> Result<Self> {
        let endpoint = arguments.endpoint()?;
        let stream = TcpStream::connect(endpoint.authority).await.context("connecting to the daemon")?;
        stream.set_nodelay(true)?;
        let mut upgrade = format!("ws://{}{}", endpoint.authority, endpoint.path).into_client_request()?;
        let headers = upgrade.headers_mut();
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("graphql-transport-ws"));
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let (socket, _) = tokio_tungstenite::client_async_with_config(upgrade, stream, Some(config)).await?;
        let mut this = Self { socket };

        let init = arguments.token.as_ref().map_or(
            json!({"type": "connection_init"}),
            |token| json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}}),
        );
        this.send(&init).await?;
        this.expect("connection_ack").await?;
        this.send(&json!({"type": "subscribe", "id": "1", "payload": request})).await?;
        this.send(&json!({"type": "ping"})).await?;
        this.expect("pong").await?;
        Ok(this)
    }

    /// Waits for one message, takes it, and passes it on if it holds a result.
    pub(crate) async fn receive(&mut self, on_result: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let message = self.socket.next().await.context("the server closed the connection")??;
        let text = match &message {
            Message::Text(text) => text.as_bytes(),
            Message::Close(frame) => bail!("closed: {frame:?}"),
            // Protocol-level pings are answered by the library.
            _ => return Ok(()),
        };
        if memmem::find(&text[..text.len().min(64)], br#""type":"next""#).is_some() {
            return on_result(text);
        }
        let value: Value = serde_json::from_slice(text)?;
        match value["type"].as_str() {
            Some("next") => on_result(text),
            Some("ping") => self.send(&json!({"type": "pong"})).await,
            Some("pong") => Ok(()),
            _ => bail!("unexpected message: {value}"),
        }
    }

    async fn send(&mut self, message: &Value) -> Result<()> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// Waits for a message of this type; anything but a ping in between is an error.
    async fn expect(&mut self, kind: &str) -> Result<()> {
        loop {
            let message = self.socket.next().await.context("the server closed the connection")??;
            let Message::Text(text) = message else {
                if let Message::Close(frame) = message {
                    bail!("closed while waiting for {kind}: {frame:?}");
                }
                continue;
            };
            let value: Value = serde_json::from_str(&text)?;
            match value["type"].as_str() {
                Some(got) if got == kind => return Ok(()),
                Some("ping") => self.send(&json!({"type": "pong"})).await?,
                _ => bail!("expected {kind}, got {value}"),
            }
        }
    }
}
