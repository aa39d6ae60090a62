//! What is counted of subscriptions that catch up.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::endpoint::CaseLabel;

/// The metrics of replay.
#[derive(Debug, Clone)]
pub struct ReplayMetrics {
    /// Replays by outcome: `joined`, `expired`, `history_changed`.
    outcomes: Family<CaseLabel, Counter>,
    /// Subscriptions that are catching up in a group now.
    pub catching_up: Gauge,
    /// Statements that read events again, for however many.
    pub reads: Counter,
    /// Reads of events that were still in memory.
    pub reads_of_memory: Counter,
    /// Events in memory.
    pub ring_events: Gauge,
    /// Bytes of them.
    pub ring_bytes: Gauge,
    /// Reads that failed and were tried again.
    pub failures: Counter,
    /// Events read again.
    pub events: Counter,
    /// Results handed over.
    pub deliveries: Counter,
    /// Seconds that it took to bring a group to the stream.
    pub time: Histogram,
}

impl Default for ReplayMetrics {
    fn default() -> Self {
        Self {
            outcomes: Family::default(),
            catching_up: Gauge::default(),
            reads: Counter::default(),
            reads_of_memory: Counter::default(),
            ring_events: Gauge::default(),
            ring_bytes: Gauge::default(),
            failures: Counter::default(),
            events: Counter::default(),
            deliveries: Counter::default(),
            // From 100 us to 52 s.
            time: Histogram::new(exponential_buckets(100e-6, 2.0, 20)),
        }
    }
}

impl ReplayMetrics {
    /// Counts replays that ended so.
    pub fn count(&self, outcome: &'static str, how_many: u64) {
        if how_many > 0 {
            self.outcomes.get_or_create(&[("outcome", outcome)]).inc_by(how_many);
        }
    }

    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "replays",
            "Subscriptions that were behind, by what became of them",
            self.outcomes.clone(),
        );
        registry.register("replaying", "Subscriptions that are catching up", self.catching_up.clone());
        registry.register("replay_reads", "Statements that read events again", self.reads.clone());
        registry.register(
            "replay_memory_reads",
            "Reads of events that were still in memory",
            self.reads_of_memory.clone(),
        );
        registry.register("ring_events", "Last events in memory", self.ring_events.clone());
        registry.register_with_unit(
            "ring",
            "What the last events take in memory",
            Unit::Bytes,
            self.ring_bytes.clone(),
        );
        registry.register("replay_failures", "Reads of events that failed", self.failures.clone());
        registry.register("replay_events", "Events read again", self.events.clone());
        registry.register("replay_deliveries", "Results handed over by replay", self.deliveries.clone());
        registry.register_with_unit(
            "replay",
            "Time to bring a group of subscriptions to the stream",
            Unit::Seconds,
            self.time.clone(),
        );
    }
}
