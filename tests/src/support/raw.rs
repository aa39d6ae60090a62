//! HTTP/1.1 by hand: the tests are about bytes.

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::daemon::Daemon;
use super::within;

/// Whatever bytes can be sent over.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Wire for S {}

/// A connection on which something was sent.
pub struct Raw {
    socket: Box<dyn Wire>,
    received: Vec<u8>,
}

/// A response read to its end, with the chunks of its body put together.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Raw {
    /// A connection on which nothing was sent yet.
    pub fn over(socket: impl Wire + 'static) -> Self {
        Self { socket: Box::new(socket), received: Vec::new() }
    }

    /// A new connection to a daemon.
    pub async fn connect(daemon: &Daemon) -> Self {
        Self::over(TcpStream::connect(&daemon.address).await.unwrap())
    }

    /// Sends bytes on a new connection.
    pub async fn send(daemon: &Daemon, bytes: &str) -> Self {
        let mut raw = Self::connect(daemon).await;
        raw.write(bytes.as_bytes()).await;
        raw
    }

    /// Sends bytes, which must be taken.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("a write", self.try_write(bytes)).await.unwrap();
    }

    /// Sends bytes.
    pub async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Sends a request with these header lines and body.
    pub async fn request(daemon: &Daemon, line: &str, headers: &[&str], body: &str) -> Self {
        let mut raw = Self::connect(daemon).await;
        raw.ask(line, &daemon.address, headers, body).await;
        raw
    }

    /// Sends a request with these header lines and body.
    pub async fn ask(&mut self, line: &str, host: &str, headers: &[&str], body: &str) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let request = format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}");
        self.write(request.as_bytes()).await;
    }

    /// Makes it a WebSocket for `graphql-transport-ws`, on which nothing was said yet.
    pub async fn upgrade(&mut self, host: &str) {
        let headers = [
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-protocol: graphql-transport-ws",
        ];
        self.ask("GET /graphql", host, &headers, "").await;
        assert_eq!(self.next_response().await.status, 101);
    }

    /// Everything received, once it contains a text.
    pub async fn until(&mut self, text: &str) -> String {
        within(&format!("{text:?}"), async {
            loop {
                let received = String::from_utf8(self.received.clone()).unwrap();
                if received.contains(text) {
                    return received;
                }
                assert!(self.read().await, "the connection ended after {received:?}");
            }
        })
        .await
    }

    /// The next WebSocket frame of the other side: its opcode and payload. Nothing once it has closed.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a frame", async {
            self.fill(2).await?;
            let (opcode, length) = (self.received[0] & 0x0f, self.received[1] & 0x7f);
            let extra = match length {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            self.fill(2 + extra).await?;
            let long = self.received[2..2 + extra].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let length = if extra == 0 { usize::from(length) } else { long };
            self.fill(2 + extra + length).await?;
            let payload = self.received[2 + extra..2 + extra + length].to_vec();
            self.received.drain(..2 + extra + length);
            Some((opcode, payload))
        })
        .await
    }

    async fn fill(&mut self, length: usize) -> Option<()> {
        while self.received.len() < length {
            if !self.read().await {
                return None;
            }
        }
        Some(())
    }

    /// Says that nothing more will be sent.
    pub async fn finish_sending(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// Waits for anything that comes.
    pub async fn more(&mut self) {
        assert!(within("more bytes", self.read()).await, "the connection ended");
    }

    /// Waits until the other side has closed.
    pub async fn until_closed(&mut self) {
        within("the end of the connection", async { while self.read().await {} }).await;
    }

    /// Everything received, once the other side has closed.
    pub async fn read_to_end(mut self) -> String {
        within("the end of the connection", async { while self.read().await {} }).await;
        String::from_utf8(self.received).unwrap()
    }

    /// The response, read to its end.
    pub async fn response(mut self) -> Response {
        self.next_response().await
    }

    /// The next response, read to its end.
    pub async fn next_response(&mut self) -> Response {
        let text = self.until("\r\n\r\n").await;
        let head = text.split_once("\r\n\r\n").unwrap().0.to_owned();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let start = head.len() + 4;
        let (body, end) = if let Some((_, length)) = length {
            let end = start + length.parse::<usize>().unwrap();
            while self.received.len() < end {
                assert!(self.read().await, "the body ended early");
            }
            (String::from_utf8(self.received[start..end].to_vec()).unwrap(), end)
        } else if headers.iter().any(|(name, _)| name == "transfer-encoding") {
            self.until("\r\n0\r\n\r\n").await;
            (unchunk(&self.received[start..]), self.received.len())
        } else {
            (String::new(), start)
        };
        self.received.drain(..end);
        Response { status, headers, body }
    }

    async fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        // A reset is an end, too.
        let length = self.socket.read(&mut buffer).await.unwrap_or(0);
        self.received.extend_from_slice(&buffer[..length]);
        length > 0
    }
}

/// The data of a chunked body.
pub fn unchunk(mut body: &[u8]) -> String {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return String::from_utf8(data).unwrap();
        }
        data.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
}

/// The bytes of a WebSocket frame: its first byte (the end of a message is 0x80), and a masked payload.
pub fn websocket_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ ..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length @ ..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    // A mask of zeros leaves the payload as it is.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// The bytes of a WebSocket frame that is a whole text.
pub fn text_frame(text: &str) -> Vec<u8> {
    websocket_frame(0x81, text.as_bytes())
}
