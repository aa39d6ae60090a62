//! The listener: accepts sockets and speaks HTTP/1.1 or HTTP/2 on each.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use super::stall::Watched;
use crate::access::limits::Places;
use crate::config::ClientLimits;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;

/// Streams of one HTTP/2 connection at a time; more wait at the client.
const HTTP2_STREAMS_MAX: u32 = 256;
/// Bytes that one HTTP/2 stream may have waiting for the socket; then its body is asked for no more.
const HTTP2_SEND_BUFFER_BYTES: usize = 64 << 10;
/// HTTP/2 asks its peers whether they live as often as we ask WebSockets, and waits as long.
const HTTP2_PING: Duration = Duration::from_secs(12);
/// Pause after the system has refused to accept, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves routes on a listener until the drain begins. Sockets that are open then finish by themselves,
/// or are cut off when it is over.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ClientLimits,
    metrics: Metrics,
    shutdown: Shutdown,
) {
    let places = Places::new(limits.sockets);
    let http = builder(&limits);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.begun() => return,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take() else {
            metrics.endpoint.listener_limits.get_or_create(&[("limit", "sockets")]).inc();
            continue;
        };
        // Results are small and must not wait for an acknowledgement. The socket works without, too.
        let _ = socket.set_nodelay(true);
        let watched = Watched::new(socket, limits.request_time, limits.write_stall, metrics.clone());
        let (http, router, metrics, leaving) =
            (http.clone(), router.clone(), metrics.clone(), shutdown.clone());
        shutdown.spawn(async move {
            metrics.endpoint.sockets.inc();
            converse(watched, peer, &http, router, leaving).await;
            metrics.endpoint.sockets.dec();
            drop(place);
        });
    }
}

fn builder(limits: &ClientLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_time)
        // For the answer to a WebSocket upgrade, which repeats the client's spelling.
        .preserve_header_case(true)
        .max_buf_size(limits.header_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .enable_connect_protocol();
    builder
}

async fn converse(
    socket: Watched<TcpStream>,
    peer: SocketAddr,
    http: &Builder<TokioExecutor>,
    router: Router,
    shutdown: Shutdown,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut connection = std::pin::pin!(http.serve_connection_with_upgrades(TokioIo::new(socket), service));
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = shutdown.begun() => {
            // No further request; those that run go on until their turn to leave.
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                served = connection.as_mut() => served,
                () = shutdown.over() => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "socket closed early");
    }
}
