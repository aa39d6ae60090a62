//! What operators ask for: health, readiness and metrics.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::metrics::Metrics;
use crate::service::Service;
use crate::shutdown::Shutdown;

/// The state behind the operators' routes.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The service whose readiness is told.
    pub service: Service,
    /// Tells when the process is about to leave.
    pub shutdown: Shutdown,
    /// Where the lag is noted before it is told.
    pub metrics: Metrics,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// Whether metrics are told to other machines.
    pub metrics_remote: bool,
}

/// The operators' routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

/// Whether this process should get new clients.
async fn ready(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let reason = if admin.shutdown.has_begun() {
        Some("the process is shutting down".to_owned())
    } else {
        admin.service.unready()
    };
    match reason {
        None => "ready\n".into_response(),
        // The reason may name hosts and roles of the database.
        Some(reason) => {
            let told = if local(peer, &headers) { reason.as_str() } else { "not ready" };
            (StatusCode::SERVICE_UNAVAILABLE, format!("{told}\n")).into_response()
        }
    }
}

async fn metrics(
    State(admin): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    if !admin.metrics_remote && !local(peer, &headers) {
        let hint = "metrics are told to this machine only; set metrics_remote = true to change that\n";
        return (StatusCode::FORBIDDEN, hint).into_response();
    }
    if let Some(lag) = admin.service.lag() {
        admin.metrics.source_lag.set(lag.as_secs_f64());
    }
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => {
            let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, content_type)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "metrics cannot be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Whether a request comes from this machine, and not through a proxy on it.
fn local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let proxied = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    peer.ip().to_canonical().is_loopback() && !proxied.iter().any(|name| headers.contains_key(*name))
}
