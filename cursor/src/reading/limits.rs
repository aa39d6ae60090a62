//! What a page may have, and how much may be looked at for it.

/// Bounds of one page. What it may still have, while it is being read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events.
    pub rows: usize,
    /// Bytes of events and cursors, except for the first event.
    pub bytes: usize,
    /// Ids that are looked at.
    pub ids: i64,
    /// Ids that are looked at by one statement.
    pub ids_of_statement: i64,
    /// Events that one statement returns.
    pub rows_of_statement: usize,
    /// Events that are looked at in the order of transactions.
    pub events_by_transaction: usize,
    /// Parts of a set from which on two of them are made one first: fewer than a text holds, so that streams can go on
    /// from what was handed out here.
    pub parts: usize,
}
