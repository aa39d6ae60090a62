//! Where bytes are gathered that are about to be written.

use std::thread::LocalKey;

use bytes::Bytes;

use crate::spares::{self, Spares};

/// Larger ones are given back to the system.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// The longest head of a chunk: 8 digits and the end of the line.
const CHUNK_HEAD_BYTES: usize = 10;
const CHUNK_END: &[u8] = b"\r\n";

thread_local! {
    static SPARES: Spares<u8, KEPT_BYTES_MAX> = const { Spares::new() };
}
static KEPT: &LocalKey<Spares<u8, KEPT_BYTES_MAX>> = &SPARES;

/// Bytes to be written. Empty, it takes no room; what it took is used again once it is dropped.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Begins with room for the head of a chunk.
    bytes: Vec<u8>,
    /// The rest of a chunk that was begun by somebody else, mostly nothing.
    rest: Vec<u8>,
}

impl Scratch {
    /// Bytes are appended to it, and to nothing else.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.is_empty() {
            if self.bytes.capacity() == 0 {
                self.bytes = spares::take(KEPT);
            }
            self.bytes.resize(CHUNK_HEAD_BYTES, 0);
        }
        &mut self.bytes
    }

    /// Begins with the rest of another chunk.
    pub fn go_on_with(&mut self, rest: Vec<u8>) {
        self.rest = rest;
    }

    /// Whether it begins so.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// How many bytes it holds, besides such a rest.
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(CHUNK_HEAD_BYTES)
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What it holds.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(CHUNK_HEAD_BYTES..).unwrap_or_default()
    }

    /// What it holds as a chunk of a body (RFC 9112, section 7.1), behind the rest of another. It must hold something, as
    /// an empty chunk is the last.
    pub fn as_chunk(&mut self) -> &[u8] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if self.is_empty() {
            return &self.rest;
        }
        let mut left = self.len();
        self.bytes.extend_from_slice(CHUNK_END);
        let mut start = CHUNK_HEAD_BYTES - CHUNK_END.len();
        self.bytes[start..CHUNK_HEAD_BYTES].copy_from_slice(CHUNK_END);
        while left > 0 && start > 0 {
            start -= 1;
            self.bytes[start] = DIGITS[left % DIGITS.len()];
            left /= DIGITS.len();
        }
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(&self.bytes[start..]);
            return &self.rest;
        }
        &self.bytes[start..]
    }

    /// What it holds, for who keeps it longer.
    pub fn into_bytes(mut self) -> Bytes {
        let bytes = Bytes::from(std::mem::take(&mut self.bytes));
        if bytes.is_empty() { bytes } else { bytes.slice(CHUNK_HEAD_BYTES..) }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        spares::keep(KEPT, std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_begins_with_its_size_in_hexadecimal_digits() {
        for (size, head) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0x1234a, "1234a\r\n")] {
            let mut scratch = Scratch::default();
            scratch.bytes().extend(std::iter::repeat_n(b'x', size));
            assert_eq!((scratch.len(), scratch.as_slice().len()), (size, size));
            let chunk = scratch.as_chunk();
            assert!(chunk.starts_with(head.as_bytes()), "{size}");
            assert!(chunk.ends_with(b"x\r\n"));
            assert_eq!(chunk.len(), head.len() + size + 2);
        }
    }

    #[test]
    fn empty_it_has_no_room_and_its_bytes_can_be_kept() {
        let mut scratch = Scratch::default();
        assert!(scratch.is_empty() && scratch.as_slice().is_empty());
        scratch.bytes().extend_from_slice(b"abc");
        assert_eq!(scratch.into_bytes(), "abc");
        assert_eq!(Scratch::default().into_bytes(), "");
    }
}
