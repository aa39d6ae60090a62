//! What a session writes: results, and messages of its machine.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;

use super::{End, Session};
use crate::error::ClientError;
use crate::hub::mailbox::{self, Delivery};
use crate::hub::outlet::{Outlet, Returned};
use crate::transport::frame;
use crate::transport::listener::Tap;
use crate::transport::operations::Running;
use crate::transport::scratch::Scratch;
use crate::transport::websocket::Socket;

/// Frames of one batch are gathered up to this size and written at once (W15).
const WRITE_BYTES: usize = 16 << 10;

/// The way of results into a socket that is lent.
#[derive(Debug)]
pub(super) struct SocketOutlet {
    pub(super) running: Running,
    pub(super) tap: Tap,
    pub(super) written: Counter,
}

impl Outlet for SocketOutlet {
    fn write(&self, results: &[Delivery]) -> Vec<u8> {
        let mut frames = Scratch::default();
        for delivery in results {
            if let Delivery::Next { subscription, result, cursor } = delivery {
                self.running.result(frames.bytes(), *subscription, result, cursor);
            }
        }
        self.written.inc_by(frames.len() as u64);
        self.tap.write(frames.as_slice()).to_vec()
    }
}

impl Session {
    /// Has the socket back, and writes what could not be written while it was lent.
    pub(super) async fn take_back(&mut self, socket: &mut Socket) -> Result<(), End> {
        let Some(client) = &self.client else { return Ok(()) };
        let Returned { rest, written } = client.connection.take_back();
        if let Some(written) = written {
            self.named_cursor = Instant::from_std(written);
        }
        if rest.is_empty() {
            return Ok(());
        }
        taken(rest.len(), self.endpoint.limits().write_stall, socket.write(&rest)).await
    }

    /// Writes everything that was waiting.
    pub(super) async fn deliver(
        &mut self,
        socket: &mut Socket,
        deliveries: &mut Vec<Delivery>,
    ) -> Result<(), End> {
        let mut deliveries = std::mem::take(deliveries);
        let mut frames = Scratch::default();
        for delivery in deliveries.drain(..) {
            self.frame(frames.bytes(), delivery);
            if frames.len() >= WRITE_BYTES {
                self.write(socket, &frames).await?;
                frames.clear();
            }
        }
        mailbox::give_back(deliveries);
        self.named_cursor = Instant::now();
        self.write(socket, &frames).await
    }

    fn frame(&mut self, into: &mut Vec<u8>, delivery: Delivery) {
        match delivery {
            Delivery::Next { subscription, result, cursor } => {
                self.machine.operations().running().result(into, subscription, &result, &cursor);
            }
            Delivery::Whole { subscription, result, .. } => {
                self.machine.operations().running().whole(into, subscription, &result);
            }
            Delivery::Begun { .. } => {}
            Delivery::End { subscription, reason, cursor } => {
                let error = ClientError::from(reason);
                self.endpoint.count_refusal(&error);
                if let Some(message) = self.machine.ended(subscription, &error.to_graphql_at(&cursor)) {
                    frame::ws_message(into, message.as_bytes());
                    self.admission.ended(subscription);
                }
            }
        }
    }

    pub(super) async fn send(
        &mut self,
        socket: &mut Socket,
        messages: impl IntoIterator<Item = String>,
    ) -> Result<(), End> {
        let mut frames = Scratch::default();
        for message in messages {
            frame::ws_message(frames.bytes(), message.as_bytes());
        }
        self.write(socket, &frames).await
    }

    pub(super) async fn write(&mut self, socket: &mut Socket, frames: &Scratch) -> Result<(), End> {
        if frames.is_empty() {
            return Ok(());
        }
        self.admission.wrote(frames.len());
        taken(frames.len(), self.endpoint.limits().write_stall, socket.write(frames.as_slice())).await
    }

    pub(super) async fn flush(&mut self, socket: &mut Socket) -> Result<(), End> {
        taken(0, self.endpoint.limits().write_stall, socket.flush()).await
    }
}

/// Waits for a socket to take bytes, as long as it gets on.
pub(super) async fn taken(
    bytes: usize,
    stall: Duration,
    taking: impl Future<Output = Result<(), Error>>,
) -> Result<(), End> {
    let mut taking = pin!(taking);
    // Nearly always at once, and then without a timer.
    if let Some(taken) = (&mut taking).now_or_never() {
        return taken.map_err(|_| End::Gone);
    }
    let time = stall + time_at_least(bytes);
    tokio::time::timeout(time, taking).await.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
}

/// The time that bytes may take besides the time of a stall. On a socket of its own the stall alone decides; a
/// WebSocket inside HTTP/2 may have a closed window on a socket that gets on.
fn time_at_least(bytes: usize) -> Duration {
    const BYTES_PER_MS: usize = 4;
    Duration::from_millis((bytes / BYTES_PER_MS) as u64)
}
