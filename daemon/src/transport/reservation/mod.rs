//! GraphQL over SSE, single connection mode: a place that is reserved, one stream for it, and operations that
//! are sent by other requests, to whichever node.
//!
//! # Layout
//!
//! `request` is what all of these requests have in common, `operation` stores one, and `stream` serves them all:
//! those that are `running`, from their `place` on, and the `work` that it waits for meanwhile.

use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::accept::Accept;
use super::parameters::query_value;
use super::refusal::refuse;
use super::{Endpoint, Transport, sse};
use crate::error::ClientError;
use crate::store::owner::Owner;
use request::{Reserved, TOKEN_HEADER, TOKEN_PARAMETER};

mod place;

mod request;

mod operation;

mod running;

mod work;

mod stream;

/// What reservations are called in metrics and logs.
const LABEL: &str = "sse-single";
/// The resource's methods (PROTOCOLS S17).
const METHODS: &str = "GET, POST, PUT, DELETE";

/// Requests of single connection mode.
#[derive(Debug)]
pub struct Reservations;

impl Transport for Reservations {
    fn admits(&self, head: &Parts) -> bool {
        matches!(head.method, Method::PUT | Method::DELETE)
            || head.headers.contains_key(TOKEN_HEADER)
            || query_value(head, TOKEN_PARAMETER).is_some()
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move {
            let (head, body) = request.into_parts();
            let resumes = sse::last_event_id(&head).is_some();
            match respond(&endpoint, &head, body).await {
                Ok(response) => response,
                // S22
                Err(error) if resumes && opens_stream(&head) && sse::may_come_back(&error) => {
                    sse::shed(&endpoint, &error)
                }
                Err(error) => refuse(&endpoint, &error),
            }
        }
        .boxed()
    }
}

async fn respond(endpoint: &Endpoint, head: &Parts, body: Body) -> Result<Response, ClientError> {
    match head.method {
        Method::PUT => reserve(endpoint, head).await,
        Method::DELETE => operation::delete(endpoint, head).await,
        Method::GET | Method::POST if opens_stream(head) && !body.is_end_stream() => {
            Err(ClientError::Malformed(
                "A request that opens the stream of a reservation carries no operation: send operations with an \
                 `accept` that does not name `text/event-stream`."
                    .into(),
            ))
        }
        Method::GET | Method::POST if opens_stream(head) => stream::open(endpoint, head).await,
        Method::GET | Method::POST => operation::store(endpoint, head, body).await,
        _ => Err(ClientError::MethodNotAllowed(METHODS)),
    }
}

/// S11
fn opens_stream(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::POST)
        && Accept::of(&head.headers).named("text", "event-stream") > 0
}

/// S8: always a new one, whatever token came along.
async fn reserve(endpoint: &Endpoint, head: &Parts) -> Result<Response, ClientError> {
    endpoint.arrive(head)?;
    let identity = endpoint.identify(head).await?;
    let reserved = endpoint.reservations().reserve(Owner::of(&identity)).await;
    let token = reserved.map_err(|error| Reserved::refusal(endpoint, error))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::CREATED, headers, token.expose().to_owned()).into_response())
}
