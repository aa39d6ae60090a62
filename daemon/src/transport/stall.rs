//! A socket that gives up on a peer that takes nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::listener::{Presence, Seat};

/// Wraps a socket: writes fail once they have made no progress for the time of a stall.
///
/// Everything above it is bounded only because of this: a client that never reads would keep its
/// stream, its mailbox and its place for ever.
#[derive(Debug)]
pub struct Watched<S> {
    socket: S,
    stall: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Is told when the peer says something.
    presence: Presence,
    seat: Seat,
}

impl<S> Watched<S> {
    /// Watches a socket, which keeps its seat as long as it is open, whatever is spoken on it.
    pub fn new(socket: S, stall: Duration, presence: Presence, seat: Seat) -> Self {
        Self { socket, stall, stalled: None, presence, seat }
    }

    fn give_up<T>(&self, limit: &'static str) -> Poll<io::Result<T>> {
        self.seat.count(limit);
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

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.presence.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
    use crate::access::limits::sockets::SocketPlaces;
    use crate::config::Config;
    use crate::metrics::Metrics;

    fn watched(socket: tokio::io::DuplexStream) -> Watched<tokio::io::DuplexStream> {
        let presence = Presence::new(&Config::default().limits);
        let config = Config::default();
        let place = SocketPlaces::new(&config.limits, config.trusted_proxies).take(None).unwrap();
        let seat = Seat::new(place, &Metrics::default());
        Watched::new(socket, Duration::from_secs(30), presence, seat)
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
}
