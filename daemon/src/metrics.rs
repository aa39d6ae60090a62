//! Everything the daemon counts, in one registry.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The label of a transport: `sse`, `graphql-transport-ws` or `http`.
pub type TransportLabel = [(&'static str, &'static str); 1];

/// A label that tells cases of one thing apart.
pub type CaseLabel = [(&'static str, &'static str); 1];

/// The metrics, each cheap to clone and to update.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Open connections by transport.
    pub connections: Family<TransportLabel, Gauge>,
    /// Results handed to mailboxes.
    pub deliveries: Counter,
    /// What the endpoint counts.
    pub endpoint: EndpointMetrics,
}

impl Metrics {
    /// Creates the metrics and registers them under the prefix `tidings`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tidings");
        registry.register("connections", "Open connections by transport", metrics.connections.clone());
        registry.register("deliveries", "Results handed to mailboxes", metrics.deliveries.clone());
        metrics.endpoint.register(registry);
        metrics
    }
}

/// What the endpoint counts: transports, access and the listener.
#[derive(Debug, Clone)]
pub struct EndpointMetrics {
    /// How long connections lasted, by transport.
    pub connection_duration: Family<TransportLabel, Histogram>,
    /// Running subscriptions by transport.
    pub subscriptions: Family<TransportLabel, Gauge>,
    /// Bytes of frames and results written, by transport.
    pub written: Family<TransportLabel, Counter>,
    /// Requests, operations and connections that the endpoint refused or ended, by error code.
    pub refusals: Family<CaseLabel, Counter>,
    /// Times that a bound of the listener was hit: `sockets`, `write_stall`, `first_bytes`.
    pub listener_limits: Family<CaseLabel, Counter>,
    /// Open TCP connections.
    pub sockets: Gauge,
}

impl Default for EndpointMetrics {
    fn default() -> Self {
        // From a poll that comes and goes to a stream that stays for a week.
        let buckets = || Histogram::new([0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 604_800.0]);
        Self {
            connection_duration: Family::new_with_constructor(buckets),
            subscriptions: Family::default(),
            written: Family::default(),
            refusals: Family::default(),
            listener_limits: Family::default(),
            sockets: Gauge::default(),
        }
    }
}

impl EndpointMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "connection_duration",
            "How long connections lasted, by transport",
            Unit::Seconds,
            self.connection_duration.clone(),
        );
        registry.register(
            "transport_subscriptions",
            "Running subscriptions by transport",
            self.subscriptions.clone(),
        );
        registry.register_with_unit(
            "written",
            "Frames and results written, by transport",
            Unit::Bytes,
            self.written.clone(),
        );
        registry.register("refusals", "What the endpoint refused or ended, by code", self.refusals.clone());
        registry.register("listener_limits", "Bounds of the listener hit", self.listener_limits.clone());
        registry.register("sockets", "Open TCP connections", self.sockets.clone());
    }
}
