//! GraphQL over SSE, distinct connections mode: one operation, one event stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, stream};
use rand::Rng;
use tokio::time::{Instant, Sleep};

use super::accept::Accept;
use super::endpoint::{Admission, expired};
use super::refusal::refuse;
use super::{Endpoint, Transport, frame, parameters};
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request as GraphQLRequest;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{Delivery, SubscriptionId};
use crate::service::{Answer, Connection};

const LABEL: &str = "sse";
/// A stream that is silent for this long says something (PROTOCOLS S19).
const KEEP_ALIVE: Duration = Duration::from_secs(12);
/// A stream that has named no cursor for this long does so with its next keep-alive; with the
/// keep-alive's own time that makes the minute of S20.
const CURSOR_AGE: Duration = Duration::from_secs(48);
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
            let resumes = asks_to_resume(&head);
            match open(&endpoint, &head, body).await {
                Ok(response) => response,
                Err(error) if resumes && error.status() == 503 => shed(&endpoint, &error),
                Err(error) => refuse(&endpoint, &error),
            }
        }
        .boxed()
    }
}

/// Whether the client resumes by SSE's own means (PROTOCOLS S21).
fn asks_to_resume(head: &Parts) -> bool {
    let header = head.headers.get("last-event-id").is_some_and(|value| !value.is_empty());
    header || parameters::query_value(head, "lastEventId").is_some_and(|value| !value.is_empty())
}

/// For EventSource any status but 200 is final, so one that resumes is sent away by `retry:` (S22).
fn shed(endpoint: &Endpoint, error: &ClientError) -> Response {
    endpoint.count_refusal(error);
    let mut farewell = Vec::new();
    frame::sse_retry(&mut farewell, spread_retry_ms());
    event_stream(Body::from(farewell))
}

fn spread_retry_ms() -> u64 {
    RETRY_MS + rand::rng().random_range(0..RETRY_SPREAD_MS)
}

async fn open(endpoint: &Endpoint, head: &Parts, body: Body) -> Result<Response, ClientError> {
    let identity = endpoint.identify(head).await?;
    let request = parameters::read(endpoint, head, body).await?;
    let admission = endpoint.admit(LABEL)?;
    endpoint.ready().await?;
    admission.opened();
    if asks_to_resume(head) || parameters::asks_to_resume(&request) {
        endpoint.count_refusal(&ClientError::CursorUnsupported);
        return Ok(brief(&admission, |into| {
            frame::sse_errors(into, &[ClientError::CursorUnsupported.to_graphql()]);
        }));
    }
    Ok(execute(endpoint, admission, identity, &request).await)
}

async fn execute(
    endpoint: &Endpoint,
    mut admission: Admission,
    identity: Arc<Identity>,
    request: &GraphQLRequest,
) -> Response {
    // S3: an error before execution is a result like any other, not a status.
    let refused = |admission: &Admission, errors: &[GraphQLError]| {
        brief(admission, |into| frame::sse_errors(into, errors))
    };
    match endpoint.service().query(request, &identity).await {
        Some(Answer::Result(result)) => return brief(&admission, |into| frame::sse_whole(into, &result)), // S7
        Some(Answer::Refused(errors)) => return refused(&admission, &errors),
        None => {}
    }
    let permit = match endpoint.service().authorize(request, &identity).await {
        Ok(permit) => permit,
        Err(errors) => return refused(&admission, &errors),
    };
    // Taken before the subscription starts: what happens in between is in its mailbox, too.
    let cursor = endpoint.service().cursor();
    let mut connection = endpoint.service().connect(identity.clone());
    match connection.subscribe(permit) {
        Err(errors) => refused(&admission, &errors),
        Ok(subscription) => {
            admission.subscribed();
            let mut opening = opening();
            // Whoever came back with this cursor would miss the rows.
            if !connection.begins_with_rows(subscription) {
                frame::sse_cursor(&mut opening, &cursor);
            }
            let stream = EventStream {
                opening: Some(opening),
                connection,
                subscription,
                endpoint: endpoint.clone(),
                expired: expired(identity),
                turn: endpoint.shutdown().turn(),
                alarm: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
                admission,
                said: Instant::now(),
                named_cursor: Instant::now(),
                over: false,
            };
            event_stream(Body::from_stream(stream::unfold(stream, EventStream::step)))
        }
    }
}

/// What every stream starts with: a comment, so that there are bytes at once (S19), and `retry:` (S20).
fn opening() -> Vec<u8> {
    let mut opening = frame::SSE_COMMENT.to_vec();
    frame::sse_retry(&mut opening, RETRY_MS);
    opening
}

/// A stream that is over as soon as it has begun.
fn brief(admission: &Admission, write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut bytes = opening();
    write(&mut bytes);
    bytes.extend_from_slice(frame::SSE_COMPLETE);
    admission.wrote(bytes.len());
    event_stream(Body::from(bytes))
}

/// S2: always 200 and these headers; there is no `connection` header and no compression.
fn event_stream(body: Body) -> Response {
    let headers: HeaderMap = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
    .into_iter()
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .collect();
    (StatusCode::OK, headers, body).into_response()
}

/// A running stream. The HTTP connection asks for its bytes when it can write them, so nothing is
/// buffered here; when the client goes, it is dropped, and the subscription with it (S6).
struct EventStream {
    opening: Option<Vec<u8>>,
    connection: Connection,
    subscription: SubscriptionId,
    endpoint: Endpoint,
    admission: Admission,
    /// Ends when the token has expired.
    expired: BoxFuture<'static, ()>,
    /// Ends when a drain wants this stream to leave.
    turn: BoxFuture<'static, ()>,
    /// Rings now and then; whether it is time for a keep-alive is decided by `said`.
    alarm: Pin<Box<Sleep>>,
    /// When it last said anything.
    said: Instant,
    /// When it last named a cursor.
    named_cursor: Instant,
    over: bool,
}

/// Why a stream goes on.
enum Wake {
    Deliveries(Vec<Delivery>),
    Silence,
    Expired,
    Leave,
}

impl EventStream {
    /// The next bytes: as much as there is, in one write.
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.over {
            return None;
        }
        let bytes = match self.opening.take() {
            Some(opening) => opening,
            None => match self.wake().await {
                Wake::Deliveries(deliveries) => self.frames(&deliveries),
                Wake::Silence => self.keep_alive(),
                Wake::Expired => self.end_with(&ClientError::TokenExpired),
                Wake::Leave => self.leave(),
            },
        };
        self.said = Instant::now();
        self.admission.wrote(bytes.len());
        Some((Ok(bytes.into()), self))
    }

    async fn wake(&mut self) -> Wake {
        let mut deliveries = Vec::new();
        loop {
            tokio::select! {
                // An expired token must not get what is already waiting.
                biased;
                () = &mut self.expired => return Wake::Expired,
                () = self.connection.drain(&mut deliveries) => return Wake::Deliveries(deliveries),
                () = &mut self.turn => return Wake::Leave,
                () = &mut self.alarm => {
                    let due = self.said + KEEP_ALIVE;
                    let rang = Instant::now();
                    self.alarm.as_mut().reset(if due <= rang { rang + KEEP_ALIVE } else { due });
                    if due <= rang {
                        return Wake::Silence;
                    }
                }
            }
        }
    }

    fn frames(&mut self, deliveries: &[Delivery]) -> Vec<u8> {
        let extent = deliveries.iter().map(|delivery| match delivery {
            Delivery::Next { result, cursor, .. } | Delivery::Whole { result, cursor, .. } => {
                result.len() + 2 * cursor.len() + frame::SSE_OVERHEAD
            }
            Delivery::Begun { .. } => 0,
            Delivery::End { .. } => 512,
        });
        let mut bytes = Vec::with_capacity(extent.sum());
        for delivery in deliveries {
            match delivery {
                Delivery::Next { result, cursor, .. } => frame::sse_next(&mut bytes, result, cursor),
                Delivery::Whole { result, cursor, .. } => frame::sse_whole_at(&mut bytes, result, cursor),
                Delivery::Begun { .. } => {}
                Delivery::End { reason, cursor, .. } => {
                    let error = ClientError::from(reason.clone());
                    self.end(&mut bytes, &error, error.to_graphql_at(cursor));
                    return bytes;
                }
            }
        }
        self.named_cursor = Instant::now();
        bytes
    }

    /// A comment, or once a minute the cursor (S19, S20).
    fn keep_alive(&mut self) -> Vec<u8> {
        if self.named_cursor.elapsed() < CURSOR_AGE {
            return frame::SSE_COMMENT.to_vec();
        }
        let mut bytes = frame::SSE_COMMENT.to_vec();
        // If something waits, it brings its own cursor.
        if let Some(cursor) = self.connection.quiet_cursor() {
            frame::sse_cursor(&mut bytes, &cursor);
            self.named_cursor = Instant::now();
        }
        bytes
    }

    fn end_with(&mut self, error: &ClientError) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.end(&mut bytes, error, error.to_graphql());
        bytes
    }

    fn end(&mut self, bytes: &mut Vec<u8>, error: &ClientError, told: GraphQLError) {
        self.endpoint.count_refusal(error);
        frame::sse_errors(bytes, &[told]);
        bytes.extend_from_slice(frame::SSE_COMPLETE);
        self.connection.complete(self.subscription);
        self.over = true;
    }

    /// The farewell of a drain: when to come back, and no complete, because the operation is not.
    fn leave(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::sse_retry(&mut bytes, spread_retry_ms());
        self.over = true;
        bytes
    }
}
