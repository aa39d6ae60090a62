//! WebSocket frames (RFC 6455, 5.2) of a client that sends little and receives much.

use anyhow::{Result, bail};

/// Opcodes, with the bit that says that the message ends here.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// What a frame brings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Pong,
}

/// The first frame in `raw` and its length, once it is complete.
pub(crate) fn first(raw: &[u8]) -> Result<Option<(Frame<'_>, usize)>> {
    let [kind, short, ..] = *raw else { return Ok(None) };
    let (length, start) = match short {
        0..=125 => (usize::from(short), 2),
        126 => match raw.get(2..4) {
            Some(bytes) => (usize::from(u16::from_be_bytes([bytes[0], bytes[1]])), 4),
            None => return Ok(None),
        },
        _ => bail!("a frame of {short:#x}: masked, or of more than 64 KiB"),
    };
    let Some(payload) = raw.get(start..start + length) else { return Ok(None) };
    let frame = match kind {
        TEXT => Frame::Text(payload),
        PING => Frame::Ping(payload),
        PONG => Frame::Pong,
        CLOSE => bail!("closed: {}", String::from_utf8_lossy(payload)),
        _ => bail!("a frame of kind {kind:#x}"),
    };
    Ok(Some((frame, start + length)))
}

/// Appends a message. A mask of zeros is one too, and leaves the text as it is.
pub(crate) fn text(message: &str, to: &mut Vec<u8>) {
    append(TEXT, message.as_bytes(), to);
}

/// Appends the answer to a ping.
pub(crate) fn pong(payload: &[u8], to: &mut Vec<u8>) {
    append(PONG, payload, to);
}

fn append(kind: u8, payload: &[u8], to: &mut Vec<u8>) {
    to.push(kind);
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => to.push(0x80 | length as u8),
        // What this client sends fits.
        length => {
            to.push(0x80 | 126);
            to.extend_from_slice(&length.unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_nothing_until_it_is_complete() {
        for length in [0, 5, 125, 126, 1_000, 65_535] {
            let payload = vec![b'x'; length];
            let mut raw = vec![TEXT];
            match length {
                0..=125 => raw.push(length as u8),
                _ => {
                    raw.push(126);
                    raw.extend_from_slice(&(length as u16).to_be_bytes());
                }
            }
            raw.extend_from_slice(&payload);
            for cut in [0, 1, 2, 3, raw.len() - 1] {
                if cut < raw.len() {
                    assert_eq!(first(&raw[..cut]).unwrap(), None, "{length} cut at {cut}");
                }
            }
            assert_eq!(first(&raw).unwrap(), Some((Frame::Text(&payload), raw.len())));
        }
    }

    #[test]
    fn a_close_is_an_error() {
        assert!(first(&[CLOSE, 2, 0x0f, 0xa0]).is_err());
    }
}
