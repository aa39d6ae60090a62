//! Current rows of attached tables, for subscriptions that begin with what is there already.
//!
//! The database's are in [`super::postgres::functions`]; an embedding program may bring its own.

use std::fmt;
use std::ops::ControlFlow;

use futures_util::future::BoxFuture;

use super::functions::{CallError, Caller};
use super::snapshot::Snapshot;
use crate::event::Audience;

/// The current rows of one attached table, as one caller may select them.
#[derive(Debug, Clone)]
pub struct Read {
    /// OID of the table.
    pub table: u32,
    /// Who would see them.
    pub caller: Caller,
    /// What every row that is wanted satisfies, so that others may be left out. They need not be: whoever
    /// asks still has to look at each row.
    pub conditions: Vec<Narrowing>,
}

/// A necessary condition, which spares the database handing over rows that nobody wants. Columns go
/// by their unquoted names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Narrowing {
    /// The column equals one of these.
    OneOf {
        /// The column.
        column: Box<str>,
        /// The values.
        values: Vec<Box<str>>,
        /// What reads them.
        reads: Reads,
    },
    /// The column compares so with the value.
    Compare {
        /// The column.
        column: Box<str>,
        /// How it compares.
        comparison: Comparison,
        /// With what.
        value: Box<str>,
        /// What reads it.
        reads: Reads,
    },
    /// The column's text starts with this.
    StartsWith {
        /// The column, of a text type.
        column: Box<str>,
        /// The prefix.
        prefix: Box<str>,
    },
    /// The column is null, or is not.
    IsNull {
        /// The column.
        column: Box<str>,
        /// Whether it is.
        null: bool,
    },
    /// At least one of these conjunctions holds.
    Any(Vec<Vec<Narrowing>>),
}

/// What reads a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The column's type.
    Column,
    /// `bigint`: a smaller integer type would refuse a large value instead of finding nothing.
    Bigint,
    /// The column's type, which is a text type; texts are compared byte by byte.
    Bytes,
}

/// An order of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The column is greater.
    Greater,
    /// The column is greater or equal.
    GreaterOrEqual,
    /// The column is less.
    Less,
    /// The column is less or equal.
    LessOrEqual,
}

/// A current row.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// JSON text of the record, as an INSERT event of it would carry, without the columns that the caller
    /// may not select.
    pub record: &'a str,
    /// True if the record exceeded `tidings.max_event_bytes`, so that only its key columns are here.
    pub truncated: bool,
    /// Channel of the table's events.
    pub channel: &'a str,
    /// GraphQL type of the table.
    pub type_name: &'a str,
    /// Which of `tenant` and `user` restrict who may see it.
    pub audience: Audience,
    /// Tenant that owns the row.
    pub tenant: Option<&'a str>,
    /// User that owns the row.
    pub user: Option<&'a str>,
    /// When the rows were read, in microseconds since 1970-01-01T00:00:00Z.
    pub read_at_us: i64,
}

/// The moment that was read: an event belongs to it, and so to the rows, if and only if its id is not above
/// `top` and the snapshot sees its transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The transactions that had finished.
    pub snapshot: Snapshot,
    /// The highest event id that the snapshot sees; 0 if none.
    pub top: i64,
    /// History id of the database.
    pub history: u64,
}

/// Takes rows one by one, and says when it has enough. It must neither block nor panic.
pub type Take = Box<dyn FnMut(&Row<'_>) -> ControlFlow<()> + Send>;

/// Reads rows. Each answer comes in bounded time. An error may come after some rows: then those are not
/// all, and belong to no moment.
pub trait Rows: fmt::Debug + Send + Sync {
    /// Hands over the rows in the order of the primary key, until `take` has enough.
    fn read(&self, read: Read, take: Take) -> BoxFuture<'static, Result<Moment, CallError>>;
}
