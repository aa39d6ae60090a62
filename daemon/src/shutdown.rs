//! SIGTERM: who must leave, when, and how long the process waits for them.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::Rng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Time after the spread for the last streams to write their farewell.
const GRACE: Duration = Duration::from_secs(2);

/// Tells every stream that the process is leaving, and waits for them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown {
    begun: CancellationToken,
    over: CancellationToken,
    tracker: TaskTracker,
    spread: Duration,
}

impl Shutdown {
    /// Streams will leave spread over `spread`, so that their clients do not all return at once.
    pub fn new(spread: Duration) -> Self {
        Self {
            begun: CancellationToken::new(),
            over: CancellationToken::new(),
            tracker: TaskTracker::new(),
            spread,
        }
    }

    /// Starts the drain.
    pub fn begin(&self) {
        self.begun.cancel();
    }

    /// Whether the drain has started.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits for the drain to start.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Ends when it is this stream's turn to leave: at a random moment of the drain.
    ///
    /// Each stream waits on a token of its own, because every look at a shared one takes its lock, and
    /// a stream looks whenever it is woken.
    pub fn turn(&self) -> BoxFuture<'static, ()> {
        let (begun, spread) = (self.begun.child_token(), self.spread);
        async move {
            begun.cancelled().await;
            let share: f64 = rand::rng().random();
            tokio::time::sleep(spread.mul_f64(share)).await;
        }
        .boxed()
    }

    /// Waits for the end of the drain, when whoever is still here is cut off.
    pub async fn over(&self) {
        self.over.cancelled().await;
    }

    /// The process waits for whoever holds one of these.
    pub fn hold(&self) -> TaskTrackerToken {
        self.tracker.token()
    }

    /// Runs a task that the process waits for.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: F) {
        self.tracker.spawn(task);
    }

    /// Waits until everybody has left, or until the time for it is over. True if all left.
    pub async fn finish(&self) -> bool {
        self.tracker.close();
        let all_left = tokio::time::timeout(self.spread + GRACE, self.tracker.wait()).await.is_ok();
        self.over.cancel();
        all_left
    }
}

/// Waits for SIGTERM or SIGINT and gives its name. Until then SIGHUP calls `reload`.
///
/// # Errors
/// If the handlers cannot be installed.
pub async fn signal(reload: impl Fn()) -> std::io::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            _ = interrupt.recv() => return Ok("SIGINT"),
            // By default it would end the process, and every stream with it, without a drain.
            _ = hangup.recv() => reload(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_process_waits_for_its_streams_but_not_for_ever() {
        let shutdown = Shutdown::new(Duration::from_secs(5));
        let polite = shutdown.clone();
        shutdown.spawn(async move { polite.turn().await });
        shutdown.begin();
        assert!(shutdown.finish().await);

        let shutdown = Shutdown::new(Duration::from_secs(5));
        let stuck = shutdown.hold();
        shutdown.begin();
        assert!(!shutdown.finish().await);
        drop(stuck);
        shutdown.over().await;
    }
}
