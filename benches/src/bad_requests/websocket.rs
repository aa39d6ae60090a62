//! Refusals over WebSocket, `graphql-transport-ws`.

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;

/// A connection that sends one request after the other.
pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn connect(address: &str, token: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connecting to the daemon")?;
        stream.set_nodelay(true)?;
        let mut upgrade = format!("ws://{address}/graphql").into_client_request()?;
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        upgrade.headers_mut().insert("sec-websocket-protocol", protocol);
        let (socket, _) = tokio_tungstenite::client_async(upgrade, stream).await?;
        let mut this = Self(socket);
        let payload = json!({ "authorization": format!("Bearer {token}") });
        this.send(&json!({ "type": "connection_init", "payload": payload }).to_string()).await?;
        this.expect("connection_ack").await?;
        Ok(this)
    }

    /// The code of the first error that answers a request.
    pub(crate) async fn refusal(&mut self, request: &str) -> Result<String> {
        self.send(&format!(r#"{{"type":"subscribe","id":"1","payload":{request}}}"#)).await?;
        let answer = self.expect("error").await?;
        let code = answer["payload"][0]["extensions"]["code"].as_str();
        Ok(code.context("an error without a code")?.to_owned())
    }

    /// The connection lives.
    pub(crate) async fn ping(&mut self) -> Result<()> {
        self.send(r#"{"type":"ping"}"#).await?;
        self.expect("pong").await.map(drop)
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.0.send(Message::text(text)).await?)
    }

    async fn expect(&mut self, kind: &str) -> Result<Value> {
        loop {
            match self.0.next().await.context("the server closed the connection")?? {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text)?;
                    if message["type"] == kind {
                        return Ok(message);
                    }
                    if message["type"] != "ping" {
                        bail!("{message}, not {kind}");
                    }
                    self.send(r#"{"type":"pong"}"#).await?;
                }
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }
}
