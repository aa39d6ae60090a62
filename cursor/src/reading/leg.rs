//! One way through the ids: what a snapshot sees of the events that a set lacks.

use std::sync::Arc;

use super::{Bound, Events, Range, Reading, Row, Swept};
use crate::cursor::{Cursor, Within};
use crate::snapshot::Snapshot;

/// What is read, and where it lies.
pub(super) struct Leg {
    snapshot: Arc<Snapshot>,
    /// Ids beyond this are not read.
    upto: i64,
    /// Above this id everything is missing
    above: i64,
    /// and besides what these transactions have from these ids on.
    exceptions: Vec<Bound>,
    /// Whether these are all: otherwise nothing can be read yet.
    known: bool,
    /// The parts of the set, and whether the snapshot sees all that theirs see.
    parts: Vec<(Within, bool)>,
    /// Everything up to here has been looked at.
    after: Option<i64>,
}

/// How a leg ended.
pub(super) enum Turned {
    /// Everything has been read.
    Done(Cursor),
    /// The page is full.
    Full(Cursor),
}

impl Leg {
    /// Finds out where it begins. The set is restated on the way: of what reaches highest, the snapshot then names
    /// exactly the transactions that something is missing of, or that are still running, and so the next page need not
    /// look for them again.
    pub(super) fn begin<E: Events>(reading: &mut Reading<'_, E>, snapshot: Arc<Snapshot>, upto: i64) -> Self {
        let (highest, above) = highest(&mut reading.seen);
        let highest = highest.clone();
        let swept = if reading.events.first_above(i64::MIN).is_none_or(|first| first > above) {
            Swept { lowest: Vec::new(), complete: true }
        } else {
            reading.events.transactions(highest.xmax(), reading.left.events_by_transaction)
        };
        let end = match swept.lowest.last() {
            // What was running below the end of today's snapshot has no visible event, and is named.
            _ if swept.complete => reading.now.xmax().max(highest.xmax()),
            Some(last) => last.xid + 1,
            None => highest.xmax(),
        };
        let lower = swept.lowest.iter().filter(|found| found.id <= above).map(|found| found.xid);
        let named = highest.in_progress().iter().copied().filter(|xid| reading.now.sees(*xid));
        let bound = |xid| Bound { xid, id: reading.seen.seen_up_to(xid).unwrap_or(i64::MIN) };
        let candidates: Vec<Bound> = named.chain(lower).map(bound).collect();
        let mut exceptions = reading.events.first_of(&candidates);
        exceptions.retain(|found| found.id <= above);

        let still = highest.in_progress().iter().copied().filter(|xid| !reading.now.sees(*xid));
        let since = reading.now.in_progress().iter().copied().filter(|xid| *xid >= highest.xmax());
        let running = still.chain(since).chain(exceptions.iter().map(|found| found.xid)).collect();
        *self::highest(&mut reading.seen).0 = Arc::new(Snapshot::new(end, running));

        exceptions.retain(|found| snapshot.sees(found.xid));
        let parts =
            reading.seen.parts().map(|part| (part.clone(), snapshot.covers(&part.snapshot))).collect();
        Self { snapshot, upto, above, exceptions, known: swept.complete, parts, after: None }
    }

    /// Reads until the end or until the page is full.
    pub(super) fn run<E: Events>(mut self, reading: &mut Reading<'_, E>) -> Turned {
        if !self.known {
            return Turned::Full(reading.seen.clone());
        }
        while let Some(from) = self.next(reading.events) {
            if reading.left.ids <= 0 {
                return Turned::Full(self.looked_at(&reading.seen));
            }
            let width = reading.left.ids_of_statement.min(reading.left.ids);
            let xids: Vec<u64> = self.exceptions.iter().map(|found| found.xid).collect();
            let range = Range {
                from,
                upto: from.saturating_add(width - 1).min(self.upto),
                above: self.above,
                xids: &xids,
                // One more than the page takes says whether there is more.
                rows_max: (reading.left.rows + 1).min(reading.left.rows_of_statement),
                bytes_max: reading.left.bytes,
            };
            let found = reading.events.read(&range);
            for row in found.rows {
                let lacks = self.snapshot.sees(row.xid()) && !reading.seen.contains(row.id(), row.xid());
                if lacks && !self.take(reading, row) {
                    return Turned::Full(self.looked_at(&reading.seen));
                }
            }
            reading.left.ids -= found.upto - from + 1;
            self.after = Some(found.upto);
        }
        Turned::Done(self.whole(reading))
    }

    /// Where the next that is missing may be.
    fn next(&mut self, events: &mut impl Events) -> Option<i64> {
        if let Some(after) = self.after {
            let (behind, mut ahead): (Vec<_>, Vec<_>) =
                self.exceptions.iter().copied().partition(|found| found.id <= after);
            let bounds: Vec<Bound> = behind.iter().map(|found| Bound { id: after, ..*found }).collect();
            ahead.extend(events.first_of(&bounds).into_iter().filter(|found| found.id <= self.above));
            self.exceptions = ahead;
        }
        let lowest = self.exceptions.iter().map(|found| found.id).min();
        let above = self.above.max(self.after.unwrap_or(i64::MIN));
        lowest.or_else(|| events.first_above(above)).filter(|id| *id <= self.upto)
    }

    /// Takes a row into the page, if there is room.
    fn take<E: Events>(&mut self, reading: &mut Reading<'_, E>, row: E::Row) -> bool {
        let (id, cursor) = (row.id(), self.after(&reading.seen, row.id()).encode());
        let bytes = row.bytes() + cursor.len();
        if reading.left.rows == 0 || (bytes > reading.left.bytes && !reading.rows.is_empty()) {
            return false;
        }
        reading.left.rows -= 1;
        reading.left.bytes = reading.left.bytes.saturating_sub(bytes);
        self.after = Some(id);
        reading.rows.push((row, cursor));
        true
    }

    /// The set that has, besides, everything up to an id.
    fn after(&self, seen: &Cursor, id: i64) -> Cursor {
        // A snapshot that does not see all that a part sees is an old one, of a long transaction, or one from after a
        // crash that took back xids. The part stays beside it.
        let beyond = self.parts.iter().filter(|(part, covered)| part.upto > id || !covered);
        Cursor {
            within: Some(Within { snapshot: self.snapshot.clone(), upto: id }),
            left: beyond.map(|(part, _)| part.clone()).collect(),
            ..seen.clone()
        }
    }

    /// The set after everything that was looked at, beyond which there is more.
    fn looked_at(&self, seen: &Cursor) -> Cursor {
        self.after.map_or_else(|| seen.clone(), |id| self.after(seen, id))
    }

    /// The set after everything that was to be read.
    fn whole<E: Events>(&self, reading: &mut Reading<'_, E>) -> Cursor {
        if self.upto < i64::MAX {
            return self.after(&reading.seen, self.upto);
        }
        // The highest that is there: a crash may give ids beyond it to events of transactions that seem to have ended.
        let top = reading.events.last().map_or(self.above, |last| last.max(self.above));
        let whole = Cursor {
            history: reading.seen.history,
            top,
            seen: self.snapshot.clone(),
            within: None,
            left: Vec::new(),
        };
        let both = reading.seen.union(&whole).filter(|both| both.parts().count() <= reading.left.parts);
        both.unwrap_or_else(|| self.after(&reading.seen, top))
    }
}

/// Of the set and its parts what reaches highest.
fn highest(seen: &mut Cursor) -> (&mut Arc<Snapshot>, i64) {
    let Cursor { top, seen, within, left, .. } = seen;
    let part = within.iter_mut().chain(left).filter(|part| part.upto > *top).max_by_key(|part| part.upto);
    part.map_or((seen, *top), |part| (&mut part.snapshot, part.upto))
}
