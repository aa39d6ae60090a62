//! Row security: which records of a table the policies of the database show to whom.
//!
//! The database's are in [`super::postgres::functions`]; an embedding program may bring its own.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::functions::{CallError, Caller};
use crate::event::Event;

/// A question about records of one table, asked for one caller.
#[derive(Debug)]
pub struct Check {
    /// OID of the table.
    pub table: u32,
    /// Who would see them.
    pub caller: Caller,
    /// The records.
    pub records: Vec<Record>,
}

/// A record of an event.
#[derive(Debug, Clone)]
pub struct Record {
    /// The event.
    pub event: Arc<Event>,
    /// Whether the record before an UPDATE is meant.
    pub old: bool,
    /// The columns that it has.
    pub columns: Arc<[Box<str>]>,
}

impl Record {
    /// The record as a JSON object.
    pub fn json(&self) -> &str {
        if self.old { self.event.old_payload.as_deref().unwrap_or_default() } else { &self.event.payload }
    }
}

/// The answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Places of the records that the policies admit; all others are not to be shown.
    pub admitted: Vec<usize>,
    /// Columns that the caller may not see.
    pub hidden: Vec<Box<str>>,
}

/// Evaluates policies. Each answer comes in bounded time; an error says nothing about any of the records,
/// so none of them may be shown.
pub trait Policies: fmt::Debug + Send + Sync {
    /// Which of the records the caller may see.
    fn check(&self, check: Arc<Check>) -> BoxFuture<'static, Result<Verdict, CallError>>;
}
