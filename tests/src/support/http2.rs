//! HTTP/2: a well-behaved client, and frames by hand for one that is not.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::raw::Wire;
use super::within;

/// What an HTTP/2 client says first.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One connection.
pub struct Http2 {
    sender: SendRequest<Bytes>,
    host: String,
}

/// One answer, read as it comes.
pub struct Stream {
    pub status: u16,
    pub headers: HeaderMap,
    body: RecvStream,
    received: String,
}

impl Http2 {
    /// Begins to speak it on a socket.
    pub async fn over(socket: impl Wire + 'static, host: &str) -> Self {
        let (sender, connection) = within("HTTP/2", h2::client::handshake(socket)).await.unwrap();
        tokio::spawn(connection);
        Self { sender, host: host.to_owned() }
    }

    /// With prior knowledge, without TLS.
    pub async fn connect(address: &str) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address).await
    }

    /// Sends a request.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Stream {
        let (answer, _) = self.begin(method, path, headers, body).await;
        Stream::of(answer).await
    }

    /// Sends a request, and waits for nothing.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.host));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = within("room for a stream", self.sender.clone().ready()).await.unwrap();
        let (answer, mut stream) = sender.send_request(request.body(()).unwrap(), body.is_empty()).unwrap();
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        }
        (answer, stream)
    }

    /// What sends requests.
    pub fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }
}

impl Stream {
    /// The answer, once its head is there.
    pub async fn of(answer: ResponseFuture) -> Self {
        let (head, body) = within("an answer", answer).await.unwrap().into_parts();
        Self { status: head.status.as_u16(), headers: head.headers, body, received: String::new() }
    }

    /// Everything received, once it contains a text.
    pub async fn until(&mut self, text: &str) -> &str {
        within(&format!("{text:?}"), async {
            while !self.received.contains(text) {
                assert!(self.read().await, "the stream ended after {:?}", self.received);
            }
        })
        .await;
        &self.received
    }

    /// Everything, once the stream has ended.
    pub async fn whole(mut self) -> String {
        within("the end of the stream", async { while self.read().await {} }).await;
        self.received
    }

    async fn read(&mut self) -> bool {
        let Some(Ok(data)) = self.body.data().await else { return false };
        self.body.flow_control().release_capacity(data.len()).unwrap();
        self.received.push_str(std::str::from_utf8(&data).unwrap());
        true
    }
}

/// Kinds of frames (RFC 9113, section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RESET: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GO_AWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The end of a stream.
pub const END_STREAM: u8 = 1;
/// The end of a head.
pub const END_HEADERS: u8 = 4;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A head in HPACK: a GET of a path.
pub fn get(path: &str, host: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` stand in the static table, as do the names of the next two.
    head(vec![0x82], path, host, headers)
}

/// A head in HPACK: a WebSocket inside HTTP/2 (RFC 8441).
pub fn connect(path: &str, host: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x02];
    text(&mut block, "CONNECT");
    block.push(0);
    text(&mut block, ":protocol");
    text(&mut block, "websocket");
    head(block, path, host, headers)
}

fn head(mut block: Vec<u8>, path: &str, host: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    block.extend_from_slice(&[0x86, 0x04]);
    text(&mut block, path);
    block.push(0x01);
    text(&mut block, host);
    for (name, value) in headers {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

fn text(block: &mut Vec<u8>, text: &str) {
    // Up to 126 bytes are one byte of length, longer ones 127 and the rest in groups of seven bits.
    let mut rest = text.len();
    if rest < 127 {
        block.push(u8::try_from(rest).unwrap());
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap() | 0x80);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap());
    }
    block.extend_from_slice(text.as_bytes());
}

/// A connection whose frames are written by hand.
pub struct Frames(TcpStream);

impl Frames {
    /// Says the preface and settings, which are pairs of identifier and value.
    pub async fn open(address: &str, settings: &[(u16, u32)]) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let mut payload = Vec::new();
        for (identifier, value) in settings {
            payload.extend_from_slice(&identifier.to_be_bytes());
            payload.extend_from_slice(&value.to_be_bytes());
        }
        let mut bytes = PREFACE.to_vec();
        bytes.extend(frame(kind::SETTINGS, 0, 0, &payload));
        socket.write_all(&bytes).await.unwrap();
        Self(socket)
    }

    /// Sends bytes; false once the daemon has closed.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within("a write", self.0.write_all(bytes)).await.is_ok()
    }

    /// The next frame: its kind, stream and payload. Nothing once the daemon has closed.
    pub async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        within("a frame", async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
        })
        .await
    }

    /// The next frame of a kind.
    pub async fn next_of(&mut self, wanted: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            let (kind, stream, payload) = self.next().await?;
            if kind == wanted {
                return Some((stream, payload));
            }
        }
    }

    /// The code with which the daemon sends the client away; nothing if it closes without a word.
    pub async fn sent_away(&mut self) -> Option<u32> {
        let (_, payload) = self.next_of(kind::GO_AWAY).await?;
        Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
    }
}
