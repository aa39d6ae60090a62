//! The listener: accepts sockets and speaks HTTP/1.1 or HTTP/2 on each, over TLS if there is a certificate.
//!
//! # Layout
//!
//! `bind` makes addresses into listening sockets, `seat` counts those that were accepted, `speak` is the
//! HTTP on one of them (which is `rewound` once something was read of it), `streams` runs those of HTTP/2,
//! `lasting` writes what lasts over HTTP/1.1, each is a `stage` of its socket, and `presence` tells when a socket is of no use any more.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

mod bind;

mod seat;

mod presence;

mod rewound;

mod streams;

mod lasting;

mod stage;

mod shared;

mod speak;

pub use bind::{Accepted, BindError, Listening, SocketFile};
pub use lasting::{Flow, Lasting};
pub use presence::{Presence, UnderWay};
pub use seat::Seat;
use shared::SharedSocket;
pub use shared::Tap;
use speak::{House, Version};
use stage::Stage;

use super::stall::Watched;
use super::tls::{HTTP2, TlsAcceptor};
use crate::access::arrival::{Arrival, Door, Peer};
use crate::access::limits::sockets::{SocketPlace, SocketPlaces};
use crate::config::ClientLimits;
use crate::config::proxies::TrustedProxies;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Pause after the system has refused to accept, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the sockets of one kind of guests share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reception {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    door: Door,
    router: Router,
    places: SocketPlaces,
    limits: ClientLimits,
    /// For TCP; a Unix socket never leaves the machine.
    tls: Option<TlsAcceptor>,
    house: Arc<House>,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Reception {
    /// Serves these routes, on as many sockets as `limits` say.
    pub fn new(
        door: Door,
        router: Router,
        limits: ClientLimits,
        proxies: &TrustedProxies,
        tls: Option<TlsAcceptor>,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> Self {
        let places = SocketPlaces::new(&limits, proxies.clone());
        let house = Arc::new(House::new(&limits, metrics.clone(), shutdown.clone()));
        Self { shared: Arc::new(Shared { door, router, places, limits, tls, house, metrics, shutdown }) }
    }

    /// Serves a listening socket until the drain begins. Sockets that are open then finish by themselves,
    /// or are cut off when it is over.
    pub async fn serve(self, listening: Listening) {
        let shared = &self.shared;
        loop {
            let accepted = tokio::select! {
                accepted = listening.accept() => accepted,
                () = shared.shutdown.begun() => return,
            };
            let accepted = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let peer = match &accepted {
                Accepted::Tcp(_, peer) => *peer,
                Accepted::Unix(_) => Peer::Unix,
            };
            let place = match shared.places.take(peer.ip()) {
                Ok(place) => place,
                Err(limit) => {
                    seat::count(&shared.metrics, limit);
                    continue;
                }
            };
            let reception = self.clone();
            let received = match (accepted, shared.tls.clone()) {
                (Accepted::Tcp(socket, _), Some(tls)) => {
                    Stage::next(reception.receive_encrypted(socket, tls, peer, place))
                }
                (Accepted::Tcp(socket, _), None) => {
                    let socket = SharedSocket::new(socket);
                    let tap = Some(socket.tap());
                    reception.receive_plain(socket, tap, peer, place)
                }
                (Accepted::Unix(socket), _) => reception.receive_plain(socket, None, peer, place),
            };
            shared.shutdown.spawn(received.run());
        }
    }

    async fn receive_encrypted<S>(self, socket: S, tls: TlsAcceptor, peer: Peer, place: SocketPlace) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let presence = Presence::new(&self.shared.limits);
        let watched = self.watch(socket, presence.clone(), place);
        // The time of a handshake and that of the first request's head are one.
        let handshake = tokio::select! {
            handshake = tls.accept(watched) => handshake,
            limit = presence.wasted() => {
                seat::count(&self.shared.metrics, limit);
                self.count_handshake("timeout");
                return Stage::Over;
            }
            () = self.shared.shutdown.over() => return Stage::Over,
        };
        match handshake {
            Ok(socket) => {
                self.count_handshake("ok");
                let version = if speaks_http2(&socket) { Version::Http2 } else { Version::Http1 };
                let arrival = Arrival { peer, encrypted: true, door: self.shared.door };
                self.converse(socket, None, arrival, presence, version)
            }
            Err(error) => {
                self.count_handshake("failed");
                tracing::debug!(%peer, %error, "TLS handshake failed");
                Stage::Over
            }
        }
    }

    fn receive_plain<S>(&self, socket: S, tap: Option<Tap>, peer: Peer, place: SocketPlace) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let presence = Presence::new(&self.shared.limits);
        let watched = self.watch(socket, presence.clone(), place);
        let arrival = Arrival { peer, encrypted: false, door: self.shared.door };
        self.converse(watched, tap, arrival, presence, Version::Unknown)
    }

    fn watch<S>(&self, socket: S, presence: Presence, place: SocketPlace) -> Watched<S> {
        let seat = Seat::new(place, &self.shared.metrics);
        Watched::new(socket, self.shared.limits.write_stall, presence, seat)
    }

    fn converse<S>(
        &self,
        socket: S,
        tap: Option<Tap>,
        arrival: Arrival,
        presence: Presence,
        version: Version,
    ) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = speak::Service::new(self.shared.router.clone(), arrival, presence, tap);
        self.shared.house.clone().serve(socket, service, version)
    }

    fn count_handshake(&self, outcome: &'static str) {
        self.shared.metrics.endpoint.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }
}

fn speaks_http2<S>(socket: &TlsStream<S>) -> bool {
    socket.get_ref().1.alpn_protocol() == Some(HTTP2)
}
