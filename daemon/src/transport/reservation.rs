//! Single connection mode: reservations by PUT, operations with a token. Refused for now, in words.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::parameters::query_value;
use super::refusal::refuse;
use super::{Endpoint, Transport};
use crate::error::ClientError;

/// Where a client names its reservation (PROTOCOLS S9), besides `?token=`.
const TOKEN_HEADER: &str = "x-graphql-event-stream-token";

/// Requests of single connection mode.
#[derive(Debug)]
pub struct Reservations;

impl Transport for Reservations {
    fn admits(&self, head: &Parts) -> bool {
        matches!(head.method, Method::PUT | Method::DELETE)
            || head.headers.contains_key(TOKEN_HEADER)
            || query_value(head, "token").is_some()
    }

    fn answer(&self, endpoint: Endpoint, _request: Request<Body>) -> BoxFuture<'static, Response> {
        async move { refuse(&endpoint, &ClientError::SingleConnectionUnsupported) }.boxed()
    }
}
