//! What is counted of the rows that subscriptions begin with.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::endpoint::CaseLabel;

/// The metrics of `@initial`.
#[derive(Debug, Clone)]
pub struct InitialMetrics {
    /// Reads by outcome: `read`, `too_large`, `failed`. Equal subscriptions that wait share one.
    reads: Family<CaseLabel, Counter>,
    /// Rows that were read and matched.
    rows: Counter,
    /// Seconds that a read took, its waiting included.
    time: Histogram,
}

impl Default for InitialMetrics {
    fn default() -> Self {
        // From 100 us to 52 s.
        let time = Histogram::new(exponential_buckets(100e-6, 2.0, 20));
        Self { reads: Family::default(), rows: Counter::default(), time }
    }
}

impl InitialMetrics {
    /// Counts a read.
    pub fn count(&self, outcome: &'static str, rows: usize, seconds: f64) {
        self.reads.get_or_create(&[("outcome", outcome)]).inc();
        self.rows.inc_by(rows as u64);
        self.time.observe(seconds);
    }

    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "initial_reads",
            "Reads of the rows that subscriptions begin with, by outcome",
            self.reads.clone(),
        );
        registry.register("initial_rows", "Rows that subscriptions began with", self.rows.clone());
        registry.register_with_unit(
            "initial_read",
            "Time to read the rows that subscriptions begin with",
            Unit::Seconds,
            self.time.clone(),
        );
    }
}
