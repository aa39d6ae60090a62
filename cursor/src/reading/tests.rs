//! Random schedules of a modelled database, read by pollers with pages of any size. The table is the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Bound, Events, Found, Limits, PARTS_MAX, Range, Row, Swept, can_go_on_from, read};
use crate::cursor::{Cursor, Within};
use crate::snapshot::Snapshot;

const SCHEDULES: u64 = 1_500;
const STEPS: usize = 120;
/// Rows of the table that transactions change: few, so that they wait for each other, or many, so that many write at a time
/// and cursors get many parts.
const TABLE_ROWS: [u64; 2] = [4, 1_000];

/// Small numbers from a seed; good enough to choose among few.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len() as u64) as usize])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    id: i64,
    xid: u64,
    /// The row that it is about; the second writer of a row waits for the first.
    row: u64,
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
struct Database {
    next_xid: u64,
    /// One above the last that ended.
    xmax: u64,
    next_id: i64,
    running: BTreeMap<u64, Vec<Event>>,
    /// By id.
    committed: BTreeMap<i64, Event>,
    /// What a crash takes back to.
    durable_xid: u64,
    durable_id: i64,
}

impl Database {
    fn new() -> Self {
        Self { next_xid: 10, xmax: 10, next_id: 1, durable_xid: 10, durable_id: 1, ..Self::default() }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.xmax, self.running.keys().copied().collect())
    }

    fn begin(&mut self) {
        self.running.insert(self.next_xid, Vec::new());
        self.next_xid += 1;
    }

    fn write(&mut self, xid: u64, row: u64) {
        let locked =
            self.running.iter().any(|(other, events)| *other != xid && events.iter().any(|it| it.row == row));
        if !locked {
            self.running.get_mut(&xid).unwrap().push(Event { id: self.next_id, xid, row });
            self.next_id += 1;
        }
    }

    fn end(&mut self, xid: u64, commit: bool) {
        let events = self.running.remove(&xid).unwrap();
        self.xmax = self.xmax.max(xid + 1);
        if commit {
            self.committed.extend(events.into_iter().map(|event| (event.id, event)));
            (self.durable_xid, self.durable_id) = (self.next_xid, self.next_id);
        }
    }

    /// What did not reach the disk is forgotten, xids and ids alike.
    fn crash(&mut self) {
        self.running.clear();
        (self.next_xid, self.next_id) = (self.durable_xid, self.durable_id);
        self.xmax = self.next_xid;
    }
}

/// What one snapshot sees, but for one's own transaction.
struct Seen<'a> {
    events: Vec<&'a Event>,
    /// The row that the reader asks about; nothing if it asks about all.
    about: Option<u64>,
    /// Events that were looked at by the largest statement.
    largest: usize,
}

impl<'a> Seen<'a> {
    fn of(database: &'a Database, snapshot: &Snapshot, about: Option<u64>) -> Self {
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

/// What a poller has got.
struct Poller {
    about: Option<u64>,
    cursor: String,
    got: Vec<Event>,
}

impl Poller {
    fn got(&mut self, event: Event, cursor: &str) {
        self.got.push(event);
        cursor.clone_into(&mut self.cursor);
    }

    /// A page of any size, or what a stream would bring: a part of the batch, or the whole.
    fn poll(&mut self, database: &Database, now: &Snapshot, random: &mut Random) -> bool {
        let cursor = Cursor::decode(&self.cursor).unwrap();
        let now = Arc::new(now.clone());
        let mut seen = Seen::of(database, &now, self.about);
        if random.below(4) == 0
            && now.covers(&cursor.seen)
            && cursor.parts().all(|it| now.covers(&it.snapshot))
        {
            return self.stream(&cursor, &now, &seen, random);
        }
        let limits = Limits {
            rows: 1 + random.below(3) as usize / 2,
            bytes: 1 + random.below(1_000) as usize,
            ids: 1 + random.below(12) as i64,
            ids_of_statement: 1 + random.below(6) as i64,
            rows_of_statement: 1 + random.below(3) as usize,
            events_by_transaction: 1 + random.below(5) as usize,
            parts: 2 + random.below(7) as usize,
        };
        assert!(can_go_on_from(&cursor));
        let page = read(cursor, &now, &limits, &mut seen);
        assert!(page.rows.len() <= limits.rows && seen.largest as i64 <= limits.ids_of_statement);
        assert!(page.rows.is_sorted_by_key(|(event, _)| event.id));
        // The reader may stop after any row.
        let taken = if random.below(3) == 0 { random.below(4) as usize } else { usize::MAX };
        let whole = taken >= page.rows.len();
        page.rows.iter().take(taken).for_each(|(event, cursor)| self.got(*event, cursor));
        if whole {
            page.end.as_ref().clone_into(&mut self.cursor);
        }
        page.more || !whole
    }

    fn stream(&mut self, cursor: &Cursor, now: &Arc<Snapshot>, seen: &Seen<'_>, random: &mut Random) -> bool {
        let lacks = |event: &&&Event| !cursor.contains(event.id, event.xid);
        let batch: Vec<&&Event> = seen.events.iter().filter(lacks).collect();
        let taken = random.below(batch.len() as u64 + 1) as usize;
        if taken < batch.len() && cursor.parts().count() + 1 >= PARTS_MAX {
            return true;
        }
        let about = self.about;
        for event in batch[..taken].iter().filter(|event| about.is_none_or(|row| event.row == row)) {
            self.got(***event, &cursor.up_to(event.id, now).encode());
        }
        if taken == batch.len() {
            let top = seen.events.last().map_or(0, |event| event.id).max(cursor.top);
            let seen = now.clone();
            self.cursor =
                Cursor { history: 7, top, seen, within: None, left: Vec::new() }.encode().to_string();
        }
        taken < batch.len()
    }

    fn check(&self, seed: u64) {
        let ids: BTreeSet<i64> = self.got.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), self.got.len(), "seed {seed}: an event came twice: {:?}", self.got);
        for row in 0..TABLE_ROWS[0] {
            let of_row: Vec<i64> = self.got.iter().filter(|it| it.row == row).map(|it| it.id).collect();
            assert!(of_row.is_sorted(), "seed {seed}: versions of row {row} out of order: {of_row:?}");
        }
    }
}

/// The most parts of a cursor, and how many pages were asked for with one of an earlier time.
fn run(seed: u64) -> (usize, usize) {
    let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut database = Database::new();
    let first =
        Cursor { history: 7, top: 0, seen: Arc::new(database.snapshot()), within: None, left: Vec::new() };
    let first = first.encode().to_string();
    let rows = TABLE_ROWS[seed as usize % 2];
    if seed % 2 == 1 {
        (0..12).for_each(|_| database.begin());
        (0..4).for_each(|_| (10..22).for_each(|xid| database.write(xid, random.below(rows))));
    }
    let mut pollers =
        [None, None, Some(0)].map(|about| Poller { about, cursor: first.clone(), got: Vec::new() });
    let (mut parts, mut old_pages) = (0, 0);
    // The snapshot of a long transaction that polls, too.
    let mut old: Option<Snapshot> = None;
    for _ in 0..STEPS {
        let running: Vec<u64> = database.running.keys().copied().collect();
        match random.below(20) {
            0..3 => database.begin(),
            3..10 => {
                if let Some(xid) = random.pick(&running) {
                    database.write(xid, random.below(rows));
                }
            }
            10..13 => {
                if let Some(xid) = random.pick(&running) {
                    database.end(xid, random.below(5) > 0);
                }
            }
            13 if random.below(4) == 0 => {
                database.crash();
                old = None;
            }
            14 => old = Some(database.snapshot()),
            _ => {
                let now = match &old {
                    Some(old) if random.below(3) == 0 => {
                        old_pages += 1;
                        old.clone()
                    }
                    _ => database.snapshot(),
                };
                let poller = &mut pollers[random.below(3) as usize];
                poller.poll(&database, &now, random);
                poller.check(seed);
                parts = parts.max(Cursor::decode(&poller.cursor).unwrap().parts().count());
            }
        }
    }
    let rest: Vec<u64> = database.running.keys().copied().collect();
    rest.into_iter().for_each(|xid| database.end(xid, true));
    for poller in &mut pollers {
        let now = database.snapshot();
        let mut pages = 0;
        while poller.poll(&database, &now, random) {
            pages += 1;
            assert!(pages < 20_000, "seed {seed}: no end");
        }
        poller.check(seed);
        let wanted = database.committed.values().filter(|it| poller.about.is_none_or(|row| it.row == row));
        assert_eq!(poller.got.len(), wanted.count(), "seed {seed}: {:?}", poller.cursor);
    }
    (parts, old_pages)
}

#[test]
fn whatever_the_pages_each_event_comes_once_and_each_rows_in_order() {
    let runs: Vec<(usize, usize)> = (0..SCHEDULES).map(run).collect();
    let parts = runs.iter().map(|(parts, _)| *parts).max().unwrap();
    let old_pages: usize = runs.iter().map(|(_, pages)| pages).sum();
    println!("{SCHEDULES} schedules, up to {parts} parts in a cursor, {old_pages} pages of an old snapshot");
    assert!(parts > 4 && old_pages > 1_000, "the schedules meet nothing interesting");
}

#[test]
fn a_set_of_as_many_parts_as_fit_is_read_on() {
    // Each transaction was running when the part above it was made, and has events beyond the part below.
    let mut database = Database::new();
    (0..30).for_each(|_| database.begin());
    for _ in 0..4 {
        (10..40).for_each(|xid| database.write(xid, 1_000 + database.next_id as u64));
    }
    let top = database.next_id - 1;
    let mut parts = Vec::new();
    for number in 0..PARTS_MAX as i64 {
        database.end(10 + number as u64, true);
        parts.push(Within { snapshot: Arc::new(database.snapshot()), upto: top - 5 * number - 1 });
    }
    (25..40).for_each(|xid| database.end(xid, true));
    let mut parts = parts.into_iter();
    let within = parts.next();
    let mut cursor = Cursor {
        history: 7,
        top: 0,
        seen: Arc::new(Snapshot::new(10, Vec::new())),
        within,
        left: parts.collect(),
    };
    let lacks: Vec<i64> =
        database.committed.values().filter(|it| !cursor.contains(it.id, it.xid)).map(|it| it.id).collect();
    let now = Arc::new(database.snapshot());
    let limits = Limits {
        rows: 1,
        bytes: 100,
        ids: 1_000,
        ids_of_statement: 10,
        rows_of_statement: 10,
        events_by_transaction: 1_000,
        parts: 8,
    };
    let mut got = Vec::new();
    loop {
        let page = read(cursor, &now, &limits, &mut Seen::of(&database, &now, None));
        got.extend(page.rows.iter().map(|(event, _)| event.id));
        cursor = Cursor::decode(&page.end).unwrap();
        if !page.more {
            break;
        }
    }
    got.sort_unstable();
    assert_eq!(got, lacks);
}
