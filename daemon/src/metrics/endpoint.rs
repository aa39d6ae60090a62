//! What the endpoint counts: transports, access and the listener.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::TransportLabel;

/// A label that tells cases of one thing apart.
pub type CaseLabel = [(&'static str, &'static str); 1];

/// The endpoint's metrics.
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
    /// The same by the limit that was hit, as far as it was one of a client's.
    pub limit_rejections: Family<CaseLabel, Counter>,
    /// Times that a bound of the listener was hit: `sockets`, `sockets_per_address`, `head`, `idle`, `write_stall`,
    /// `stream_stall`.
    pub listener_limits: Family<CaseLabel, Counter>,
    /// Open sockets.
    pub sockets: Gauge,
    /// TLS handshakes, by outcome.
    pub handshakes: Family<CaseLabel, Counter>,
    /// Times that the certificate was read again, by outcome.
    pub certificate_reads: Family<CaseLabel, Counter>,
    /// Requests for the operators' pages that were refused, by reason.
    pub admin_refusals: Family<CaseLabel, Counter>,
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
            limit_rejections: Family::default(),
            listener_limits: Family::default(),
            sockets: Gauge::default(),
            handshakes: Family::default(),
            certificate_reads: Family::default(),
            admin_refusals: Family::default(),
        }
    }
}

impl EndpointMetrics {
    /// Registers them.
    pub(super) fn register(&self, registry: &mut Registry) {
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
        registry.register(
            "limit_rejections",
            "What the endpoint refused or ended because of a limit, by limit",
            self.limit_rejections.clone(),
        );
        registry.register("listener_limits", "Bounds of the listener hit", self.listener_limits.clone());
        registry.register("sockets", "Open sockets", self.sockets.clone());
        registry.register("tls_handshakes", "TLS handshakes, by outcome", self.handshakes.clone());
        registry.register(
            "tls_certificate_reads",
            "Times that the certificate was read again, by outcome",
            self.certificate_reads.clone(),
        );
        registry.register(
            "admin_refusals",
            "Requests for the operators' pages refused, by reason",
            self.admin_refusals.clone(),
        );
    }
}
