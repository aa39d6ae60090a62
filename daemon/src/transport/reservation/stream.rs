//! The stream of a reservation: all of its operations, as long as the client stays.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::response::Response;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::LABEL;
use super::place::Place;
use super::request::Reserved;
use super::running::{Gone, Operations};
use super::work::{self, Decision, Work};
use crate::error::{ClientError, errors_body};
use crate::hub::audience::Identity;
use crate::hub::mailbox::{self, CursorText, Delivery};
use crate::service::{self, Connection};
use crate::store::lease::{Change, Lease, Lost};
use crate::store::node::Opened;
use crate::store::reservation::{Documents, StoreError};
use crate::transport::admission::Admission;
use crate::transport::interruptions::{Interruption, Interruptions};
use crate::transport::scratch::Scratch;
use crate::transport::sse::Sse;
use crate::transport::stream::{CURSOR_AGE, Format, Steps, respond_lasting};
use crate::transport::{Endpoint, frame, sse};

/// Opens the stream of a reservation (PROTOCOLS S11).
pub(super) async fn open(endpoint: &Endpoint, head: &Parts) -> Result<Response, ClientError> {
    let Reserved { identity, address, principal, token } = Reserved::of(endpoint, head).await?;
    let resumed = sse::last_event_id(head);
    let named = resumed.as_deref().map(|id| Place::decode(id).ok_or_else(unknown_place)).transpose()?;
    let mut admission = endpoint.admit(LABEL)?;
    endpoint.ready().await?;
    admission.enter(&identity, &address)?;
    // S10: who has heard from the stream before takes it over, however alive it seems.
    let opened = endpoint.reservations().open(token, principal, named.is_some()).await;
    let opened = opened.map_err(|error| Reserved::refusal(endpoint, error))?;
    // Without Last-Event-ID it goes on from where the last stream was.
    let place = named.or_else(|| Place::decode(opened.place.as_deref()?));
    let stream = ReservedStream::new(endpoint, admission, identity, Sse::of(head), opened, place);
    Ok(respond_lasting(sse::MEDIA_TYPE, stream))
}

fn unknown_place() -> ClientError {
    ClientError::Malformed(
        "Last-Event-ID is not an id of such a stream; open it without one to go on from where it was.".into(),
    )
}

/// A running stream, which the HTTP connection asks for bytes when it can write them. Dropped, it lets go of its
/// lease.
struct ReservedStream {
    /// Dropped before the admission: who reads in the log that the connection has closed may open another.
    lease: Lease,
    endpoint: Endpoint,
    format: Sse,
    admission: Admission,
    identity: Arc<Identity>,
    connection: Connection,
    operations: Operations,
    /// The revision of the operations that are known here.
    revision: i64,
    /// Where the stream before stood.
    resumed: Option<Place>,
    /// What is not known at once and must not hold up the rest. As many as there are operations, and one.
    work: FuturesUnordered<BoxFuture<'static, Option<Work>>>,
    /// Whether the operations are being read.
    reading: bool,
    /// Whether they have changed since that began.
    read_again: bool,
    opening: Option<Vec<u8>>,
    interruptions: Interruptions,
    named_place: Instant,
    over: bool,
}

/// Why a stream goes on.
enum Wake {
    Deliveries(Vec<Delivery>),
    Work(Work),
    Changed(Change),
    Interruption(Interruption),
}

impl Steps for ReservedStream {
    async fn step(&mut self, into: &mut Scratch) -> bool {
        if let Some(opening) = self.opening.take() {
            into.bytes().extend_from_slice(&opening);
        }
        while into.is_empty() && !self.over {
            let wake = self.wake().await;
            let bytes = into.bytes();
            match wake {
                Wake::Deliveries(deliveries) => {
                    self.deliver(bytes, &deliveries);
                    mailbox::give_back(deliveries);
                }
                Wake::Work(work) => self.done(bytes, work),
                Wake::Changed(Change::Documents) => self.read(),
                Wake::Changed(Change::Lost(Lost::TakenOver)) => self.over = true, // S10
                Wake::Changed(Change::Lost(Lost::Gone)) => {
                    self.end_all(bytes, &ClientError::ReservationGone);
                }
                Wake::Interruption(Interruption::Silence) => self.keep_alive(bytes),
                Wake::Interruption(Interruption::Over(error)) => {
                    if error == ClientError::Kicked {
                        self.lease.void();
                    }
                    self.end_all(bytes, &error);
                }
                Wake::Interruption(Interruption::Leave) => {
                    let mut waiting = Vec::new();
                    if self.connection.drain(&mut waiting).now_or_never().is_some() {
                        self.deliver(bytes, &waiting);
                        mailbox::give_back(waiting);
                    }
                    self.format.leave(bytes);
                    self.over = true;
                }
            }
        }
        self.interruptions.said();
        self.admission.wrote(into.len());
        !into.is_empty()
    }
}

impl ReservedStream {
    fn new(
        endpoint: &Endpoint,
        admission: Admission,
        identity: Arc<Identity>,
        format: Sse,
        opened: Opened,
        resumed: Option<Place>,
    ) -> Self {
        let mut stream = Self {
            endpoint: endpoint.clone(),
            format,
            connection: admission.connect(identity.clone()),
            operations: Operations::default(),
            revision: 0,
            resumed,
            work: FuturesUnordered::new(),
            reading: false,
            read_again: false,
            lease: opened.lease,
            opening: None,
            interruptions: Interruptions::new(admission.over(identity.clone()), endpoint.shutdown().turn()),
            admission,
            identity,
            named_place: Instant::now(),
            over: false,
        };
        stream.connection.know_place();
        // Taken before anything begins, so nothing after it can be missing.
        let cursor = endpoint.service().cursor();
        let mut opening = Vec::new();
        stream.format.opening(&mut opening);
        stream.take(&mut opening, opened.documents);
        stream.name_place(&mut opening, cursor);
        stream.opening = Some(opening);
        stream
    }

    async fn wake(&mut self) -> Wake {
        let mut deliveries = Vec::new();
        loop {
            tokio::select! {
                // Whoever has to leave must not get what is already waiting, nor a stream whose place is taken.
                biased;
                interruption = self.interruptions.next() => return Wake::Interruption(interruption),
                change = self.lease.changed() => return Wake::Changed(change),
                Some(work) = self.work.next() => if let Some(work) = work { return Wake::Work(work) },
                () = self.connection.drain(&mut deliveries) => return Wake::Deliveries(deliveries),
            }
        }
    }

    /// Reads the operations again.
    fn read(&mut self) {
        if std::mem::replace(&mut self.reading, true) {
            self.read_again = true;
        } else {
            self.work.push(work::read(&self.lease));
        }
    }

    /// The operations are these now: ends what is gone, and starts what is new.
    fn take(&mut self, bytes: &mut Vec<u8>, documents: Documents) {
        for gone in self.operations.retain(&documents.all) {
            self.complete(bytes, &gone); // S15
        }
        let known = std::mem::replace(&mut self.revision, documents.revision);
        // What was known before and is not here has ended, though its row may have been read before that.
        for document in documents.all.into_iter().filter(|document| document.number > known) {
            let start = document.operation.start.as_deref();
            let after = match &self.resumed {
                Some(place) => place.after(document.number, start),
                None => start.map(CursorText::from),
            };
            let (work, abandon) =
                work::decide(self.endpoint.service(), &self.identity, &document, after.as_deref());
            self.operations.starting(&document, after.unwrap_or_else(|| "".into()), abandon);
            self.work.push(work);
        }
    }

    /// Something that was not known at once is known.
    fn done(&mut self, bytes: &mut Vec<u8>, work: Work) {
        match work {
            Work::Read(Ok(documents)) => {
                self.reading = false;
                self.take(bytes, documents);
                if std::mem::take(&mut self.read_again) {
                    self.read();
                }
            }
            Work::Read(Err(StoreError::Unknown)) => self.end_all(bytes, &ClientError::ReservationGone),
            Work::Read(Err(_)) => self.work.push(work::read_later(&self.lease)),
            Work::Decided(number, Decision::Answered(result)) => self.end(number, &result), // S7
            Work::Decided(number, Decision::Refused(errors)) => self.end(number, &errors_body(&errors)),
            Work::Decided(number, Decision::Permitted(permit)) => {
                if !self.operations.has(number) {
                    return;
                }
                let document = permit.document();
                match self.connection.subscribe(*permit) {
                    Ok(subscription) => {
                        self.operations.running(number, subscription);
                        self.admission.subscribed(subscription, document);
                    }
                    Err(errors) => self.end(number, &errors_body(&errors)),
                }
            }
            Work::Finished(number, last) => {
                bytes.extend_from_slice(&last);
                if let Some(gone) = self.operations.remove(number) {
                    self.complete(bytes, &gone);
                }
            }
        }
    }

    fn deliver(&mut self, bytes: &mut Vec<u8>, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let place = self.connection.place_after(delivery);
            let Some((number, operation)) = self.operations.of(delivery.subscription()) else { continue };
            match delivery {
                Delivery::Next { result, cursor, .. } => {
                    let id = self.id(&place);
                    frame::sse_operation_next(bytes, operation, result, cursor, &id);
                }
                Delivery::Whole { result, .. } => {
                    let id = self.id(&place);
                    frame::sse_operation_whole(bytes, operation, result, &id);
                }
                Delivery::Begun { .. } => {}
                Delivery::End { subscription, reason, cursor } => {
                    let error = ClientError::from(reason.clone());
                    self.endpoint.count_refusal(&error);
                    self.admission.ended(*subscription);
                    self.end(number, &errors_body(&[error.to_graphql_at(cursor)]));
                }
            }
        }
        self.named_place = Instant::now();
    }

    /// The text of a place, which is noted for whoever opens the stream next; empty if it would be too long.
    fn id(&self, place: &service::Place) -> Arc<str> {
        let text = self.operations.place(self.revision, place).encode();
        if text.is_none() && !place.cursor.is_empty() {
            self.endpoint.metrics().reservations.places_omitted.inc();
        }
        let text: Arc<str> = text.unwrap_or_default().into();
        if !text.is_empty() {
            self.lease.stands_at(&text);
        }
        text
    }

    /// Says where the stream stands when nothing waits (S20).
    fn name_place(&mut self, bytes: &mut Vec<u8>, cursor: CursorText) {
        let id = self.id(&service::Place { cursor, behind: Vec::new() });
        self.format.position(bytes, &id);
        self.named_place = Instant::now();
    }

    /// Something, or once a minute the place (S19, S20).
    fn keep_alive(&mut self, bytes: &mut Vec<u8>) {
        self.format.keep_alive(bytes);
        if self.named_place.elapsed() < CURSOR_AGE {
            return;
        }
        // If something waits, it brings its own place.
        if let Some(cursor) = self.connection.quiet_cursor() {
            self.name_place(bytes, cursor);
        }
    }

    /// An operation has ended with this result. It is told once its id is free again.
    fn end(&mut self, number: i64, result: &[u8]) {
        let Some(operation) = self.operations.ending(number) else { return };
        let mut last = Vec::new();
        frame::sse_operation_whole(&mut last, &operation, result, "");
        self.work.push(work::finish(&self.lease, number, last));
    }

    /// Nothing more comes for an operation.
    fn complete(&mut self, bytes: &mut Vec<u8>, gone: &Gone) {
        if let Some(subscription) = gone.subscription {
            self.connection.complete(subscription);
            self.admission.ended(subscription);
        }
        frame::sse_operation_complete(bytes, &gone.frame); // S16
    }

    /// Every operation ends with an error, and the stream after them.
    fn end_all(&mut self, bytes: &mut Vec<u8>, error: &ClientError) {
        self.endpoint.count_refusal(error);
        let told = errors_body(&[error.to_graphql()]);
        let numbers = self.operations.numbers();
        for number in &numbers {
            if let Some(gone) = self.operations.remove(*number) {
                frame::sse_operation_whole(bytes, &gone.frame, &told, "");
                self.complete(bytes, &gone);
            }
        }
        if *error != ClientError::ReservationGone {
            let finish = self.lease.finish(numbers);
            self.endpoint.shutdown().spawn(async move {
                // If it fails, whoever opens the stream next runs them again.
                let _ = finish.await;
            });
        }
        self.over = true;
    }
}
