//! GraphQL over SSE, distinct connections mode: one operation, one event stream.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rand::Rng;

use super::accept::Accept;
use super::refusal::refuse;
use super::stream::{self, Format};
use super::{Endpoint, Transport, frame, parameters};
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;

/// What a stream of events is called.
pub const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
/// Milliseconds after which a client comes back by itself.
const RETRY_MS: u64 = 2_000;
/// Milliseconds over which clients are asked to spread their return after a drain or when shed.
const RETRY_SPREAD_MS: u64 = 8_000;

/// Requests whose `Accept` names `text/event-stream`.
#[derive(Debug)]
pub struct EventStreams;

impl Transport for EventStreams {
    fn admits(&self, head: &Parts) -> bool {
        Accept::of(&head.headers).named("text", "event-stream") > 0
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move {
            let (head, body) = request.into_parts();
            let last_event_id = last_event_id(&head);
            let resumes = last_event_id.is_some();
            match stream::open(&endpoint, &head, body, Sse::of(&head), last_event_id).await {
                Ok(response) => response,
                Err(error) if resumes && may_come_back(&error) => shed(&endpoint, &error),
                Err(error) => refuse(&endpoint, &error),
            }
        }
        .boxed()
    }
}

/// Where the client resumes by SSE's own means (PROTOCOLS S21): the header that browsers send by themselves
/// counts before the parameter, which is older then.
pub fn last_event_id(head: &Parts) -> Option<String> {
    // A header that is no text is no cursor either, and has to be refused as such.
    let header = head.headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?").to_owned());
    let named = |id: &String| !id.trim_ascii().is_empty();
    header.filter(named).or_else(|| parameters::query_value(head, "lastEventId").filter(named))
}

/// Whether what is refused now may be had later.
pub fn may_come_back(error: &ClientError) -> bool {
    matches!(error.status(), 429 | 503)
}

/// For EventSource any status but 200 is final, so one that resumes is sent away by `retry:` (S22).
pub fn shed(endpoint: &Endpoint, error: &ClientError) -> Response {
    endpoint.count_refusal(error);
    let mut farewell = Vec::new();
    let wait_ms = error.retry_after_s().unwrap_or_default().saturating_mul(1_000);
    frame::sse_retry(&mut farewell, wait_ms.max(RETRY_MS) + rand::rng().random_range(0..RETRY_SPREAD_MS));
    stream::respond(MEDIA_TYPE, Body::from(farewell))
}

/// Some time after which a client should come back: not all at once.
fn spread_retry_ms() -> u64 {
    RETRY_MS + rand::rng().random_range(0..RETRY_SPREAD_MS)
}

/// A stream as server-sent events.
#[derive(Debug, Clone, Copy)]
pub struct Sse {
    /// Whether the client wants to see signs of life as events of their own (S23).
    named: bool,
}

impl Sse {
    /// As a request wants it.
    pub fn of(head: &Parts) -> Self {
        Self { named: parameters::query_value(head, "events").is_some_and(|events| events == "named") }
    }
}

impl Format for Sse {
    const LABEL: &'static str = "sse";
    const OVERHEAD: usize = 64;

    fn media_type(&self) -> HeaderValue {
        MEDIA_TYPE
    }

    /// A comment, so that there are bytes at once (S19), and `retry:` (S20).
    fn opening(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(frame::SSE_COMMENT);
        frame::sse_retry(into, RETRY_MS);
        if self.named {
            frame::sse_sign_of_life(into, "test", Timestamp::now());
        }
    }

    fn live(&self, into: &mut Vec<u8>, cursor: &str) {
        frame::sse_cursor(into, cursor);
    }

    fn result(&self, into: &mut Vec<u8>, result: &[u8], cursor: &str) {
        frame::sse_next(into, result, cursor);
    }

    fn whole(&self, into: &mut Vec<u8>, result: &[u8], cursor: &str) {
        frame::sse_whole_at(into, result, cursor);
    }

    fn refused(&self, into: &mut Vec<u8>, errors: &[GraphQLError]) {
        frame::sse_errors(into, errors); // S3
    }

    fn ended(&self, into: &mut Vec<u8>, error: GraphQLError) {
        frame::sse_errors(into, &[error]);
    }

    fn complete(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(frame::SSE_COMPLETE); // S5
    }

    fn keep_alive(&self, into: &mut Vec<u8>) {
        if self.named {
            frame::sse_sign_of_life(into, "heartbeat", Timestamp::now());
        } else {
            into.extend_from_slice(frame::SSE_COMMENT); // S19
        }
    }

    fn position(&self, into: &mut Vec<u8>, cursor: &str) {
        frame::sse_cursor(into, cursor); // S20
    }

    /// When to come back, and no complete.
    fn leave(&self, into: &mut Vec<u8>) {
        frame::sse_retry(into, spread_retry_ms());
    }
}
