//! Reading what a set lacks, page by page: the events that a poller has not seen, in the order of ids.
//!
//! A page costs the same however much is missing and however large the table is: it reads ranges of ids, from the
//! lowest that is missing on, and never looks for it among all that are missing. That is not simply the first id above
//! those that were seen, because transactions commit in another order than they draw ids in. Those that were still
//! running then and have drawn lower ids are found by their xids: the set names some of them, and the others have
//! xids from the end of its snapshot on ([`Leg::begin`]).

mod leg;
mod limits;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use limits::Limits;

use crate::cursor::{Cursor, PARTS_MAX, Within};
use crate::snapshot::Snapshot;
use leg::{Leg, Turned};

/// Where events are read. Everything that it says is of one snapshot of the database, and leaves out the reader's own
/// transaction, which may still be rolled back.
pub trait Events {
    /// An event.
    type Row: Row;

    /// Of the next events in the order of transactions, from this xid on and no more than so many: each transaction
    /// with its lowest id.
    fn transactions(&mut self, from: u64, events_max: usize) -> Swept;

    /// The lowest id of each of these transactions above its own bound. Those without one are left out.
    fn first_of(&mut self, transactions: &[Bound]) -> Vec<Bound>;

    /// The lowest id above this one.
    fn first_above(&mut self, id: i64) -> Option<i64>;

    /// The highest id.
    fn last(&mut self) -> Option<i64>;

    /// Those events of a range that the reader asked for, in the order of ids.
    fn read(&mut self, range: &Range<'_>) -> Found<Self::Row>;
}

/// An event that was read.
pub trait Row {
    /// Its id.
    fn id(&self) -> i64;
    /// Its transaction.
    fn xid(&self) -> u64;
    /// What it takes in memory.
    fn bytes(&self) -> usize;
}

/// A transaction, and an id of it or a bound for its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The transaction.
    pub xid: u64,
    /// The id.
    pub id: i64,
}

/// Transactions in the order of xids.
#[derive(Debug)]
pub struct Swept {
    /// Each with its lowest id.
    pub lowest: Vec<Bound>,
    /// Whether there are no more behind them.
    pub complete: bool,
}

/// Events to be read.
#[derive(Debug)]
pub struct Range<'a> {
    /// From this id
    pub from: i64,
    /// to this one, both included,
    pub upto: i64,
    /// those above this id
    pub above: i64,
    /// and those of these transactions.
    pub xids: &'a [u64],
    /// No more of them than this,
    pub rows_max: usize,
    /// and no more bytes, except for the first.
    pub bytes_max: usize,
}

/// What was found in a range.
#[derive(Debug)]
pub struct Found<R> {
    /// The events.
    pub rows: Vec<R>,
    /// Everything up to this id has been looked at.
    pub upto: i64,
}

/// A page.
#[derive(Debug)]
pub struct Page<R> {
    /// Events in the order of ids, each with the set after it.
    pub rows: Vec<(R, Arc<str>)>,
    /// The set after all of them, and after those in between that the reader did not ask for.
    pub end: Arc<str>,
    /// Whether more may be there already.
    pub more: bool,
}

/// Reads the next page of what a set lacks of a moment.
pub fn read<E: Events>(seen: Cursor, now: &Arc<Snapshot>, limits: &Limits, events: &mut E) -> Page<E::Row> {
    let mut reading = Reading { seen, now, events, left: *limits, rows: Vec::new() };
    while reading.seen.parts().count() >= limits.parts {
        let Some((snapshot, upto)) = step(&reading.seen).filter(|(snapshot, _)| now.covers(snapshot)) else {
            break;
        };
        let leg = Leg::begin(&mut reading, snapshot, upto);
        match leg.run(&mut reading) {
            // What comes next may have lower ids: those of one page ascend.
            Turned::Done(end) if !reading.rows.is_empty() => return reading.page(&end, true),
            Turned::Done(end) => reading.seen = end,
            Turned::Full(end) => return reading.page(&end, true),
        }
    }
    if reading.seen.parts().count() >= PARTS_MAX {
        // The moment is older than the set: nothing of it could be named. A later one has it all.
        let end = reading.seen.clone();
        return reading.page(&end, false);
    }
    let leg = Leg::begin(&mut reading, now.clone(), i64::MAX);
    match leg.run(&mut reading) {
        Turned::Done(end) => reading.page(&end, false),
        Turned::Full(end) => reading.page(&end, true),
    }
}

/// Whether pages can be read that begin with this set: none that was handed out has too many parts.
pub fn can_go_on_from(seen: &Cursor) -> bool {
    seen.parts().count() < PARTS_MAX || step(seen).is_some()
}

/// Two parts that become one when everything between them has been read of the lower one's snapshot: that, and
/// where the other ends. A lower part is a later one, and so has the later snapshot.
fn step(seen: &Cursor) -> Option<(Arc<Snapshot>, i64)> {
    let mut parts: Vec<&Within> = seen.parts().collect();
    parts.sort_by_key(|part| part.upto);
    let pair = parts.windows(2).find(|pair| pair[0].snapshot.covers(&pair[1].snapshot))?;
    Some((pair[0].snapshot.clone(), pair[1].upto))
}

/// A page that is being read.
struct Reading<'a, E: Events> {
    seen: Cursor,
    now: &'a Arc<Snapshot>,
    events: &'a mut E,
    /// What the page may still have and look at.
    left: Limits,
    rows: Vec<(E::Row, Arc<str>)>,
}

impl<E: Events> Reading<'_, E> {
    fn page(self, end: &Cursor, more: bool) -> Page<E::Row> {
        let (mut rows, end) = (self.rows, end.encode());
        if let Some((_, cursor)) = rows.last_mut() {
            *cursor = end.clone();
        }
        Page { rows, end, more }
    }
}
