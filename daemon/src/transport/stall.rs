//! A socket that gives up on a peer that takes nothing, or says nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::metrics::Metrics;

/// Wraps a socket. Reads fail if nothing at all was said within the time for a request; writes fail
/// once they have made no progress for the time of a stall.
///
/// Everything above it is bounded only because of this: a client that never reads would keep its
/// stream, its mailbox and its place for ever.
#[derive(Debug)]
pub struct Watched<S> {
    socket: S,
    stall: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs until the first bytes have come. HTTP's own timeouts start only when its version is known.
    silence: Option<Pin<Box<Sleep>>>,
    metrics: Metrics,
}

impl<S> Watched<S> {
    /// Watches a socket.
    pub fn new(socket: S, first_bytes: Duration, stall: Duration, metrics: Metrics) -> Self {
        Self { socket, stall, stalled: None, silence: Some(Box::pin(sleep(first_bytes))), metrics }
    }

    fn give_up<T>(&self, limit: &'static str) -> Poll<io::Result<T>> {
        self.metrics.endpoint.listener_limits.get_or_create(&[("limit", limit)]).inc();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, limit)))
    }

    /// Lets the time run while a write is pending, and forgets it once there is progress.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(timer.as_mut().poll(cx));
        self.give_up("write_stall")
    }
}

/// Enough bytes to tell HTTP/2 from HTTP/1: the length of the HTTP/2 preface.
const PREFACE_BYTES: usize = 24;

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if buffer.filled().len() >= PREFACE_BYTES {
            self.silence = None;
        }
        if read.is_pending() && self.silence.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
        {
            self.silence = None;
            return self.give_up("first_bytes");
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Whoever gets an answer has asked something.
        self.silence = None;
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.silence = None;
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.watch(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(cx);
        self.watch(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn watched(socket: tokio::io::DuplexStream) -> Watched<tokio::io::DuplexStream> {
        Watched::new(socket, Duration::from_secs(10), Duration::from_secs(30), Metrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_reads_is_given_up() {
        let (ours, _theirs) = duplex(8);
        let mut socket = watched(ours);
        let error = socket.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_not() {
        let (ours, mut theirs) = duplex(8);
        let mut socket = watched(ours);
        let reader = tokio::spawn(async move {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(29)).await;
                theirs.read_exact(&mut [0; 8]).await.unwrap();
            }
        });
        socket.write_all(&[0; 40]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up_but_an_idle_one_is_not() {
        let (ours, mut theirs) = duplex(64);
        let mut socket = watched(ours);
        theirs.write_all(b"GET").await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 3);
        assert!(socket.read(&mut buffer).await.is_err());

        let (ours, mut theirs) = duplex(64);
        let mut socket = watched(ours);
        theirs.write_all(b"GET /graphql HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        assert!(socket.read(&mut buffer).await.unwrap() > 24);
        let idle = tokio::time::timeout(Duration::from_secs(3600), socket.read(&mut buffer)).await;
        assert!(idle.is_err());
    }
}
