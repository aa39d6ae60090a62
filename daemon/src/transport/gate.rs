//! Futures that hardly ever get on, polled only when they do.
//!
//! A stream that is woken by a delivery would otherwise look each time whether it was kicked, whether a drain wants it
//! to leave and whether its timers have rung: a dozen cache lines that nobody has touched since the last delivery.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that is polled when somebody has woken it, and not because its task was woken for another reason.
#[derive(Debug)]
pub struct Gate<F> {
    future: F,
    signal: Arc<Signal>,
}

#[derive(Debug)]
struct Signal {
    woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F> Gate<F> {
    /// A future behind a gate, which is open for the first time.
    pub fn new(future: F) -> Self {
        let signal = Signal { woken: AtomicBool::new(true), task: AtomicWaker::new() };
        Self { future, signal: Arc::new(signal) }
    }

    /// The future, to be changed. It is polled again after that.
    pub fn open(&mut self) -> &mut F {
        self.signal.woken.store(true, Ordering::Release);
        &mut self.future
    }
}

impl<F: Future + Unpin> Future for Gate<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look, so that no signal comes between the two.
        self.signal.task.register(cx.waker());
        if !self.signal.woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.signal.clone());
        let polled = Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            // What rings more than once has to be asked for the next time.
            self.signal.woken.store(true, Ordering::Release);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::{Instant, sleep, sleep_until};

    use super::*;

    /// Counts how often it is polled.
    struct Counted<F>(F, usize);

    impl<F: Future + Unpin> Future for Counted<F> {
        type Output = F::Output;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
            self.1 += 1;
            Pin::new(&mut self.0).poll(cx)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_polled_once_for_each_signal() {
        let (sender, receiver) = oneshot::channel::<()>();
        let mut gate = Gate::new(Counted(receiver, 0));
        for _ in 0..10 {
            assert!((&mut gate).now_or_never().is_none());
        }
        assert_eq!(gate.future.1, 1);
        tokio::spawn(async move {
            sleep(Duration::from_secs(1)).await;
            sender.send(()).unwrap();
        });
        assert_eq!((&mut gate).await, Ok(()));
        assert_eq!(gate.future.1, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_that_is_set_again_rings_again() {
        let start = Instant::now();
        let mut gate = Gate::new(Box::pin(sleep_until(start + Duration::from_secs(1))));
        (&mut gate).await;
        gate.open().as_mut().reset(start + Duration::from_secs(3));
        assert!((&mut gate).now_or_never().is_none());
        (&mut gate).await;
        assert_eq!(start.elapsed().as_secs(), 3);
    }
}
