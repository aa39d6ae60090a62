//! The streams of HTTP/2 connections: one whose peer takes nothing is given up.
//!
//! A peer that leaves the window of a stream closed, but reads the socket and answers pings, looks alive.
//! Without this it would keep the stream, its mailbox and its place for ever.

use std::sync::Arc;
use std::time::Duration;

use hyper::rt::Executor;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::seat::count;
use crate::metrics::Metrics;

/// Looks at a stream in one stall's time.
const LOOKS: u32 = 4;

tokio::task_local! {
    static OFFER: Offer;
}

/// Runs the tasks of HTTP/2 streams.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    stall: Duration,
    metrics: Metrics,
}

/// Since when bytes of a stream have been waiting for its window. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Offer {
    since: Arc<Mutex<Option<Instant>>>,
}

impl Streams {
    pub(super) fn new(stall: Duration, metrics: Metrics) -> Self {
        Self { stall, metrics }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (offer, stall, metrics) = (Offer::default(), self.stall, self.metrics.clone());
        tokio::spawn(OFFER.scope(offer.clone(), async move {
            tokio::select! {
                () = stream => {}
                // Dropping it resets the stream.
                () = offer.refused(stall) => count(&metrics, "stream_stall"),
            }
        }));
    }
}

impl Offer {
    /// The offer of the stream whose task asks; nothing over HTTP/1.1, where the socket itself tells.
    pub(super) fn of_this_stream() -> Option<Self> {
        OFFER.try_with(Self::clone).ok()
    }

    /// More bytes were asked for, so the earlier ones were taken.
    pub(super) fn taken(&self) {
        *self.since.lock() = None;
    }

    /// Bytes were handed over.
    pub(super) fn made(&self) {
        *self.since.lock() = Some(Instant::now());
    }

    /// Ends when bytes have been waiting for the time of a stall.
    async fn refused(&self, stall: Duration) {
        let mut looks = tokio::time::interval(stall / LOOKS);
        loop {
            let now = looks.tick().await;
            if self.since.lock().is_some_and(|since| now >= since + stall) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_given_up_only_while_it_offers_something() {
        let (stall, day) = (Duration::from_secs(30), Duration::from_secs(86_400));
        let offer = Offer::default();
        assert!(tokio::time::timeout(day, offer.refused(stall)).await.is_err());
        offer.made();
        offer.taken();
        assert!(tokio::time::timeout(day, offer.refused(stall)).await.is_err());
        offer.made();
        let start = Instant::now();
        offer.refused(stall).await;
        assert!((30..40).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_of_a_refused_stream_ends() {
        let metrics = Metrics::default();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        Streams::new(Duration::from_secs(30), metrics.clone()).execute(async move {
            let _held = held;
            Offer::of_this_stream().unwrap().made();
            std::future::pending::<()>().await;
        });
        assert!(dropped.await.is_err());
        let counted = metrics.endpoint.listener_limits.get_or_create(&[("limit", "stream_stall")]).get();
        assert_eq!(counted, 1);
    }
}
