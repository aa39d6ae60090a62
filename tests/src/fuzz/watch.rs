//! Whoever never ends is told of: a thread looks at how long an input has been tried.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::{INPUT_TIME_MAX, keep};

type Current = Arc<Mutex<Option<(Instant, Vec<u8>)>>>;

/// Watches one target, until it is dropped.
pub(super) struct Watch {
    current: Current,
    _end: Sender<()>,
}

impl Watch {
    pub(super) fn new(target: &'static str) -> Self {
        let current = Current::default();
        let watched = current.clone();
        let (sender, end) = channel::<()>();
        std::thread::spawn(move || {
            while end.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                let late = watched.lock().take_if(|(began, _)| began.elapsed() > INPUT_TIME_MAX);
                if let Some((_, input)) = late {
                    keep(target, 0, &input);
                    // What runs in this process cannot be stopped, and the runner would wait for it for ever.
                    eprintln!("fuzz {target}: that input was tried for {INPUT_TIME_MAX:?} without an end");
                    std::process::exit(101);
                }
            }
        });
        Self { current, _end: sender }
    }

    /// An input is about to be tried.
    pub(super) fn begin(&self, input: &[u8]) -> Instant {
        let began = Instant::now();
        *self.current.lock() = Some((began, input.to_owned()));
        began
    }

    pub(super) fn end(&self) {
        *self.current.lock() = None;
    }
}
