//! A subscription over server-sent events: HTTP/1.1 on a plain socket.
//!
//! An HTTP client would hide its own cost in the numbers; what is needed of the protocol is
//! a response head, chunks (RFC 9112, 7.1) and event blocks that end with an empty line.

use anyhow::{Context, Result, bail};
use memchr::memmem;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::arguments::Arguments;

/// Large enough for a burst, small enough for thousands of subscribers.
const READ_BYTES: usize = 16 * 1024;

/// A response head or an event block larger than this is a mistake.
const BLOCK_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) struct SseStream {
    socket: TcpStream,
    /// As received, not yet decoded.
    raw: Vec<u8>,
    chunks: Chunks,
    /// Decoded, the last block possibly incomplete.
    text: Vec<u8>,
}

impl SseStream {
    /// Connects and subscribes. Returns at the first bytes of the stream, which the server sends
    /// once the subscription is live.
    pub(crate) async fn open(arguments: &Arguments, request: &Value) -> Result<Self> {
        let endpoint = arguments.endpoint()?;
        let mut socket = TcpStream::connect(endpoint.authority).await.context("connecting to the daemon")?;
        socket.set_nodelay(true)?;
        let body = request.to_string();
        let authorization = arguments
            .token
            .as_ref()
            .map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n\
             {authorization}content-length: {}\r\n\r\n",
            endpoint.path,
            endpoint.authority,
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await?;

        let mut this =
            Self { socket, raw: Vec::with_capacity(READ_BYTES), chunks: Chunks::default(), text: Vec::new() };
        let head_end = loop {
            if let Some(end) = memmem::find(&this.raw, b"\r\n\r\n") {
                break end;
            }
            this.read().await?;
        };
        check_head(&this.raw[..head_end])?;
        this.raw.drain(..head_end + 4);
        while this.text.is_empty() {
            this.chunks.decode(&mut this.raw, &mut this.text)?;
            if this.text.is_empty() {
                this.read().await?;
            }
        }
        Ok(this)
    }

    /// Waits for bytes and passes on the results in them. Cancel-safe.
    pub(crate) async fn receive(&mut self, on_result: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.chunks.decode(&mut self.raw, &mut self.text)?;
        let taken = each_result(&self.text, on_result)?;
        self.text.drain(..taken);
        self.read().await
    }

    async fn read(&mut self) -> Result<()> {
        if self.raw.len() + self.text.len() > BLOCK_BYTES_MAX {
            bail!("a block of more than {BLOCK_BYTES_MAX} bytes");
        }
        self.raw.reserve(READ_BYTES);
        if self.socket.read_buf(&mut self.raw).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

fn check_head(head: &[u8]) -> Result<()> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let is_stream = head.contains("\r\ncontent-type: text/event-stream");
    if !head.starts_with("http/1.1 200 ") || !is_stream {
        bail!("not an event stream: {head}");
    }
    if !head.contains("\r\ntransfer-encoding: chunked") {
        bail!("the load generator reads chunked responses only: {head}");
    }
    Ok(())
}

/// Calls `on_result` with the data of each complete `next` block and returns the bytes taken.
fn each_result(text: &[u8], on_result: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut taken = 0;
    for end in memmem::find_iter(text, b"\n\n") {
        let block = &text[taken..end];
        taken = end + 2;
        let (mut event, mut data) = (&b""[..], None);
        for line in block.split(|byte| *byte == b'\n') {
            if let Some(value) = line.strip_prefix(b"event:") {
                event = value.trim_ascii();
            } else if let Some(value) = line.strip_prefix(b"data:") {
                data = Some(value);
            }
        }
        match (event, data) {
            (b"next", Some(data)) => on_result(data)?,
            // Comments, `retry:` and bare ids.
            (b"", None) => {}
            _ => bail!("unexpected block: {}", String::from_utf8_lossy(block)),
        }
    }
    Ok(taken)
}

/// The state of a chunked body.
#[derive(Debug, Default)]
struct Chunks {
    /// What is still to come of the current chunk, its final line break included.
    left: usize,
}

impl Chunks {
    /// Moves what is complete from `raw` to `text`.
    fn decode(&mut self, raw: &mut Vec<u8>, text: &mut Vec<u8>) -> Result<()> {
        let mut at = 0;
        loop {
            if self.left > 0 {
                let available = self.left.min(raw.len() - at);
                // The last two bytes of a chunk are its line break.
                let content = available.min(self.left.saturating_sub(2));
                text.extend_from_slice(&raw[at..at + content]);
                at += available;
                self.left -= available;
                if self.left > 0 {
                    break;
                }
            }
            let Some(line) = memmem::find(&raw[at..], b"\r\n") else { break };
            let size = std::str::from_utf8(&raw[at..at + line])?;
            let size = usize::from_str_radix(size.split(';').next().unwrap_or(size).trim(), 16)
                .with_context(|| format!("bad chunk size {size:?}"))?;
            if size == 0 {
                bail!("the server ended the stream");
            }
            at += line + 2;
            self.left = size + 2;
        }
        raw.drain(..at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_split_at_every_byte_give_the_same_text() {
        let body = b"3\r\n:\n\n\r\n1b;x=y\r\nevent: next\ndata: {\"a\":1}\n\n\r\n2\r\nid\r\n";
        for split in 0..body.len() {
            let (mut chunks, mut raw, mut text) = (Chunks::default(), Vec::new(), Vec::new());
            for part in [&body[..split], &body[split..]] {
                raw.extend_from_slice(part);
                chunks.decode(&mut raw, &mut text).unwrap();
            }
            assert_eq!(text, b":\n\nevent: next\ndata: {\"a\":1}\n\nid", "split at {split}");
        }
    }

    #[test]
    fn the_last_chunk_is_an_end() {
        let (mut raw, mut text) = (b"0\r\n\r\n".to_vec(), Vec::new());
        assert!(Chunks::default().decode(&mut raw, &mut text).is_err());
    }

    #[test]
    fn results_are_found_between_comments_and_ids() {
        let mut results = Vec::new();
        let text =
            b":\n\nretry: 100\n\nid: abc\nevent: next\ndata: {\"a\":1}\n\nid: abd\n\nevent: next\ndata: half";
        let taken = each_result(text, &mut |result: &[u8]| {
            results.push(result.to_vec());
            Ok(())
        })
        .unwrap();
        assert_eq!(results, [b" {\"a\":1}".to_vec()]);
        assert_eq!(&text[taken..], b"event: next\ndata: half");
    }

    #[test]
    fn complete_is_an_error_here() {
        assert!(each_result(b"event: complete\ndata:\n\n", &mut |_: &[u8]| Ok(())).is_err());
    }
}
