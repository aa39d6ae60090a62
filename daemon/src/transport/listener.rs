//! The listener: accepts sockets and speaks HTTP/1.1 or HTTP/2 on each, over TLS if there is a certificate.
//!
//! # Layout
//!
//! `bind` makes addresses into listening sockets, `seat` counts those that were accepted, `speak` is the
//! HTTP on one of them, `streams` runs those of HTTP/2, and `presence` tells when it is of no use any more.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::BoxFuture;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

mod bind;

mod seat;

mod presence;

mod streams;

mod speak;

pub use bind::{Accepted, BindError, Listening, SocketFile};
pub use presence::{Presence, UnderWay};
pub use seat::Seat;
use streams::Streams;

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
    http: Builder<Streams>,
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
        let http = speak::builder(&limits, &metrics);
        Self { shared: Arc::new(Shared { door, router, places, limits, tls, http, metrics, shutdown }) }
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
            // Each in a box of its own size: whoever comes without TLS does not pay for its room.
            let reception = self.clone();
            let received: BoxFuture<'static, ()> = match (accepted, shared.tls.clone()) {
                (Accepted::Tcp(socket, _), Some(tls)) => {
                    Box::pin(reception.receive_encrypted(socket, tls, peer, place))
                }
                (Accepted::Tcp(socket, _), None) => Box::pin(reception.receive_plain(socket, peer, place)),
                (Accepted::Unix(socket), _) => Box::pin(reception.receive_plain(socket, peer, place)),
            };
            shared.shutdown.spawn(received);
        }
    }

    async fn receive_encrypted<S>(self, socket: S, tls: TlsAcceptor, peer: Peer, place: SocketPlace)
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
                return;
            }
            () = self.shared.shutdown.over() => return,
        };
        match handshake {
            Ok(socket) => {
                self.count_handshake("ok");
                let http = self.shared.http.clone();
                let http = if speaks_http2(&socket) { http.http2_only() } else { http.http1_only() };
                self.converse(socket, peer, true, &presence, &http).await;
            }
            Err(error) => {
                self.count_handshake("failed");
                tracing::debug!(%peer, %error, "TLS handshake failed");
            }
        }
    }

    async fn receive_plain<S>(self, socket: S, peer: Peer, place: SocketPlace)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let presence = Presence::new(&self.shared.limits);
        let watched = self.watch(socket, presence.clone(), place);
        self.converse(watched, peer, false, &presence, &self.shared.http).await;
    }

    fn watch<S>(&self, socket: S, presence: Presence, place: SocketPlace) -> Watched<S> {
        let seat = Seat::new(place, &self.shared.metrics);
        Watched::new(socket, self.shared.limits.write_stall, presence, seat)
    }

    async fn converse<S>(
        &self,
        socket: S,
        peer: Peer,
        encrypted: bool,
        presence: &Presence,
        http: &Builder<Streams>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = &self.shared;
        let arrival = Arrival { peer, encrypted, door: shared.door };
        let service = speak::Service { router: shared.router.clone(), arrival, presence: presence.clone() };
        let counted = |limit| seat::count(&shared.metrics, limit);
        if let Err(error) = speak::run(socket, service, http, &shared.shutdown, counted).await {
            tracing::debug!(%peer, %error, "socket closed early");
        }
    }

    fn count_handshake(&self, outcome: &'static str) {
        self.shared.metrics.endpoint.handshakes.get_or_create(&[("outcome", outcome)]).inc();
    }
}

fn speaks_http2<S>(socket: &TlsStream<S>) -> bool {
    socket.get_ref().1.alpn_protocol() == Some(HTTP2)
}
