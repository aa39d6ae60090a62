//! What may interrupt a stream of one response besides what it waits for.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep};

use super::gate::Gate;
use crate::error::ClientError;

/// A stream that is silent for this long says something (PROTOCOLS S19).
pub const KEEP_ALIVE: Duration = Duration::from_secs(12);

/// Why a stream is interrupted.
#[derive(Debug)]
pub enum Interruption {
    /// The client has to leave.
    Over(ClientError),
    /// A drain wants the stream to leave.
    Leave,
    /// It has been silent for the time of a keep-alive.
    Silence,
}

/// The interruptions of a stream.
pub struct Interruptions {
    sources: Gate<Sources>,
    /// When the stream last said anything.
    said: Instant,
}

struct Sources {
    over: BoxFuture<'static, ClientError>,
    turn: BoxFuture<'static, ()>,
    /// Rings now and then; whether it is time for a keep-alive is decided by `said`.
    alarm: Pin<Box<Sleep>>,
}

enum Signal {
    Over(ClientError),
    Leave,
    Alarm,
}

impl Interruptions {
    /// `over` ends when the client has to leave, `turn` when a drain wants the stream to.
    pub fn new(over: BoxFuture<'static, ClientError>, turn: BoxFuture<'static, ()>) -> Self {
        let alarm = Box::pin(sleep(KEEP_ALIVE));
        Self { sources: Gate::new(Sources { over, turn, alarm }), said: Instant::now() }
    }

    /// The stream has said something.
    pub fn said(&mut self) {
        self.said = Instant::now();
    }

    /// It said something at that time, which may have been before this is told.
    pub fn said_at(&mut self, at: Instant) {
        self.said = at;
        self.sources.open().alarm.as_mut().reset(at + KEEP_ALIVE);
    }

    /// Whether it has been silent for the time of a keep-alive.
    pub fn is_silent(&self) -> bool {
        self.said.elapsed() >= KEEP_ALIVE
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> Interruption {
        loop {
            match (&mut self.sources).await {
                Signal::Over(error) => return Interruption::Over(error),
                Signal::Leave => return Interruption::Leave,
                Signal::Alarm => {
                    let due = self.said + KEEP_ALIVE;
                    let rang = Instant::now();
                    let next = if due <= rang { rang + KEEP_ALIVE } else { due };
                    self.sources.open().alarm.as_mut().reset(next);
                    if due <= rang {
                        return Interruption::Silence;
                    }
                }
            }
        }
    }
}

impl Future for Sources {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        if let Poll::Ready(error) = self.over.poll_unpin(cx) {
            // It is not asked again.
            self.over = std::future::pending().boxed();
            return Poll::Ready(Signal::Over(error));
        }
        if self.turn.poll_unpin(cx).is_ready() {
            self.turn = std::future::pending().boxed();
            return Poll::Ready(Signal::Leave);
        }
        self.alarm.as_mut().poll(cx).map(|()| Signal::Alarm)
    }
}
