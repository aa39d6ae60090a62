//! What becomes of a socket, one after another.
//!
//! A future has the room of all that it ever does. So what a socket goes through is cut where it may stay for hours:
//! what is over then is gone, with its room.

use futures_util::future::BoxFuture;

/// What comes next.
pub(super) enum Stage {
    Next(BoxFuture<'static, Stage>),
    /// Nothing: the socket is closed.
    Over,
}

impl Stage {
    /// Another stage, in a box of its own size.
    pub(super) fn next(stage: impl Future<Output = Self> + Send + 'static) -> Self {
        Self::Next(Box::pin(stage))
    }

    /// Goes through all of them.
    pub(super) async fn run(mut self) {
        while let Self::Next(stage) = self {
            self = stage.await;
        }
    }
}
