//! Everything the daemon counts, in one registry.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The label of a transport: `sse`, `graphql-transport-ws` or `http`.
pub type TransportLabel = [(&'static str, &'static str); 1];

/// The metrics, each cheap to clone and to update.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Open connections by transport.
    pub connections: Family<TransportLabel, Gauge>,
    /// Results handed to mailboxes.
    pub deliveries: Counter,
}

impl Metrics {
    /// Creates the metrics and registers them under the prefix `tidings`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tidings");
        registry.register("connections", "Open connections by transport", metrics.connections.clone());
        registry.register("deliveries", "Results handed to mailboxes", metrics.deliveries.clone());
        metrics
    }
}
