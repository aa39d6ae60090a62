//! Whether a socket is of use: a request is under way, or one may still come in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::config::ClientLimits;

/// What a socket does. Its parts share it.
#[derive(Debug, Clone)]
pub struct Presence {
    state: Arc<watch::Sender<State>>,
    head_time: Duration,
    idle_time: Duration,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Requests whose head was read and whose answer is not over.
    under_way: usize,
    /// Whether it carries several requests at a time (HTTP/2). Then not every byte is one of a request.
    multiplexed: bool,
    /// What a socket without a request is waited for.
    waiting: Waiting,
    deadline: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the rest of a request's head; at the beginning, for all of it.
    Head,
    /// For the next request to begin.
    Idle,
}

/// A request that is under way; until it is dropped, its socket is of use.
#[derive(Debug)]
pub struct UnderWay(Presence);

impl Presence {
    /// A socket that was just accepted.
    pub fn new(limits: &ClientLimits) -> Self {
        let deadline = Instant::now() + limits.request_time;
        let state = State { under_way: 0, multiplexed: false, waiting: Waiting::Head, deadline };
        Self {
            state: Arc::new(watch::Sender::new(state)),
            head_time: limits.request_time,
            idle_time: limits.idle,
        }
    }

    /// A request's head was read.
    pub fn begin(&self, multiplexed: bool) -> UnderWay {
        self.state.send_modify(|state| {
            state.under_way += 1;
            state.multiplexed = multiplexed;
        });
        UnderWay(self.clone())
    }

    /// The socket was told that no further request is taken, and gets this long to go.
    pub fn dismiss(&self, time: Duration) {
        let deadline = Instant::now() + time;
        self.state.send_modify(|state| state.deadline = deadline);
    }

    /// Bytes have come. If they are the first after a pause, they begin a head (HTTP/1.1).
    pub fn received(&self) {
        let idle =
            |state: &State| state.under_way == 0 && state.waiting == Waiting::Idle && !state.multiplexed;
        if !idle(&self.state.borrow()) {
            return;
        }
        let deadline = Instant::now() + self.head_time;
        self.state.send_if_modified(|state| {
            let begins = idle(state);
            if begins {
                (state.waiting, state.deadline) = (Waiting::Head, deadline);
            }
            begins
        });
    }

    /// Ends when the socket has been without a request for too long; gives the name of the limit.
    pub async fn wasted(&self) -> &'static str {
        let mut changes = self.state.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            let over = async {
                if state.under_way > 0 {
                    return std::future::pending().await;
                }
                sleep_until(state.deadline).await;
            };
            tokio::select! {
                () = over => return match state.waiting {
                    Waiting::Head => "head",
                    Waiting::Idle => "idle",
                },
                // The sender is ours, so there is always another change to wait for.
                _ = changes.changed() => {}
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.0.idle_time;
        self.0.state.send_modify(|state| {
            state.under_way = state.under_way.saturating_sub(1);
            (state.waiting, state.deadline) = (Waiting::Idle, deadline);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn presence() -> Presence {
        let limits = ClientLimits {
            request_time: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            ..Config::default().limits
        };
        Presence::new(&limits)
    }

    async fn after(presence: &Presence) -> (&'static str, u64) {
        let start = Instant::now();
        (presence.wasted().await, start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_less_time_than_a_pause() {
        let presence = presence();
        assert_eq!(after(&presence).await, ("head", 10));
        drop(presence.begin(false));
        assert_eq!(after(&presence).await, ("idle", 75));
        presence.received();
        presence.received();
        assert_eq!(after(&presence).await, ("head", 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_keeps_its_socket() {
        let presence = presence();
        let (first, second) = (presence.begin(true), presence.begin(true));
        drop(first);
        presence.received();
        let day = Duration::from_secs(86_400);
        assert!(tokio::time::timeout(day, presence.wasted()).await.is_err());
        let waiting = presence.clone();
        let waiting = tokio::spawn(async move { waiting.wasted().await });
        drop(second);
        assert_eq!(waiting.await.unwrap(), "idle");
    }
}
