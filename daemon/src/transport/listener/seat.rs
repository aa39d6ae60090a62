//! A socket's place among all, from its acceptance to its end.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::access::limits::sockets::SocketPlace;
use crate::metrics::{CaseLabel, Metrics};

/// Held by a socket; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    sockets: Gauge,
    limits: Family<CaseLabel, Counter>,
    _place: SocketPlace,
}

impl Seat {
    /// Takes a place for a socket.
    pub fn new(place: SocketPlace, metrics: &Metrics) -> Self {
        let (sockets, limits) = (metrics.endpoint.sockets.clone(), metrics.endpoint.listener_limits.clone());
        sockets.inc();
        Self { sockets, limits, _place: place }
    }

    /// Counts a bound that the socket has hit.
    pub fn count(&self, limit: &'static str) {
        self.limits.get_or_create(&[("limit", limit)]).inc();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.sockets.dec();
    }
}

/// Counts a bound that a socket has hit.
pub(super) fn count(metrics: &Metrics, limit: &'static str) {
    metrics.endpoint.listener_limits.get_or_create(&[("limit", limit)]).inc();
}
