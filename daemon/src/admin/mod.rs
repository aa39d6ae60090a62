//! What operators ask for: health, readiness and metrics.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use prometheus_client::registry::Registry;

use crate::access::arrival::{Arrival, Door};
use crate::access::revocation::Revocations;
use crate::config::Secret;
use crate::metrics::Metrics;
use crate::service::Service;
use crate::shutdown::Shutdown;

mod guard;

/// The state behind the operators' routes.
#[derive(Debug, Clone)]
pub struct Admin {
    /// The service whose readiness is told.
    pub service: Service,
    /// Who has to leave, which has to be known before anybody comes in.
    pub revocations: Revocations,
    /// Tells when the process is about to leave.
    pub shutdown: Shutdown,
    /// Where the lag is noted before it is told.
    pub metrics: Metrics,
    /// All metrics.
    pub registry: Arc<Registry>,
    /// What operators prove to be operators with. Without it they have to be on this machine.
    pub token: Option<Secret>,
}

/// What anybody may ask.
pub fn public() -> Router {
    Router::new().route("/healthz", get(async || "ok\n"))
}

/// The operators' routes, and what anybody may ask. Whatever is added below `/admin` is for operators, too.
pub fn router(admin: Admin) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/admin", any(StatusCode::NOT_FOUND))
        .route("/admin/{*path}", any(StatusCode::NOT_FOUND))
        .layer(middleware::from_fn_with_state(admin.clone(), guard::operators));
    Router::new().route("/readyz", get(ready)).merge(guarded).with_state(admin).merge(public())
}

/// Whether this process should get new clients. At the operators' own address anybody may ask: what checks
/// health for a load balancer knows no token.
async fn ready(State(admin): State<Admin>, request: Request<Body>) -> Response {
    let examined = admin.examine(&request);
    let door = request.extensions().get::<Arrival>().map(|arrival| arrival.door);
    if let (Err(refused), false) = (examined, door == Some(Door::Operators)) {
        return guard::refuse(&admin, refused);
    }
    let reason = if admin.shutdown.has_begun() {
        Some("the process is shutting down".to_owned())
    } else {
        admin.service.unready().or_else(|| admin.revocations.unready().map(str::to_owned))
    };
    match reason {
        None => "ready\n".into_response(),
        // The reason may name hosts and roles of the database.
        Some(reason) => {
            let told = if examined.is_ok() { reason.as_str() } else { "not ready" };
            (StatusCode::SERVICE_UNAVAILABLE, format!("{told}\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
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
