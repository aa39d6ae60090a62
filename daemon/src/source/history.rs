//! Events that were there before: what a subscription that was away, or too slow, has missed.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
pub use tidings_cursor::moment::{Missing, Moment};

use super::cursor::Floor;
use crate::event::Event;

/// Reads events again.
pub trait History: Debug + Send + Sync {
    /// The moment now, and where what is missing of it lies.
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>>;

    /// What is missing of a moment, from after an id on: those of the next `width` ids, or fewer.
    fn passage<'a>(
        &'a self,
        missing: &'a Missing,
        moment: &'a Moment,
        after: i64,
        width: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>>;
}

/// A part of what is missing, in the order of ids.
#[derive(Debug)]
pub struct Passage {
    /// The events.
    pub events: Vec<Event>,
    /// Every one up to this id is there.
    pub upto: i64,
    /// The floor by the time they were read.
    pub floor: Option<Floor>,
}

/// Why nothing could be read; it may be tried again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct HistoryError(pub String);
