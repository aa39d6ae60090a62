//! One operation, one HTTP response that lasts as long: what all formats of such a stream share.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use futures_util::{FutureExt, StreamExt, stream};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::admission::Admission;
use super::interruptions::{Interruption, Interruptions};
use super::listener::{Lasting, Tap};
use super::scratch::Scratch;
use super::{Endpoint, parameters};
use crate::error::ClientError;
use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request as GraphQLRequest;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{self, Delivery, SubscriptionId};
use crate::hub::outlet::Outlet;
use crate::service::{Answer, Connection};

/// A stream that has named no cursor for this long does so with its next keep-alive; with the
/// keep-alive's own time that makes the minute of S20.
pub const CURSOR_AGE: Duration = Duration::from_secs(48);

/// The bytes of everything that a stream says. Each call appends something whole.
pub trait Format: Copy + std::fmt::Debug + Send + Sync + 'static {
    /// The transport's name in metrics and logs.
    const LABEL: &'static str;

    /// Bytes that a frame adds to its result and twice its cursor, at most.
    const OVERHEAD: usize;

    /// The media type of the response.
    fn media_type(&self) -> HeaderValue;

    /// What every stream starts with.
    fn opening(&self, into: &mut Vec<u8>);

    /// The subscription is live, and stands here.
    fn live(&self, into: &mut Vec<u8>, cursor: &str);

    /// An open result at its cursor.
    fn result(&self, into: &mut Vec<u8>, result: &[u8], cursor: &str);

    /// A complete result, which names its cursor itself if there is one.
    fn whole(&self, into: &mut Vec<u8>, result: &[u8], cursor: &str);

    /// The document was refused.
    fn refused(&self, into: &mut Vec<u8>, errors: &[GraphQLError]);

    /// The daemon ends the subscription.
    fn ended(&self, into: &mut Vec<u8>, error: GraphQLError);

    /// The operation is complete: nothing follows.
    fn complete(&self, into: &mut Vec<u8>);

    /// What keeps a quiet stream open.
    fn keep_alive(&self, into: &mut Vec<u8>);

    /// Where a quiet stream stands.
    fn position(&self, into: &mut Vec<u8>, cursor: &str);

    /// The farewell of a drain: nothing follows, though the operation is not complete.
    fn leave(&self, into: &mut Vec<u8>);
}

/// The way of results into a socket that is lent.
#[derive(Debug)]
struct StreamOutlet<F> {
    format: F,
    tap: Tap,
    written: Counter,
}

impl<F: Format> Outlet for StreamOutlet<F> {
    fn write(&self, results: &[Delivery]) -> Vec<u8> {
        let mut scratch = Scratch::default();
        let bytes = scratch.bytes();
        bytes.reserve(extent::<F>(results));
        for delivery in results {
            if let Delivery::Next { result, cursor, .. } = delivery {
                self.format.result(bytes, result, cursor);
            }
        }
        self.written.inc_by(scratch.len() as u64);
        self.tap.write(scratch.as_chunk()).to_vec()
    }
}

/// Runs the operation of a request, after the event that the client names by the format's own means.
///
/// # Errors
/// If there is no stream to be had: an answer with a status, before anything was said.
pub async fn open<F: Format>(
    endpoint: &Endpoint,
    head: &Parts,
    body: Body,
    format: F,
    last_event_id: Option<String>,
) -> Result<Response, ClientError> {
    let address = endpoint.arrive(head)?;
    let identity = endpoint.identify(head).await?;
    let mut request = parameters::read(endpoint, head, body).await?;
    if let Some(cursor) = last_event_id {
        request.resume_after(cursor);
    }
    let mut admission = endpoint.admit(F::LABEL)?;
    endpoint.ready().await?;
    admission.enter(&identity, &address)?;
    admission.operation()?;
    let tap = head.extensions.get::<Tap>().cloned();
    Ok(execute(endpoint, admission, identity, &request, format, tap).await)
}

async fn execute<F: Format>(
    endpoint: &Endpoint,
    mut admission: Admission,
    identity: Arc<Identity>,
    request: &GraphQLRequest,
    format: F,
    tap: Option<Tap>,
) -> Response {
    // S3: an error before execution is a result like any other, not a status.
    let refused = |admission: &Admission, errors: &[GraphQLError]| {
        brief(&format, admission, |into| format.refused(into, errors))
    };
    match endpoint.service().query(request, &identity).await {
        // S7
        Some(Answer::Result(result)) => {
            return brief(&format, &admission, |into| format.whole(into, &result, ""));
        }
        Some(Answer::Refused(errors)) => return refused(&admission, &errors),
        None => {}
    }
    let permit = match endpoint.service().authorize(request, &identity).await {
        Ok(permit) => permit,
        Err(errors) => return refused(&admission, &errors),
    };
    // Taken before the subscription starts: what happens in between is in its mailbox, too.
    let cursor = permit.after().unwrap_or_else(|| endpoint.service().cursor());
    let document = permit.document();
    let mut connection = admission.connect(identity.clone());
    match connection.subscribe(permit) {
        Err(errors) => refused(&admission, &errors),
        Ok(subscription) => {
            admission.subscribed(subscription, document);
            let mut opening = Vec::new();
            format.opening(&mut opening);
            // Whoever came back with a cursor from before the rows would miss them.
            let begins = connection.begins_with_rows(subscription);
            format.live(&mut opening, if begins { "" } else { &cursor });
            let media_type = format.media_type();
            if let Some(tap) = tap {
                let written = admission.written().clone();
                connection.set_outlet(Arc::new(StreamOutlet { format, tap, written }));
            }
            let stream = OperationStream {
                format,
                opening: Some(opening),
                connection,
                subscription,
                endpoint: endpoint.clone(),
                interruptions: Interruptions::new(admission.over(identity), endpoint.shutdown().turn()),
                admission,
                named_cursor: Instant::now(),
                over: false,
            };
            respond_lasting(media_type, stream)
        }
    }
}

/// Bytes that deliveries take, more or less.
fn extent<F: Format>(deliveries: &[Delivery]) -> usize {
    let extent = deliveries.iter().map(|delivery| match delivery {
        Delivery::Next { result, cursor, .. } | Delivery::Whole { result, cursor, .. } => {
            result.len() + 2 * cursor.len() + F::OVERHEAD
        }
        Delivery::Begun { .. } => 0,
        Delivery::End { .. } => 512,
    });
    extent.sum()
}

/// A stream that is over as soon as it has begun.
fn brief<F: Format>(format: &F, admission: &Admission, write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut bytes = Vec::new();
    format.opening(&mut bytes);
    write(&mut bytes);
    format.complete(&mut bytes);
    admission.wrote(bytes.len());
    respond(format.media_type(), Body::from(bytes))
}

/// S2: always 200 and these headers; there is no `connection` header and no compression.
pub fn respond(media_type: HeaderValue, body: Body) -> Response {
    head(media_type).map(|()| body)
}

/// Something that says one thing after another for as long as a response lasts.
pub trait Steps: Send + 'static {
    /// The next bytes: as much as there is, in one write. False if it is over.
    fn step(&mut self, into: &mut Scratch) -> impl Future<Output = bool> + Send;
}

/// The same for a body that lasts.
pub fn respond_lasting(media_type: HeaderValue, steps: impl Steps) -> Response {
    // The box keeps it from being moved with every step.
    let flow = stream::unfold(Box::new(steps), |mut steps| async {
        let mut bytes = Scratch::default();
        steps.step(&mut bytes).await.then_some((bytes, steps))
    });
    Lasting::extend(head(media_type), flow.boxed())
}

fn head(media_type: HeaderValue) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

/// A running stream. The HTTP connection asks for its bytes when it can write them, so nothing is
/// buffered here; when the client goes, it is dropped, and the subscription with it (S6).
struct OperationStream<F> {
    format: F,
    opening: Option<Vec<u8>>,
    connection: Connection,
    subscription: SubscriptionId,
    endpoint: Endpoint,
    admission: Admission,
    interruptions: Interruptions,
    /// When it last named a cursor.
    named_cursor: Instant,
    over: bool,
}

/// Why a stream goes on.
enum Wake {
    Deliveries(Vec<Delivery>),
    Interruption(Interruption),
}

impl<F: Format> Steps for OperationStream<F> {
    async fn step(&mut self, into: &mut Scratch) -> bool {
        if self.over {
            return false;
        }
        if let Some(opening) = self.opening.take() {
            into.bytes().extend_from_slice(&opening);
        } else {
            while !self.go_on(into).await {}
        }
        self.interruptions.said();
        self.admission.wrote(into.len());
        true
    }
}

impl<F: Format> OperationStream<F> {
    /// Says what is next, if it is something.
    async fn go_on(&mut self, into: &mut Scratch) -> bool {
        let wake = self.wake().await;
        let returned = self.connection.take_back();
        into.go_on_with(returned.rest);
        if let Some(written) = returned.written.map(Instant::from_std) {
            self.named_cursor = written;
            self.interruptions.said_at(written);
        }
        match wake {
            Wake::Deliveries(deliveries) => {
                self.frames(into.bytes(), &deliveries);
                mailbox::give_back(deliveries);
            }
            Wake::Interruption(Interruption::Silence) => {
                if !self.interruptions.is_silent() {
                    return into.has_rest();
                }
                self.keep_alive(into.bytes());
            }
            Wake::Interruption(Interruption::Over(error)) => {
                self.end(into.bytes(), &error, error.to_graphql());
            }
            Wake::Interruption(Interruption::Leave) => self.leave(into.bytes()),
        }
        true
    }

    async fn wake(&mut self) -> Wake {
        let mut deliveries = Vec::new();
        tokio::select! {
            // Whoever has to leave must not get what is already waiting.
            biased;
            interruption = self.interruptions.next() => Wake::Interruption(interruption),
            () = self.connection.drain(&mut deliveries) => Wake::Deliveries(deliveries),
        }
    }

    fn frames(&mut self, bytes: &mut Vec<u8>, deliveries: &[Delivery]) {
        bytes.reserve(extent::<F>(deliveries));
        for delivery in deliveries {
            match delivery {
                Delivery::Next { result, cursor, .. } => self.format.result(bytes, result, cursor),
                Delivery::Whole { result, cursor, .. } => self.format.whole(bytes, result, cursor),
                Delivery::Begun { .. } => {}
                Delivery::End { reason, cursor, .. } => {
                    let error = ClientError::from(reason.clone());
                    return self.end(bytes, &error, error.to_graphql_at(cursor));
                }
            }
        }
        self.named_cursor = Instant::now();
    }

    /// Something, or once a minute the cursor (S19, S20).
    fn keep_alive(&mut self, bytes: &mut Vec<u8>) {
        self.format.keep_alive(bytes);
        if self.named_cursor.elapsed() < CURSOR_AGE {
            return;
        }
        // If something waits, it brings its own cursor.
        if let Some(cursor) = self.connection.quiet_cursor() {
            self.format.position(bytes, &cursor);
            self.named_cursor = Instant::now();
        }
    }

    fn end(&mut self, bytes: &mut Vec<u8>, error: &ClientError, told: GraphQLError) {
        self.endpoint.count_refusal(error);
        self.format.ended(bytes, told);
        self.format.complete(bytes);
        self.connection.complete(self.subscription);
        self.over = true;
    }

    /// Says what is waiting, and goodbye.
    fn leave(&mut self, bytes: &mut Vec<u8>) {
        let mut waiting = Vec::new();
        self.connection.drop_outlet();
        if self.connection.drain(&mut waiting).now_or_never().is_some() {
            self.frames(bytes, &waiting);
            mailbox::give_back(waiting);
        }
        if !self.over {
            self.format.leave(bytes);
            self.over = true;
        }
    }
}
