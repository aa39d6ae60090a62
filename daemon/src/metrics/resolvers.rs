//! What is counted of the functions that resolve and authorize.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::endpoint::CaseLabel;

/// The resolvers' metrics.
#[derive(Debug, Clone)]
pub struct ResolverMetrics {
    /// Seconds that a statement took, however many calls it made.
    pub time: Histogram,
    /// Calls without an answer, by kind: `raised`, `failed`, `timeout`, `overloaded`.
    pub failures: Family<CaseLabel, Counter>,
    /// Calls that wait for a connection.
    pub queue: Gauge,
}

impl Default for ResolverMetrics {
    fn default() -> Self {
        // From 100 us to 52 s.
        let time = Histogram::new(exponential_buckets(100e-6, 2.0, 20));
        Self { time, failures: Family::default(), queue: Gauge::default() }
    }
}

impl ResolverMetrics {
    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Time of a statement that calls a resolver, once or for several events";
        registry.register_with_unit("resolver", help, Unit::Seconds, self.time.clone());
        registry.register(
            "resolver_failures",
            "Calls of resolvers without an answer, by kind",
            self.failures.clone(),
        );
        registry.register("resolver_queue", "Calls of resolvers that wait", self.queue.clone());
    }
}
