//! Server-sent events over HTTP/1.1, on a plain socket.
//!
//! An HTTP client would hide its own cost in the numbers; what is needed of the protocol is
//! a response head, chunks (RFC 9112, 7.1) and event blocks that end with an empty line.

use anyhow::{Context, Result, bail};
use memchr::{memchr, memmem};

/// What a server has answered so far.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    body: Body,
    /// Decoded, the last block incomplete.
    text: Vec<u8>,
}

/// Where in the answer the next byte lies.
#[derive(Debug, Default, Clone, Copy)]
enum Body {
    /// The head is not complete.
    #[default]
    Head,
    /// The body goes on until the connection ends.
    Endless,
    /// So much is still to come of the current chunk, its final line break included.
    Chunk(usize),
}

impl Answer {
    /// Whether the head said that this is a stream.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.body, Body::Head)
    }

    /// Takes what it can of `raw`, calls `on_result` with the data of each result and returns the bytes taken.
    pub(crate) fn take(
        &mut self,
        raw: &[u8],
        on_result: &mut impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<usize> {
        let mut at = 0;
        loop {
            let rest = &raw[at..];
            match self.body {
                Body::Head => {
                    let Some(end) = memmem::find(rest, b"\r\n\r\n") else { return Ok(at) };
                    self.body = of_head(&rest[..end])?;
                    at += end + 4;
                }
                Body::Endless => {
                    self.text.extend_from_slice(rest);
                    at = raw.len();
                }
                Body::Chunk(0) => {
                    let Some(line) = memmem::find(rest, b"\r\n") else { break };
                    let size = chunk_size(&rest[..line])?;
                    if size == 0 {
                        bail!("the server ended the stream");
                    }
                    at += line + 2;
                    self.body = Body::Chunk(size + 2);
                }
                Body::Chunk(left) => {
                    let available = left.min(rest.len());
                    // The last two bytes of a chunk are its line break.
                    self.text.extend_from_slice(&rest[..available.min(left.saturating_sub(2))]);
                    at += available;
                    self.body = Body::Chunk(left - available);
                }
            }
            if at == raw.len() {
                break;
            }
        }
        let taken = each_result(&self.text, on_result)?;
        if taken == self.text.len() {
            self.text.clear();
        } else {
            self.text.drain(..taken);
        }
        Ok(at)
    }

    /// Bytes that wait for the rest of their block.
    pub(crate) fn waiting(&self) -> usize {
        self.text.len()
    }
}

fn of_head(head: &[u8]) -> Result<Body> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") || !head.contains("\r\ncontent-type: text/event-stream") {
        bail!("not an event stream: {head}");
    }
    let is_chunked = head.contains("\r\ntransfer-encoding: chunked");
    Ok(if is_chunked { Body::Chunk(0) } else { Body::Endless })
}

fn chunk_size(line: &[u8]) -> Result<usize> {
    let digits = &line[..memchr(b';', line).unwrap_or(line.len())];
    let digits = std::str::from_utf8(digits)?.trim();
    usize::from_str_radix(digits, 16).with_context(|| format!("bad chunk size {digits:?}"))
}

/// Calls `on_result` with the data of each complete block that has some, and returns the bytes taken.
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
            (b"next" | b"", Some(data)) => on_result(data)?,
            // Comments, `retry:` and bare ids.
            (b"", None) => {}
            _ => bail!("unexpected block: {}", String::from_utf8_lossy(block)),
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

    fn results(parts: &[&[u8]]) -> Result<Vec<String>> {
        let (mut answer, mut rest, mut results) = (Answer::default(), Vec::new(), Vec::new());
        for part in parts {
            rest.extend_from_slice(part);
            let taken = answer.take(&rest, &mut |result: &[u8]| {
                results.push(String::from_utf8(result.to_vec())?);
                Ok(())
            })?;
            rest.drain(..taken);
        }
        Ok(results)
    }

    #[test]
    fn an_answer_split_at_every_byte_gives_the_same_results() {
        let body =
            b"3\r\n:\n\n\r\n1b;x=y\r\nevent: next\ndata: {\"a\":1}\n\n\r\n12\r\nid: 1\ndata: {}\n\n:\n\n\r\n";
        let whole = [HEAD, body].concat();
        for split in 0..whole.len() {
            let found = results(&[&whole[..split], &whole[split..]]).unwrap();
            assert_eq!(found, [" {\"a\":1}", " {}"], "split at {split}");
        }
    }

    #[test]
    fn the_last_chunk_is_an_end() {
        assert!(results(&[HEAD, b"0\r\n\r\n"]).is_err());
    }

    #[test]
    fn complete_is_an_error_here() {
        assert!(results(&[HEAD, b"17\r\nevent: complete\ndata:\n\n\r\n"]).is_err());
    }

    #[test]
    fn a_refusal_is_an_error() {
        assert!(results(&[b"HTTP/1.1 503 Busy\r\n\r\n"]).is_err());
    }
}
