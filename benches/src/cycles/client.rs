//! One connection: made, live, and gone.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use memchr::memmem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A way to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Transport {
    Query,
    Sse,
    SseOverHttp2,
    SingleConnection,
    Multipart,
    WebSocket,
    LegacyWebSocket,
}

impl Transport {
    pub(crate) const ALL: [Self; 7] = [
        Self::Query,
        Self::Sse,
        Self::SseOverHttp2,
        Self::SingleConnection,
        Self::Multipart,
        Self::WebSocket,
        Self::LegacyWebSocket,
    ];
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Query => "HTTP query",
            Self::Sse => "SSE",
            Self::SseOverHttp2 => "SSE over HTTP/2",
            Self::SingleConnection => "SSE, single connection mode",
            Self::Multipart => "multipart",
            Self::WebSocket => "graphql-transport-ws",
            Self::LegacyWebSocket => "graphql-ws (legacy)",
        })
    }
}

const SUBSCRIPTION: &str = "subscription { events(channel: \"cycles\") { id } }";

/// Whoever comes and goes.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> Result<Self> {
        Ok(Self {
            address: address.parse().context("--address is an IP address and a port")?,
            token: token.into(),
        })
    }

    /// One cycle. Every tenth ends politely, the others as a client that is killed: with a reset.
    pub(crate) async fn come_and_go(&self, transport: Transport, number: u32) -> Result<()> {
        let mut socket = self.connect(number).await?;
        match transport {
            Transport::Query => {
                self.post(&mut socket, "application/json", "{__typename}", "__typename\":").await?
            }
            Transport::Sse => self.post(&mut socket, "text/event-stream", SUBSCRIPTION, "\nid: ").await?,
            Transport::Multipart => {
                let accept = "multipart/mixed;subscriptionSpec=1.0";
                self.post(&mut socket, accept, SUBSCRIPTION, "{}\r\n--graphql").await?;
            }
            Transport::WebSocket => {
                self.upgrade(&mut socket, "graphql-transport-ws", "subscribe", "\"ping\"", "pong").await?;
            }
            Transport::LegacyWebSocket => {
                self.upgrade(&mut socket, "graphql-ws", "start", "\"nothing\"", "error").await?;
            }
            Transport::SingleConnection => self.reserve(&mut socket).await?,
            Transport::SseOverHttp2 => return self.over_http2(socket, number).await,
        }
        leave(socket, number).await
    }

    /// From one of many addresses of this machine, so that ports do not run out.
    async fn connect(&self, number: u32) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        let [_, _, high, low] = (number % 65_000).to_be_bytes();
        if self.address.ip().is_loopback() {
            socket.bind((Ipv4Addr::new(127, 1, high, low.max(1)), 0).into())?;
        }
        let socket = socket.connect(self.address).await.context("connecting to the daemon")?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// A reservation, an operation, and the stream of both, on one socket.
    async fn reserve(&self, socket: &mut TcpStream) -> Result<()> {
        let common = format!("host: {}\r\nauthorization: Bearer {}\r\n", self.address, self.token);
        socket.write_all(format!("PUT /graphql HTTP/1.1\r\n{common}\r\n").as_bytes()).await?;
        let mut received = until(socket, "\r\n\r\n").await?;
        // 256 bits as base64url, alone in the body.
        let begin = memmem::find(&received, b"\r\n\r\n").context("no end of the head")? + 4;
        while received.len() < begin + 43 {
            ensure!(socket.read_buf(&mut received).await? > 0, "the connection ended");
        }
        ensure!(received.starts_with(b"HTTP/1.1 201 "), "{}", String::from_utf8_lossy(&received));
        let reservation = String::from_utf8_lossy(&received[begin..begin + 43]);
        let common = format!("{common}x-graphql-event-stream-token: {reservation}\r\n");
        let operation = json!({ "query": SUBSCRIPTION, "extensions": { "operationId": "1" } }).to_string();
        let post = format!(
            "POST /graphql HTTP/1.1\r\n{common}content-type: application/json\r\ncontent-length: {}\r\n\r\n{operation}",
            operation.len()
        );
        socket.write_all(post.as_bytes()).await?;
        let accepted = until(socket, "\r\n\r\n").await?;
        ensure!(accepted.starts_with(b"HTTP/1.1 202 "), "{}", String::from_utf8_lossy(&accepted));
        let get = format!("GET /graphql HTTP/1.1\r\n{common}accept: text/event-stream\r\n\r\n");
        socket.write_all(get.as_bytes()).await?;
        until(socket, "\nid: ").await.map(drop)
    }

    async fn post(&self, socket: &mut TcpStream, accept: &str, query: &str, live: &str) -> Result<()> {
        let body = json!({ "query": query }).to_string();
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\ncontent-type: application/json\r\n\
             authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await?;
        until(socket, live).await.map(drop)
    }

    /// Upgrades, subscribes and asks for something whose answer says that the subscription is live.
    async fn upgrade(
        &self,
        socket: &mut TcpStream,
        protocol: &str,
        subscribe: &str,
        question: &str,
        answer: &str,
    ) -> Result<()> {
        let head = format!(
            "GET /graphql HTTP/1.1\r\nhost: {}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {protocol}\r\n\r\n",
            self.address
        );
        socket.write_all(head.as_bytes()).await?;
        until(socket, "\r\n\r\n").await?;
        let init = json!({ "type": "connection_init", "payload": { "token": self.token } });
        let subscription = json!({ "id": "1", "type": subscribe, "payload": { "query": SUBSCRIPTION } });
        socket.write_all(&text_frame(&init.to_string())).await?;
        until(socket, "connection_ack").await?;
        socket.write_all(&text_frame(&subscription.to_string())).await?;
        socket.write_all(&text_frame(&format!("{{\"type\":{question}}}"))).await?;
        until(socket, answer).await.map(drop)
    }

    async fn over_http2(&self, socket: TcpStream, number: u32) -> Result<()> {
        if !number.is_multiple_of(10) {
            socket.set_zero_linger()?;
        }
        let (sender, connection) = h2::client::handshake(socket).await?;
        let connection = tokio::spawn(connection);
        let request = http::Request::post(format!("http://{}/graphql", self.address))
            .header("accept", "text/event-stream")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {}", self.token))
            .body(())?;
        let (answer, mut body) = sender.ready().await?.send_request(request, false)?;
        body.send_data(Bytes::from(json!({ "query": SUBSCRIPTION }).to_string()), true)?;
        let answer = answer.await?;
        ensure!(answer.status() == 200, "{answer:?}");
        let (mut stream, mut received) = (answer.into_body(), Vec::new());
        while memmem::find(&received, b"\nid: ").is_none() {
            let data = stream.data().await.context("the stream ended")??;
            stream.flow_control().release_capacity(data.len())?;
            received.extend_from_slice(&data);
        }
        connection.abort();
        Ok(())
    }
}

/// A text frame, masked with zeros.
fn text_frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u16::try_from(text.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length as u8),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => unreachable!("messages of this program are short"),
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

async fn until(socket: &mut TcpStream, text: &str) -> Result<Vec<u8>> {
    let mut received = Vec::with_capacity(1024);
    while memmem::find(&received, text.as_bytes()).is_none() {
        if socket.read_buf(&mut received).await? == 0 {
            bail!("the connection ended, without {text:?}: {}", String::from_utf8_lossy(&received));
        }
    }
    Ok(received)
}

async fn leave(mut socket: TcpStream, number: u32) -> Result<()> {
    if number.is_multiple_of(10) {
        socket.shutdown().await?;
        let mut rest = Vec::new();
        // Whatever comes before the daemon's own end.
        let _ = socket.read_to_end(&mut rest).await;
    } else {
        socket.set_zero_linger()?;
    }
    Ok(())
}
