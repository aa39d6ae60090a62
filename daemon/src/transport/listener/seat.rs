//! A socket's place among all, from its acceptance to its end.

use crate::access::limits::sockets::SocketPlace;
use crate::metrics::Metrics;

/// Held by a socket; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    metrics: Metrics,
    _place: SocketPlace,
}

impl Seat {
    /// Takes a place for a socket.
    pub fn new(place: SocketPlace, metrics: &Metrics) -> Self {
        metrics.endpoint.sockets.inc();
        Self { metrics: metrics.clone(), _place: place }
    }

    /// Counts a bound that the socket has hit.
    pub fn count(&self, limit: &'static str) {
        count(&self.metrics, limit);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.metrics.endpoint.sockets.dec();
    }
}

/// Counts a bound that a socket has hit.
pub(super) fn count(metrics: &Metrics, limit: &'static str) {
    metrics.endpoint.listener_limits.get_or_create(&[("limit", limit)]).inc();
}
