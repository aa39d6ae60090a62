//! HTTP/1.1 by hand: the tests are about bytes.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::daemon::Daemon;
use crate::support::within;

/// A connection on which one request was sent.
pub(super) struct Raw {
    socket: TcpStream,
    received: Vec<u8>,
}

/// A response read to its end, with the chunks of its body put together.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Response {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Raw {
    /// Sends bytes.
    pub(super) async fn send(daemon: &Daemon, bytes: &str) -> Self {
        let mut socket = TcpStream::connect(&daemon.address).await.unwrap();
        socket.write_all(bytes.as_bytes()).await.unwrap();
        Self { socket, received: Vec::new() }
    }

    /// Sends a request with these header lines and body.
    pub(super) async fn request(daemon: &Daemon, line: &str, headers: &[&str], body: &str) -> Self {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        let host = &daemon.address;
        Self::send(daemon, &format!("{line} HTTP/1.1\r\nhost: {host}\r\n{headers}{length}\r\n{body}")).await
    }

    /// Everything received, once it contains a text.
    pub(super) async fn until(&mut self, text: &str) -> String {
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

    /// Everything received, once the other side has closed.
    pub(super) async fn read_to_end(mut self) -> String {
        within("the end of the connection", async { while self.read().await {} }).await;
        String::from_utf8(self.received).unwrap()
    }

    /// The response, read to its end.
    pub(super) async fn response(mut self) -> Response {
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
        let body = if let Some((_, length)) = length {
            let end = start + length.parse::<usize>().unwrap();
            while self.received.len() < end {
                assert!(self.read().await, "the body ended early");
            }
            String::from_utf8(self.received[start..end].to_vec()).unwrap()
        } else if headers.iter().any(|(name, _)| name == "transfer-encoding") {
            self.until("\r\n0\r\n\r\n").await;
            unchunk(&self.received[start..])
        } else {
            String::new()
        };
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
pub(super) fn unchunk(mut body: &[u8]) -> String {
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
