//! HTTP on one socket.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Request, Response, Version as HttpVersion};
use bytes::BytesMut;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tower::ServiceExt;

use super::lasting::{Answer, Prospect, Slot};
use super::presence::{Presence, UnderWay};
use super::rewound::Rewound;
use super::seat::count;
use super::shared::Tap;
use super::stage::Stage;
use super::streams::{Offer, Streams};
use crate::access::arrival::Arrival;
use crate::config::ClientLimits;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::transport::gate::Gate;

/// Headers of one request; a browser sends about 20.
const HEADERS_MAX: usize = 100;
/// Streams of one HTTP/2 connection at a time; more wait at the client, or are refused.
const HTTP2_STREAMS_MAX: u32 = 256;
/// Streams that a peer may open and reset before we have looked at them ("rapid reset", CVE-2023-44487);
/// then the connection ends.
const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that we may have to reset for a peer's mistakes; then the connection ends.
const HTTP2_LOCAL_RESETS_MAX: usize = 256;
/// Bytes that a peer may send on one HTTP/2 stream before we have read any.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same on all streams of a connection together.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that one HTTP/2 stream may have waiting for the socket; then its body is asked for no more.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2 asks its peers whether they live as often as we ask WebSockets, and waits as long.
const HTTP2_PING: Duration = Duration::from_secs(12);
/// What a peer says first that speaks HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Time for a peer that is told to go.
const DISMISSAL: Duration = Duration::from_secs(2);

/// What all sockets of a door share: how each version of HTTP is spoken, and until when.
#[derive(Debug)]
pub(super) struct House {
    one: http1::Builder,
    two: http2::Builder<Streams>,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl House {
    pub(super) fn new(limits: &ClientLimits, metrics: Metrics, shutdown: Shutdown) -> Self {
        let mut one = http1::Builder::new();
        one.timer(TokioTimer::new())
            // Presence gives heads and pauses times of their own.
            .header_read_timeout(None)
            .max_headers(HEADERS_MAX)
            // For the answer to a WebSocket upgrade, which repeats the client's spelling.
            .preserve_header_case(true)
            .max_buf_size(limits.header_bytes);
        let mut two = http2::Builder::new(Streams::new(limits.write_stall, metrics.clone()));
        two.timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING)
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(HTTP2_LOCAL_RESETS_MAX)
            .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .enable_connect_protocol();
        Self { one, two, metrics, shutdown }
    }
}

/// Which version the peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Or an earlier one.
    Http1,
    Http2,
    /// What it says first tells (RFC 9113, section 3.3).
    Unknown,
}

/// A connection of either version.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no further request.
    fn dismiss(self: Pin<&mut Self>);
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Http1<S> {
    fn dismiss(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Http2<S> {
    fn dismiss(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

type Http1<S> = http1::UpgradeableConnection<TokioIo<Rewound<S>>, Service>;
type Http2<S> = http2::Connection<TokioIo<Rewound<S>>, Service, Streams>;

/// A socket whose answer lasts.
struct Handed<S> {
    socket: S,
    answer: Answer,
    /// What was read of further requests.
    ahead: Bytes,
    service: Service,
}

impl House {
    /// Answers the requests of a socket until either side has had enough.
    pub(super) fn serve<S>(self: Arc<Self>, socket: S, service: Service, version: Version) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match version {
            Version::Unknown => Stage::next(self.listen(socket, service)),
            Version::Http1 => Stage::next(self.answer(Rewound::new(Bytes::new(), socket), service)),
            Version::Http2 => Stage::next(self.answer_http2(Rewound::new(Bytes::new(), socket), service)),
        }
    }

    /// Finds out which version the peer speaks.
    async fn listen<S>(self: Arc<Self>, mut socket: S, service: Service) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut said = BytesMut::with_capacity(PREFACE.len());
        loop {
            tokio::select! {
                read = socket.read_buf(&mut said) => {
                    let begins = PREFACE.starts_with(&said);
                    if begins && said.len() == PREFACE.len() {
                        return Stage::next(self.answer_http2(Rewound::new(said.freeze(), socket), service));
                    }
                    match read {
                        Ok(read) if read > 0 && begins => {}
                        Ok(_) => return Stage::next(self.answer(Rewound::new(said.freeze(), socket), service)),
                        Err(error) => return service.failed(&error),
                    }
                }
                limit = service.presence.wasted() => {
                    count(&self.metrics, limit);
                    return Stage::Over;
                }
                () = self.shutdown.begun() => return Stage::Over,
            }
        }
    }

    async fn answer_http2<S>(self: Arc<Self>, socket: Rewound<S>, service: Service) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let known = service.clone();
        let mut connection = pin!(self.two.serve_connection(TokioIo::new(socket), service));
        match self.run(connection.as_mut(), &known).await {
            Ok(_) => Stage::Over,
            Err(error) => known.failed(&error),
        }
    }

    /// Answers requests until the connection is over or an answer lasts.
    async fn answer<S>(self: Arc<Self>, socket: Rewound<S>, service: Service) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let known = service.clone();
        let mut connection = self.one.serve_connection(TokioIo::new(socket), service).with_upgrades();
        let answer = match self.run(Pin::new(&mut connection), &known).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return Stage::Over,
            Err(error) => return known.failed(&error),
        };
        let Some(parts) = connection.into_parts() else { return Stage::Over };
        let (unread, socket) = parts.io.into_inner().into_parts();
        // hyper reads all that was read before it reads on.
        let ahead = if unread.is_empty() { parts.read_buf } else { [parts.read_buf, unread].concat().into() };
        self.last(Box::new(Handed { socket, answer, ahead, service: parts.service }))
    }

    /// Writes an answer that lasts, and goes on with the next request.
    fn last<S>(self: Arc<Self>, mut handed: Box<Handed<S>>) -> Stage
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        let over = Gate::new(async move { shutdown.over().await }.boxed());
        Stage::next(async move {
            let Handed { socket, answer, ahead, .. } = &mut *handed;
            let written = tokio::select! {
                written = answer.write(socket, std::mem::take(ahead), &self.shutdown) => written,
                () = over => return Stage::Over,
            };
            match written {
                Ok(None) => Stage::Over,
                Err(error) => handed.service.failed(&error),
                Ok(Some(next_request)) => {
                    let Handed { socket, service, .. } = *handed;
                    Stage::next(self.answer(Rewound::new(next_request, socket), service))
                }
            }
        })
    }

    /// Runs a connection to its end, or to an answer in the slot.
    async fn run<C: Connection>(
        &self,
        mut connection: Pin<&mut C>,
        Service { slot, presence, .. }: &Service,
    ) -> hyper::Result<Option<Answer>> {
        let mut dismissed = false;
        let mut leaving = false;
        loop {
            let served = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Ready(served) => Poll::Ready(served.map(|()| None)),
                Poll::Pending => slot.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(Some(answer)))),
            });
            tokio::select! {
                served = served => return served,
                limit = presence.wasted() => {
                    if dismissed {
                        return Ok(None);
                    }
                    count(&self.metrics, limit);
                    dismissed = true;
                }
                // No further request; those that run go on until their turn to leave.
                () = self.shutdown.begun(), if !leaving => leaving = true,
                () = self.shutdown.over() => return Ok(None),
            }
            connection.as_mut().dismiss();
            if dismissed {
                presence.dismiss(DISMISSAL);
            }
        }
    }
}

/// From a request of the socket to the routes.
#[derive(Clone)]
pub(super) struct Service {
    router: Router,
    arrival: Arrival,
    presence: Presence,
    slot: Slot,
    /// Another way to write to the socket, if it has one.
    tap: Option<Tap>,
}

impl Service {
    pub(super) fn new(router: Router, arrival: Arrival, presence: Presence, tap: Option<Tap>) -> Self {
        Self { router, arrival, presence, slot: Slot::default(), tap }
    }

    /// The socket has ended badly.
    fn failed(&self, error: &dyn std::error::Error) -> Stage {
        tracing::debug!(peer = %self.arrival.peer, %error, "socket closed early");
        Stage::Over
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Kept>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = Arc::new(self.presence.begin(request.version() >= HttpVersion::HTTP_2));
        request.extensions_mut().insert(self.arrival);
        // A WebSocket over HTTP/2 goes on after its answer.
        request.extensions_mut().insert(under_way.clone());
        let last = may_disagree_about_its_length(&request);
        let prospect = Prospect::of(&request);
        if let (Some(tap), Some(_)) = (&self.tap, &prospect) {
            request.extensions_mut().insert(tap.clone());
        }
        let slot = self.slot.clone();
        let answering = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move {
            let Ok(mut response) = answering.await;
            if last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if let Some(answer) = prospect.and_then(|prospect| prospect.take(&response, &under_way)) {
                slot.put(answer);
                // Whoever runs the connection finds it there, and asks no more here.
                return std::future::pending().await;
            }
            let offer = Offer::of_this_stream();
            Ok(response.map(|body| Kept { body, offer, _under_way: under_way }))
        })
    }
}

/// Whether a proxy may have thought that this request ends elsewhere. What follows it on the socket may be
/// smuggled in, and is not read. (hyper hides whether there was a content-length, too: RFC 9112, section 6.1.)
fn may_disagree_about_its_length(request: &Request<Incoming>) -> bool {
    request.version() <= HttpVersion::HTTP_11 && request.headers().contains_key(TRANSFER_ENCODING)
}

/// The body of an answer, which keeps its socket and tells whether its stream gets on.
#[derive(Debug)]
pub(super) struct Kept {
    body: Body,
    offer: Option<Offer>,
    _under_way: Arc<UnderWay>,
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(offer) = &self.offer {
            offer.taken();
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(offer), Poll::Ready(Some(Ok(_)))) = (&self.offer, &polled) {
            offer.made();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
