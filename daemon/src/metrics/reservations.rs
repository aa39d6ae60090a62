//! What is counted of reservations and their store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The metrics of reservations.
#[derive(Debug, Clone, Default)]
pub struct ReservationMetrics {
    /// Reservations that were made.
    pub reserved: Counter,
    /// Idle ones that had to go because their user made more than allowed.
    pub evicted: Counter,
    /// Streams that another stream of the same reservation took the place of.
    pub taken_over: Counter,
    /// Times that the store did not answer.
    pub store_failures: Counter,
    /// Results without an `id:`, because it would have been too long.
    pub places_omitted: Counter,
}

impl ReservationMetrics {
    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("reservations", "Reservations made", self.reserved.clone());
        registry.register(
            "reservations_evicted",
            "Idle reservations that made room for newer ones of their user",
            self.evicted.clone(),
        );
        registry.register(
            "reservations_taken_over",
            "Streams whose reservation another stream took over",
            self.taken_over.clone(),
        );
        registry.register(
            "reservation_store_failures",
            "Times that the store of reservations did not answer",
            self.store_failures.clone(),
        );
        registry.register(
            "reservation_places_omitted",
            "Results without an id, because it would have been too long",
            self.places_omitted.clone(),
        );
    }
}
