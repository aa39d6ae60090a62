//! What the database says of itself, and what maintenance did.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::endpoint::CaseLabel;

/// The metrics of the database that is followed, as of the last reading.
#[derive(Debug, Clone, Default)]
pub struct DatabaseMetrics {
    /// When it was read, by the database's clock, in seconds since 1970.
    pub read_at: Gauge<f64, AtomicU64>,
    /// Age of the oldest transaction that may still publish, in seconds; 0 if there is none.
    pub oldest_transaction_age: Gauge<f64, AtomicU64>,
    /// Its process; 0 if there is none, or if it is prepared.
    pub oldest_transaction_pid: Gauge,
    /// Events kept, estimated.
    pub stored_events: Gauge,
    /// Bytes that the table of events takes.
    pub stored: Gauge,
    /// Age of the oldest event that is kept, in seconds; 0 if there is none.
    pub oldest_event_age: Gauge<f64, AtomicU64>,
    /// `tidings.retention`, in seconds.
    pub retention: Gauge<f64, AtomicU64>,
    /// When events were last removed, in seconds since 1970; 0 if none ever were.
    pub floor_moved_at: Gauge<f64, AtomicU64>,
    /// How full the notification queue is, from 0 to 1.
    pub notify_queue_usage: Gauge<f64, AtomicU64>,
    /// Slots emptied by this daemon's calls.
    pub slots_removed: Counter,
    /// Calls of `tidings.maintain()` by outcome: `done`, `busy`, `failed`.
    maintenance: Family<CaseLabel, Counter>,
}

impl DatabaseMetrics {
    /// Counts a call of `tidings.maintain()`.
    pub fn count_maintenance(&self, outcome: &'static str) {
        self.maintenance.get_or_create(&[("outcome", outcome)]).inc();
    }

    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        let seconds = [
            ("database_state_timestamp", "When the state of the database was last read", &self.read_at),
            (
                "oldest_transaction_age",
                "Age of the oldest transaction that may still publish",
                &self.oldest_transaction_age,
            ),
            ("oldest_event_age", "Age of the oldest event that is kept", &self.oldest_event_age),
            ("retention", "How long events are kept at least", &self.retention),
            ("retention_floor_timestamp", "When events were last removed", &self.floor_moved_at),
        ];
        for (name, help, gauge) in seconds {
            registry.register_with_unit(name, help, Unit::Seconds, gauge.clone());
        }
        registry.register(
            "oldest_transaction_pid",
            "Process of the oldest transaction that may still publish",
            self.oldest_transaction_pid.clone(),
        );
        registry.register("stored_events", "Events kept, estimated", self.stored_events.clone());
        registry.register_with_unit("stored", "Size of tidings.events", Unit::Bytes, self.stored.clone());
        registry.register_with_unit(
            "notify_queue_usage",
            "How full the notification queue is",
            Unit::Other("ratio".into()),
            self.notify_queue_usage.clone(),
        );
        registry.register("slots_removed", "Slots of events emptied", self.slots_removed.clone());
        registry.register("maintenance", "Calls of tidings.maintain(), by outcome", self.maintenance.clone());
    }
}
