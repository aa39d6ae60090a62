//! A source without a database: events published by API. For tests, benches and embedding.

use std::sync::Arc;

use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::catalog::Catalog;
use super::cursor::Cursor;
use super::history::History;
use super::snapshot::Snapshot;
use super::status::SourceStatus;
use super::{Batch, Source, Step};
use crate::event::{Event, Members};

/// Most events taken into one batch.
const BATCH_EVENTS_MAX: usize = 1_000;

/// Publishes into a [`MemorySource`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher(mpsc::Sender<Input>);

#[derive(Debug)]
enum Input {
    Event(Box<Event>),
    Catalog(Catalog),
}

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A JSON text of the event does not parse.
    #[error("the event's {field} is not JSON: {source}")]
    NotJson {
        /// Which one: `payload`, `old_payload` or `metadata`.
        field: &'static str,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// The service that the source fed is gone.
    #[error("the service has stopped")]
    Stopped,
}

/// The source that a [`Publisher`] feeds.
#[derive(Debug)]
pub struct MemorySource {
    inputs: mpsc::Receiver<Input>,
    /// Steps that are due before anything is received.
    pending: Vec<Step>,
    /// Every event is a transaction of its own; its id is its xid.
    published: u64,
    at: Cursor,
    status: Arc<SourceStatus>,
}

/// A memory source with these tables, holding at most `capacity` events not yet taken: a publisher
/// waits while it is full.
pub fn source(catalog: Catalog, capacity: usize) -> (Publisher, MemorySource) {
    let (sender, inputs) = mpsc::channel(capacity.max(1));
    let at = Cursor {
        history: rand::random(),
        top: 0,
        seen: Arc::new(Snapshot::new(1, Vec::new())),
        within: None,
        left: Vec::new(),
    };
    let pending = vec![Step::Start(at.clone()), Step::Catalog(catalog)];
    let status = Arc::new(SourceStatus::always_current());
    (Publisher(sender), MemorySource { inputs, pending, published: 0, at, status })
}

impl Publisher {
    /// Publishes one event; its id and xid are drawn by the source.
    ///
    /// # Errors
    ///
    /// If one of its JSON texts does not parse, or the service has stopped.
    pub async fn publish(&self, event: Event) -> Result<(), PublishError> {
        let texts = [
            ("payload", Some(&event.payload)),
            ("old_payload", event.old_payload.as_ref()),
            ("metadata", event.metadata.as_ref()),
        ];
        for (field, text) in texts {
            // Most are objects, which is the fastest to tell.
            let Some(text) = text.filter(|text| !Members::are_in(text)) else { continue };
            serde_json::from_str::<IgnoredAny>(text)
                .map_err(|source| PublishError::NotJson { field, source })?;
        }
        self.send(Input::Event(Box::new(event))).await
    }

    /// Replaces the attached tables.
    ///
    /// # Errors
    ///
    /// If the service has stopped.
    pub async fn set_catalog(&self, catalog: Catalog) -> Result<(), PublishError> {
        self.send(Input::Catalog(catalog)).await
    }

    async fn send(&self, input: Input) -> Result<(), PublishError> {
        self.0.send(input).await.map_err(|_| PublishError::Stopped)
    }
}

impl MemorySource {
    fn batch(&mut self, mut events: Vec<Event>) -> Batch {
        for event in &mut events {
            self.published += 1;
            event.xid = self.published;
            event.id = self.published.cast_signed();
        }
        let snapshot = Arc::new(Snapshot::new(self.published + 1, Vec::new()));
        let batch = Batch { events, start: self.at.clone(), snapshot, last: true };
        self.at = batch.end();
        batch
    }
}

impl Source for MemorySource {
    async fn next(&mut self) -> Step {
        if !self.pending.is_empty() {
            return self.pending.remove(0);
        }
        let mut inputs = Vec::new();
        if self.inputs.recv_many(&mut inputs, BATCH_EVENTS_MAX).await == 0 {
            // Every publisher is gone: nothing can come any more.
            return std::future::pending().await;
        }
        let mut events = Vec::with_capacity(inputs.len());
        for input in inputs {
            match input {
                Input::Event(event) => events.push(*event),
                Input::Catalog(catalog) => {
                    if !events.is_empty() {
                        let batch = self.batch(std::mem::take(&mut events));
                        self.pending.push(Step::Batch(batch));
                    }
                    self.pending.push(Step::Catalog(catalog));
                }
            }
        }
        if !events.is_empty() {
            let batch = self.batch(events);
            self.pending.push(Step::Batch(batch));
        }
        self.pending.remove(0)
    }

    fn history(&self) -> Option<Arc<dyn History>> {
        None
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}
