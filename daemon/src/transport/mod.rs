//! How clients reach the service: one address, several transports.
//!
//! A [`Transport`] says which requests are its own and answers them; the first of [`TRANSPORTS`] that
//! admits a request gets it. To add a transport is to add a file and a line there.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::http::request::Parts;
use axum::middleware;
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::future::BoxFuture;

use self::headers::Protection;
use crate::metrics::Metrics;

pub mod accept;

pub mod origin;

pub mod address;

pub mod endpoint;

pub mod admission;

pub mod refusal;

pub mod json;

pub mod parameters;

pub mod frame;

pub mod scratch;

pub mod gate;

pub mod interruptions;

pub mod websocket;

pub mod session;

pub mod machine;

pub mod operations;

pub mod transport_ws;

pub mod legacy_ws;

pub mod reservation;

pub mod stream;

pub mod sse;

pub mod multipart;

pub mod graphiql;

pub mod http;

pub mod soundness;

pub mod headers;

pub mod tls;

pub mod listener;

pub mod stall;

#[cfg(test)]
mod tests;

pub use endpoint::Endpoint;

/// One way to carry GraphQL over HTTP.
pub trait Transport: Sync {
    /// Whether a request with this head is for this transport.
    fn admits(&self, head: &Parts) -> bool;

    /// Answers such a request.
    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response>;
}

/// In the order of dispatch; the last one admits everything.
const TRANSPORTS: &[&dyn Transport] = &[
    &websocket::WebSockets,
    &reservation::Reservations,
    &multipart::Multiparts,
    &sse::EventStreams,
    &graphiql::GraphiQl,
    &http::Plain,
];

/// The routes of the endpoint.
pub fn router(endpoint: Endpoint) -> Router {
    Router::new()
        .route("/graphql", any(dispatch))
        .route("/graphql/stream", any(dispatch))
        .route("/graphql/ui/{name}", get(graphiql::asset))
        .layer(middleware::from_fn_with_state(endpoint.clone(), origin::share))
        .with_state(endpoint)
}

/// Routes of whatever kind, as they may face the internet: nothing ambiguous comes in, and no answer goes out
/// without the headers that keep browsers from making something else of it.
pub fn protected(routes: Router, metrics: &Metrics, hsts: Duration) -> Router {
    let protect = middleware::from_fn_with_state(Protection::new(hsts.as_secs()), headers::protect);
    routes.layer(middleware::from_fn_with_state(metrics.clone(), soundness::demand)).layer(protect)
}

async fn dispatch(State(endpoint): State<Endpoint>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let transport =
        TRANSPORTS.iter().copied().find(|transport| transport.admits(&head)).unwrap_or(&http::Plain);
    transport.answer(endpoint, Request::from_parts(head, body)).await
}
