//! Everything the daemon counts, in one registry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::event::Event;

pub mod access;

pub mod database;

pub mod endpoint;

pub mod initial;

pub mod replay;

pub mod reservations;

pub mod resolvers;

pub mod row_security;

pub use access::AccessMetrics;
pub use database::DatabaseMetrics;
pub use endpoint::{CaseLabel, EndpointMetrics};
pub use initial::InitialMetrics;
pub use replay::ReplayMetrics;
pub use reservations::ReservationMetrics;
pub use resolvers::ResolverMetrics;
pub use row_security::RowSecurityMetrics;

/// The label of a transport: `sse`, `multipart`, `graphql-transport-ws`, `graphql-ws` (the legacy
/// one) or `http`.
pub type TransportLabel = [(&'static str, &'static str); 1];

/// Most channels counted by name; the events of any further channel count under `(other)`, because
/// channel names come from publishers and a metric must not grow without bound.
const CHANNELS_MAX: usize = 1_000;

/// The channel of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChannelLabel {
    channel: String,
}

/// The metrics, each cheap to clone and to update.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Open connections by transport.
    pub connections: Family<TransportLabel, Gauge>,
    /// Live subscriptions.
    pub subscriptions: Gauge,
    /// Events that the source handed over, by channel.
    pub events: Family<ChannelLabel, Counter>,
    /// Results handed to mailboxes.
    pub deliveries: Counter,
    /// Results written to a socket by whoever dispatched them.
    pub direct_deliveries: Counter,
    /// Subscriptions ended because their mailbox was full.
    pub mailbox_overflows: Counter,
    /// Requests whose document was refused, by the code of the first error.
    pub document_refusals: Family<CaseLabel, Counter>,
    /// Times that the source lost its connection.
    pub source_reconnects: Counter,
    /// Seconds that the hub took for a part of a batch: routing, projection and mailboxes.
    pub dispatch: Histogram,
    /// Seconds for which events waited for a standby.
    pub standby_wait: Histogram,
    /// Seconds from the publication of an event, by the database's clock, to its dispatch.
    pub event_age: Histogram,
    /// How far the source is behind, in seconds; set when the metrics are read.
    pub source_lag: Gauge<f64, AtomicU64>,
    /// What the database says of itself.
    pub database: DatabaseMetrics,
    /// What the checks of tokens count.
    pub access: AccessMetrics,
    /// What the endpoint counts.
    pub endpoint: EndpointMetrics,
    /// What reservations count.
    pub reservations: ReservationMetrics,
    /// What the calls of functions count.
    pub resolvers: ResolverMetrics,
    /// What the checks of policies count.
    pub row_security: RowSecurityMetrics,
    /// What the reads of `@initial` count.
    pub initial: InitialMetrics,
    /// What replay counts.
    pub replay: ReplayMetrics,
    /// The channels that are counted by name.
    channels: Arc<Mutex<HashSet<String>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        // From 10 us to 84 s, and from 100 us to 52 s.
        let dispatch = Histogram::new(exponential_buckets(10e-6, 2.0, 24));
        // From 100 us to 52 s.
        let standby_wait = Histogram::new(exponential_buckets(100e-6, 2.0, 20));
        let event_age = Histogram::new(exponential_buckets(100e-6, 2.0, 20));
        Self {
            connections: Family::default(),
            subscriptions: Gauge::default(),
            events: Family::default(),
            deliveries: Counter::default(),
            direct_deliveries: Counter::default(),
            mailbox_overflows: Counter::default(),
            document_refusals: Family::default(),
            source_reconnects: Counter::default(),
            dispatch,
            standby_wait,
            event_age,
            source_lag: Gauge::default(),
            database: DatabaseMetrics::default(),
            access: AccessMetrics::default(),
            endpoint: EndpointMetrics::default(),
            reservations: ReservationMetrics::default(),
            resolvers: ResolverMetrics::default(),
            row_security: RowSecurityMetrics::default(),
            initial: InitialMetrics::default(),
            replay: ReplayMetrics::default(),
            channels: Arc::default(),
        }
    }
}

impl Metrics {
    /// Creates the metrics and registers them under the prefix `tidings`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("tidings");
        registry.register("connections", "Open connections by transport", metrics.connections.clone());
        registry.register("subscriptions", "Live subscriptions", metrics.subscriptions.clone());
        registry.register("events", "Events handed over by the source", metrics.events.clone());
        registry.register("deliveries", "Results handed to mailboxes", metrics.deliveries.clone());
        registry.register(
            "direct_deliveries",
            "Results written to a socket by whoever dispatched them",
            metrics.direct_deliveries.clone(),
        );
        registry.register(
            "mailbox_overflows",
            "Subscriptions ended because their mailbox was full",
            metrics.mailbox_overflows.clone(),
        );
        registry.register(
            "document_refusals",
            "Requests whose document was refused, by code",
            metrics.document_refusals.clone(),
        );
        registry.register(
            "source_reconnects",
            "Times that the source lost its connection",
            metrics.source_reconnects.clone(),
        );
        registry.register_with_unit(
            "dispatch",
            "Time to route, project and hand over a part of a batch",
            Unit::Seconds,
            metrics.dispatch.clone(),
        );
        registry.register_with_unit(
            "standby_wait",
            "Time for which events waited for a synchronous standby",
            Unit::Seconds,
            metrics.standby_wait.clone(),
        );
        registry.register_with_unit(
            "event_age",
            "Time from publication to dispatch",
            Unit::Seconds,
            metrics.event_age.clone(),
        );
        registry.register_with_unit(
            "source_lag",
            "Time since the source was caught up",
            Unit::Seconds,
            metrics.source_lag.clone(),
        );
        metrics.database.register(registry);
        metrics.access.register(registry);
        metrics.endpoint.register(registry);
        metrics.reservations.register(registry);
        metrics.resolvers.register(registry);
        metrics.row_security.register(registry);
        metrics.initial.register(registry);
        metrics.replay.register(registry);
        metrics
    }

    /// Counts the events of a batch.
    pub fn count_events(&self, events: &[Event]) {
        let mut by_channel: HashMap<&str, u64> = HashMap::new();
        for event in events {
            *by_channel.entry(&event.channel).or_default() += 1;
        }
        for (channel, count) in by_channel {
            self.events.get_or_create(&self.channel_label(channel)).inc_by(count);
        }
    }

    /// The label of a channel.
    pub fn channel_label(&self, channel: &str) -> ChannelLabel {
        let mut known = self.channels.lock();
        let named =
            known.contains(channel) || (known.len() < CHANNELS_MAX && known.insert(channel.to_owned()));
        ChannelLabel { channel: if named { channel } else { "(other)" }.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::{CHANNELS_MAX, Metrics};
    use crate::event::Event;

    #[test]
    fn a_publisher_cannot_grow_the_metrics_without_bound() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for number in 0..CHANNELS_MAX * 2 {
            metrics.count_events(&[Event { channel: format!("c{number}").into(), ..Event::default() }]);
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let lines = text.lines().filter(|line| line.starts_with("tidings_events_total"));
        assert_eq!(lines.count(), CHANNELS_MAX + 1);
        assert!(text.contains("tidings_events_total{channel=\"(other)\"} 1000"), "{text}");
    }
}
