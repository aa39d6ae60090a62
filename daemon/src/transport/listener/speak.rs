//! HTTP on one socket.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Request, Response, Version};
use futures_util::future::BoxFuture;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;

use super::presence::{Presence, UnderWay};
use super::streams::{Offer, Streams};
use crate::access::arrival::Arrival;
use crate::config::ClientLimits;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

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
/// Time for a peer that is told to go.
const DISMISSAL: Duration = Duration::from_secs(2);

pub(super) fn builder(limits: &ClientLimits, metrics: &Metrics) -> Builder<Streams> {
    let mut builder = Builder::new(Streams::new(limits.write_stall, metrics.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        // Presence gives heads and pauses times of their own.
        .header_read_timeout(None)
        .max_headers(HEADERS_MAX)
        // For the answer to a WebSocket upgrade, which repeats the client's spelling.
        .preserve_header_case(true)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
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
    builder
}

/// Answers the requests of a socket until either side has had enough. A limit that ends it is counted.
pub(super) async fn run<S>(
    socket: S,
    service: Service,
    http: &Builder<Streams>,
    shutdown: &Shutdown,
    count: impl Fn(&'static str),
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let presence = service.presence.clone();
    let mut connection = std::pin::pin!(http.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let mut dismissed = false;
    let mut leaving = false;
    loop {
        tokio::select! {
            served = connection.as_mut() => return served,
            limit = presence.wasted() => {
                if dismissed {
                    return Ok(());
                }
                count(limit);
                dismissed = true;
            }
            // No further request; those that run go on until their turn to leave.
            () = shutdown.begun(), if !leaving => leaving = true,
            () = shutdown.over() => return Ok(()),
        }
        connection.as_mut().graceful_shutdown();
        if dismissed {
            presence.dismiss(DISMISSAL);
        }
    }
}

/// From a request of the socket to the routes.
#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) router: Router,
    pub(super) arrival: Arrival,
    pub(super) presence: Presence,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Kept>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = Arc::new(self.presence.begin(request.version() >= Version::HTTP_2));
        request.extensions_mut().insert(self.arrival);
        // A WebSocket over HTTP/2 goes on after its answer.
        request.extensions_mut().insert(under_way.clone());
        let last = may_disagree_about_its_length(&request);
        let answering = self.router.clone().oneshot(request.map(Body::new));
        Box::pin(async move {
            let Ok(mut response) = answering.await;
            if last {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let offer = Offer::of_this_stream();
            Ok(response.map(|body| Kept { body, offer, _under_way: under_way }))
        })
    }
}

/// Whether a proxy may have thought that this request ends elsewhere. What follows it on the socket may be
/// smuggled in, and is not read. (hyper hides whether there was a content-length, too: RFC 9112, section 6.1.)
fn may_disagree_about_its_length(request: &Request<Incoming>) -> bool {
    request.version() <= Version::HTTP_11 && request.headers().contains_key(TRANSFER_ENCODING)
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
