//! Where events come from: a [`Source`] hands over what became visible, batch by batch.

pub mod catalog;

pub mod status;

pub mod functions;

pub mod policies;

pub mod rows;

pub mod history;

pub mod ring;

pub mod recent;

pub mod memory;

pub mod postgres;

use std::sync::Arc;

use catalog::Catalog;
use cursor::{Cursor, Within};
use history::History;
use snapshot::Snapshot;
pub use tidings_cursor::{cursor, snapshot};

use crate::event::Event;

/// Something that yields committed events, each exactly once while it runs.
pub trait Source: Send + 'static {
    /// Waits for the next step. A source never ends by itself: it reconnects, and says in its
    /// [`status::SourceStatus`] when it cannot.
    fn next(&mut self) -> impl Future<Output = Step> + Send;

    /// What keeps events for longer than the service, if anything does.
    fn history(&self) -> Option<Arc<dyn History>>;

    /// Where the source stands with its origin, for readiness.
    fn status(&self) -> Arc<status::SourceStatus>;
}

/// What a source has to say.
#[derive(Debug)]
pub enum Step {
    /// Events became visible.
    Batch(Batch),
    /// The attached tables, at the start and whenever they changed.
    Catalog(Catalog),
    /// The stream starts here.
    Start(Cursor),
    /// Events were lost between what has been handed over and this cursor, where the stream goes on.
    Gap(Gap, Cursor),
}

/// Why a source cannot hand over everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The history was replaced: a restored dump, another timeline, the extension created anew.
    HistoryChanged,
    /// Retention removed events before they were fetched.
    Expired,
}

/// Events that became visible between two snapshots, ordered by id; a large one comes in pages.
#[derive(Debug)]
pub struct Batch {
    /// The events of this page.
    pub events: Vec<Event>,
    /// What had been seen before the page.
    pub start: Cursor,
    /// The snapshot that the batch leads to.
    pub snapshot: Arc<Snapshot>,
    /// Whether this is the batch's last page.
    pub last: bool,
}

impl Batch {
    /// What has been seen once the events up to and including the one at `index` have.
    pub fn cursor_after(&self, index: usize) -> Cursor {
        if self.last && index + 1 == self.events.len() {
            return self.end();
        }
        let upto = self.events[index].id;
        Cursor { within: Some(Within { snapshot: self.snapshot.clone(), upto }), ..self.start.clone() }
    }

    /// What has been seen once the whole page has.
    pub fn end(&self) -> Cursor {
        let last_id = self.events.last().map(|event| event.id);
        if !self.last {
            let upto = last_id.or(self.start.within.as_ref().map(|within| within.upto));
            let within = upto.map(|upto| Within { snapshot: self.snapshot.clone(), upto });
            return Cursor { within, ..self.start.clone() };
        }
        let within_top = self.start.within.as_ref().map(|within| within.upto);
        Cursor {
            history: self.start.history,
            top: [Some(self.start.top), within_top, last_id].into_iter().flatten().max().unwrap_or_default(),
            seen: self.snapshot.clone(),
            within: None,
            left: Vec::new(),
        }
    }
}
