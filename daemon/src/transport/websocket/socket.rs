//! A WebSocket, read by a library and written by ourselves.
//!
//! What comes in may be anything, so it is the library's. What goes out is text of our own making, in one frame each,
//! and thousands of clients get the same: it is gathered behind its frame's head and written as it is.

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

/// Read at a time. A client says little, and every socket keeps this much.
const READ_BUFFER_BYTES: usize = 1 << 10;

/// A WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// Whether the library may have something to write.
    unflushed: bool,
}

impl Socket {
    pub(super) async fn new(upgraded: Upgraded, message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let io = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self { stream, unflushed: false }
    }

    /// The next message. Nothing once it is closed. Cancel-safe.
    pub async fn receive(&mut self) -> Option<Result<Message, Error>> {
        let message = self.stream.next().await;
        // The library answers these itself, with the next flush.
        self.unflushed |= matches!(message, Some(Ok(Message::Ping(_) | Message::Close(_))));
        message
    }

    /// Writes whole frames.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn write(&mut self, frames: &[u8]) -> Result<(), Error> {
        if self.unflushed {
            self.flush().await?;
        }
        let io = self.stream.get_mut();
        io.write_all(frames).await?;
        // TLS may hold something back.
        Ok(io.flush().await?)
    }

    /// Writes a ping.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn ping(&mut self) -> Result<(), Error> {
        self.unflushed = true;
        self.stream.feed(Message::Ping(Bytes::new())).await?;
        self.flush().await
    }

    /// Writes a close frame; what the client says after it is still to be received.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn close(&mut self, frame: CloseFrame) -> Result<(), Error> {
        self.stream.send(Message::Close(Some(frame))).await
    }

    /// Writes what the library has to say, its pongs for example.
    ///
    /// # Errors
    /// If the socket is gone.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.stream.flush().await?;
        self.unflushed = false;
        Ok(())
    }
}
