//! What a source says of itself: connected or not, and how far behind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Shared between a source and whoever asks about readiness.
#[derive(Debug)]
pub struct SourceStatus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Why the source cannot deliver now; nothing if it can.
    trouble: Option<String>,
    /// When it last knew that it had fetched everything visible.
    current_at: Option<Instant>,
    /// How many wait for something outside, and for what the last of them does.
    held: (usize, String),
}

impl Default for SourceStatus {
    fn default() -> Self {
        Self(Mutex::new(State {
            trouble: Some("the source has not connected yet".into()),
            ..State::default()
        }))
    }
}

impl SourceStatus {
    /// The status of a source that is never behind, because it has no origin to follow.
    pub fn always_current() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// The source has fetched everything that was visible a moment ago.
    pub fn set_current(&self) {
        let mut state = self.0.lock();
        state.trouble = None;
        state.current_at = Some(Instant::now());
    }

    /// The source cannot deliver, for this reason.
    pub fn set_trouble(&self, reason: String) {
        self.0.lock().trouble = Some(reason);
    }

    /// Events are held for this reason, until what is returned is dropped.
    pub fn hold(self: &Arc<Self>, reason: String) -> Held {
        let mut state = self.0.lock();
        state.held = (state.held.0 + 1, reason);
        Held(self.clone())
    }

    /// How long ago the source was current; nothing before it ever was.
    pub fn lag(&self) -> Option<Duration> {
        self.0.lock().current_at.map(|at| at.elapsed())
    }

    /// Why the source is not fit to serve: not connected, or behind by more than `lag_max`.
    pub fn unready(&self, lag_max: Duration) -> Option<String> {
        let state = self.0.lock();
        if let Some(trouble) = &state.trouble {
            return Some(trouble.clone());
        }
        if state.held.0 > 0 {
            return Some(state.held.1.clone());
        }
        let lag = state.current_at?.elapsed();
        (lag > lag_max)
            .then(|| format!("the source last caught up {lag:.1?} ago, more than the allowed {lag_max:?}"))
    }
}

/// Somebody waits for something outside.
#[derive(Debug)]
pub struct Held(Arc<SourceStatus>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.lock().held.0 -= 1;
    }
}
