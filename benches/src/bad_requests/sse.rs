//! Refusals over server-sent events, one after the other on one HTTP/1.1 connection.

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept alive.
pub(crate) struct Sse {
    socket: TcpStream,
    head: String,
}

impl Sse {
    pub(crate) async fn connect(address: &str, token: &str) -> Result<Self> {
        let socket = TcpStream::connect(address).await.context("connecting to the daemon")?;
        socket.set_nodelay(true)?;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\naccept: text/event-stream\r\n\
             content-type: application/json\r\nauthorization: Bearer {token}\r\n"
        );
        Ok(Self { socket, head })
    }

    /// The code of the first error that answers a request; the stream has ended then.
    pub(crate) async fn refusal(&mut self, request: &str) -> Result<String> {
        let request = format!("{}content-length: {}\r\n\r\n{request}", self.head, request.len());
        self.socket.write_all(request.as_bytes()).await?;
        let mut response = Vec::with_capacity(16 * 1024);
        while length(&response)?.is_none_or(|length| response.len() < length) {
            let read = self.socket.read_buf(&mut response).await?;
            ensure!(read > 0, "the connection ended: {}", String::from_utf8_lossy(&response));
        }
        let text = String::from_utf8_lossy(&response);
        ensure!(text.starts_with("HTTP/1.1 200 "), "no stream: {text}");
        ensure!(memmem::find(&response, b"event: complete").is_some(), "no end: {text}");
        let data = text.lines().find_map(|line| line.strip_prefix("data: {")).context("no result")?;
        let result: Value = serde_json::from_str(&format!("{{{data}"))?;
        let code = result["errors"][0]["extensions"]["code"].as_str();
        Ok(code.context("an error without a code")?.to_owned())
    }
}

/// Bytes of the whole response, once its head is there. A stream that is over at once has a length.
fn length(response: &[u8]) -> Result<Option<usize>> {
    let Some(end) = memmem::find(response, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&response[..end])?;
    let body = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
    Ok(Some(end + 4 + body.parse::<usize>()?))
}
