//! Who received what, and when: nothing is estimated, every delivery has its entry.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::Notify;

/// Marks an event that has not been received.
const MISSING: u32 = u32::MAX;

/// How far all subscribers together have come.
#[derive(Debug)]
pub(crate) struct Progress {
    clock: Instant,
    delivered: Cell<u64>,
    awaited: Cell<u64>,
    reached: Notify,
}

impl Progress {
    pub(crate) fn new(clock: Instant) -> Self {
        Self { clock, delivered: Cell::new(0), awaited: Cell::new(u64::MAX), reached: Notify::new() }
    }

    fn count(&self) {
        let delivered = self.delivered.get() + 1;
        self.delivered.set(delivered);
        if delivered >= self.awaited.get() {
            self.reached.notify_one();
        }
    }

    /// Waits until so many deliveries were made, or for as long as `patience` allows: whatever is
    /// missing then is found by [`reconcile`].
    pub(crate) async fn wait_for(&self, deliveries: u64, patience: Duration) {
        self.awaited.set(deliveries);
        let reached = async {
            while self.delivered.get() < deliveries {
                self.reached.notified().await;
            }
        };
        let _ = tokio::time::timeout(patience, reached).await;
    }
}

/// What one subscriber received, by the event's number.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    /// Microseconds on the run's clock.
    at_micros: Vec<u32>,
    doubled: u64,
    reordered: u64,
    /// Why the stream failed, if it did.
    pub(crate) failure: Option<String>,
}

impl Receipts {
    pub(crate) fn note(&mut self, event: usize, progress: &Progress) {
        // Events come in the order of their numbers, so a later entry means that this one is late.
        if self.at_micros.len() > event {
            match self.at_micros[event] {
                MISSING => self.reordered += 1,
                _ => {
                    self.doubled += 1;
                    return;
                }
            }
        } else {
            self.at_micros.resize(event + 1, MISSING);
        }
        self.at_micros[event] = micros_since(progress.clock);
        progress.count();
    }

    pub(crate) fn failed(why: String) -> Self {
        Self { failure: Some(why), ..Self::default() }
    }

    pub(crate) fn at_micros(&self, event: usize) -> u32 {
        self.at_micros[event]
    }
}

pub(crate) fn micros_since(clock: Instant) -> u32 {
    // A run is bounded to minutes; 71 of them fit.
    u32::try_from(clock.elapsed().as_micros()).unwrap_or(MISSING - 1)
}

/// Fails unless every subscriber received every one of `published` events once and in order.
pub(crate) fn reconcile(receipts: &[Receipts], published: u64) -> Result<()> {
    let (mut missing, mut doubled, mut reordered, mut unknown) = (0, 0, 0, 0);
    for one in receipts {
        if let Some(failure) = &one.failure {
            bail!("a subscriber's stream ended: {failure}");
        }
        let received = one.at_micros.iter().filter(|at| **at != MISSING).count() as u64;
        missing += published.saturating_sub(received);
        unknown += received.saturating_sub(published);
        doubled += one.doubled;
        reordered += one.reordered;
    }
    if missing + doubled + reordered + unknown > 0 {
        bail!(
            "of {} deliveries: {missing} missing, {doubled} doubled, {reordered} out of order, {unknown} unknown",
            published * receipts.len() as u64
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipts(events: &[usize]) -> Receipts {
        let progress = Progress::new(Instant::now());
        let mut receipts = Receipts::default();
        for event in events {
            receipts.note(*event, &progress);
        }
        receipts
    }

    #[test]
    fn complete_and_in_order_reconciles() {
        reconcile(&[receipts(&[0, 1, 2]), receipts(&[0, 1, 2])], 3).unwrap();
    }

    #[test]
    fn a_missing_delivery_fails_the_run() {
        assert!(reconcile(&[receipts(&[0, 2])], 3).unwrap_err().to_string().contains("1 missing"));
        assert!(reconcile(&[receipts(&[])], 3).unwrap_err().to_string().contains("3 missing"));
    }

    #[test]
    fn a_doubled_delivery_fails_the_run() {
        assert!(reconcile(&[receipts(&[0, 1, 1, 2])], 3).unwrap_err().to_string().contains("1 doubled"));
    }

    #[test]
    fn a_late_delivery_fails_the_run() {
        assert!(reconcile(&[receipts(&[0, 2, 1])], 3).unwrap_err().to_string().contains("1 out of order"));
    }

    #[test]
    fn a_broken_stream_fails_the_run() {
        let broken = Receipts::failed("SLOW_CONSUMER".into());
        assert!(reconcile(&[broken], 0).unwrap_err().to_string().contains("SLOW_CONSUMER"));
    }
}
