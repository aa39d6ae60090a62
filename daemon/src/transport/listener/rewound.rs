//! A socket of which something has been read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads what was read before, then the socket.
#[derive(Debug)]
pub(super) struct Rewound<S> {
    before: Bytes,
    socket: S,
}

impl<S> Rewound<S> {
    pub(super) fn new(before: Bytes, socket: S) -> Self {
        Self { before, socket }
    }

    /// Both, for who goes on in another way.
    pub(super) fn into_parts(self) -> (Bytes, S) {
        (self.before, self.socket)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.socket).poll_read(cx, buffer);
        }
        let fits = self.before.len().min(buffer.remaining());
        buffer.put_slice(&self.before[..fits]);
        self.before.advance(fits);
        if self.before.is_empty() {
            // Its memory is not kept for as long as the socket is open.
            self.before = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_comes_first_whatever_the_size_of_the_reads() {
        let (mut client, server) = duplex(64);
        client.write_all(b"defg").await.unwrap();
        drop(client);
        let mut socket = Rewound::new(Bytes::from_static(b"abc"), server);
        let mut read = Vec::new();
        while let Ok(byte) = socket.read_u8().await {
            read.push(byte);
        }
        assert_eq!(read, b"abcdefg");
    }
}
