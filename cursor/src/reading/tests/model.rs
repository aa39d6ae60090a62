//! A database of events in memory, whose transactions end in any order and are forgotten in crashes.

use std::collections::BTreeMap;

use super::super::{Bound, Events, Found, Range, Row, Swept};
use crate::snapshot::Snapshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) id: i64,
    pub(super) xid: u64,
    /// The row that it is about; the second writer of a row waits for the first.
    pub(super) row: u64,
}

impl Row for Event {
    fn id(&self) -> i64 {
        self.id
    }
    fn xid(&self) -> u64 {
        self.xid
    }
    fn bytes(&self) -> usize {
        10
    }
}

#[derive(Default)]
pub(super) struct Database {
    next_xid: u64,
    /// One above the last that ended.
    xmax: u64,
    pub(super) next_id: i64,
    pub(super) running: BTreeMap<u64, Vec<Event>>,
    /// By id.
    pub(super) committed: BTreeMap<i64, Event>,
    /// What a crash takes back to.
    durable_xid: u64,
    durable_id: i64,
}

impl Database {
    pub(super) fn new() -> Self {
        Self { next_xid: 10, xmax: 10, next_id: 1, durable_xid: 10, durable_id: 1, ..Self::default() }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.xmax, self.running.keys().copied().collect())
    }

    pub(super) fn begin(&mut self) {
        self.running.insert(self.next_xid, Vec::new());
        self.next_xid += 1;
    }

    pub(super) fn write(&mut self, xid: u64, row: u64) {
        let locked =
            self.running.iter().any(|(other, events)| *other != xid && events.iter().any(|it| it.row == row));
        if !locked {
            self.running.get_mut(&xid).unwrap().push(Event { id: self.next_id, xid, row });
            self.next_id += 1;
        }
    }

    pub(super) fn end(&mut self, xid: u64, commit: bool) {
        let events = self.running.remove(&xid).unwrap();
        self.xmax = self.xmax.max(xid + 1);
        if commit {
            self.committed.extend(events.into_iter().map(|event| (event.id, event)));
            (self.durable_xid, self.durable_id) = (self.next_xid, self.next_id);
        }
    }

    /// What did not reach the disk is forgotten, xids and ids alike.
    pub(super) fn crash(&mut self) {
        self.running.clear();
        (self.next_xid, self.next_id) = (self.durable_xid, self.durable_id);
        self.xmax = self.next_xid;
    }
}

/// What one snapshot sees, but for one's own transaction.
pub(super) struct Seen<'a> {
    pub(super) events: Vec<&'a Event>,
    /// The row that the reader asks about; nothing if it asks about all.
    about: Option<u64>,
    /// Events that were looked at by the largest statement.
    pub(super) largest: usize,
}

impl<'a> Seen<'a> {
    pub(super) fn of(database: &'a Database, snapshot: &Snapshot, about: Option<u64>) -> Self {
        let events = database.committed.values().filter(|event| snapshot.sees(event.xid)).collect();
        Self { events, about, largest: 0 }
    }
}

impl Events for Seen<'_> {
    type Row = Event;

    fn transactions(&mut self, from: u64, events_max: usize) -> Swept {
        let mut found: Vec<_> = self.events.iter().filter(|event| event.xid >= from).collect();
        found.sort_by_key(|event| (event.xid, event.id));
        let complete = found.len() < events_max;
        found.truncate(events_max);
        found.dedup_by_key(|event| event.xid);
        Swept { lowest: found.iter().map(|event| Bound { xid: event.xid, id: event.id }).collect(), complete }
    }

    fn first_of(&mut self, transactions: &[Bound]) -> Vec<Bound> {
        let first = |wanted: &Bound| {
            let found = self.events.iter().find(|event| event.xid == wanted.xid && event.id > wanted.id)?;
            Some(Bound { xid: wanted.xid, id: found.id })
        };
        transactions.iter().filter_map(first).collect()
    }

    fn first_above(&mut self, id: i64) -> Option<i64> {
        self.events.iter().map(|event| event.id).find(|found| *found > id)
    }

    fn last(&mut self) -> Option<i64> {
        self.events.last().map(|event| event.id)
    }

    fn read(&mut self, range: &Range<'_>) -> Found<Event> {
        let inside = self.events.iter().filter(|event| (range.from..=range.upto).contains(&event.id));
        self.largest = self.largest.max(inside.clone().count());
        let missing = inside.filter(|event| event.id > range.above || range.xids.contains(&event.xid));
        let wanted = missing.filter(|event| self.about.is_none_or(|row| event.row == row));
        let rows: Vec<Event> = wanted.take(range.rows_max).map(|event| **event).collect();
        let full = rows.len() == range.rows_max;
        Found { upto: if full { rows[rows.len() - 1].id } else { range.upto }, rows }
    }
}
