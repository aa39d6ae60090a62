//! A model of the database: what is visible when.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;

use crate::event::Event;
use crate::source::cursor::{Cursor, Floor};
use crate::source::history::{Earlier, History, HistoryError, Missing, Moment, Passage};
use crate::source::ring::RingLimits;
use crate::source::snapshot::Snapshot;

/// Rows that are written; the row says on which channel.
const ROWS: u64 = 12;
pub(super) const CHANNELS: u64 = 4;

/// The database, as everybody sees it after their own last look.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) history: u64,
    next_xid: u64,
    next_id: i64,
    /// By xid: transactions that have not ended, with what they wrote.
    open: BTreeMap<u64, Vec<Event>>,
    /// What was committed and not removed.
    pub(super) table: Vec<Event>,
    /// What was ever committed.
    pub(super) committed: Vec<Event>,
    pub(super) floor: Option<Floor>,
    /// Snapshots that retention may go back to.
    logged: Vec<Snapshot>,
}

impl Database {
    pub(super) fn new(history: u64) -> Self {
        Self {
            history,
            next_xid: 10,
            next_id: 1,
            open: BTreeMap::new(),
            table: Vec::new(),
            committed: Vec::new(),
            floor: None,
            logged: Vec::new(),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.next_xid, self.open.keys().copied().collect())
    }

    pub(super) fn top(&self) -> i64 {
        let floor = self.floor.as_ref().map_or(0, |floor| floor.top);
        self.table.iter().map(|event| event.id).max().unwrap_or_default().max(floor)
    }

    /// One step of the writers.
    pub(super) fn work(&mut self, random: &mut StdRng) {
        if random.random_range(0..20) == 0 {
            let snapshot = self.snapshot();
            self.logged.push(snapshot);
        }
        let some = self.open.keys().nth(random.random_range(0..5)).copied();
        match (random.random_range(0..10), some) {
            (0..3, _) | (_, None) => {
                let xid = self.next_xid;
                self.next_xid += 1;
                self.open.insert(xid, Vec::new());
            }
            (3..7, Some(xid)) => self.write(xid, random),
            (7..9, Some(xid)) => self.commit(xid),
            (_, Some(xid)) => {
                self.open.remove(&xid);
            }
        }
    }

    fn write(&mut self, xid: u64, random: &mut StdRng) {
        for _ in 0..random.random_range(1..5) {
            let row = random.random_range(0..ROWS).to_string();
            let locked = |(other, events): (&u64, &Vec<Event>)| {
                *other != xid && events.iter().any(|event| *event.payload == *row)
            };
            if self.open.iter().any(locked) {
                continue;
            }
            let channel = row.parse::<u64>().unwrap() % CHANNELS;
            let event = Event {
                id: self.next_id,
                xid,
                channel: channel.to_string().into(),
                event_type: "written".into(),
                payload: row.into(),
                ..Event::default()
            };
            self.next_id += 1;
            self.open.entry(xid).or_default().push(event);
        }
    }

    fn commit(&mut self, xid: u64) {
        let events = self.open.remove(&xid).unwrap_or_default();
        self.table.extend(events.iter().cloned());
        self.committed.extend(events);
    }

    /// Everything open is lost, and so are the xids above the last that was committed; ids never come again.
    pub(super) fn crash(&mut self, random: &mut StdRng) {
        self.open.clear();
        let flushed = self.committed.iter().map(|event| event.xid + 1).max().unwrap_or(10);
        self.next_xid = random.random_range(flushed.min(self.next_xid)..=self.next_xid);
        self.next_id += random.random_range(0..33);
    }

    /// Removes what a snapshot from before sees, if nothing else is in the way.
    pub(super) fn retain(&mut self, random: &mut StdRng) {
        if self.logged.is_empty() {
            return;
        }
        let snapshot = self.logged[random.random_range(0..self.logged.len())].clone();
        if self.floor.as_ref().is_some_and(|floor| !snapshot.covers(&floor.snapshot)) {
            return;
        }
        let (gone, kept): (Vec<Event>, _) = self.table.drain(..).partition(|event| snapshot.sees(event.xid));
        self.table = kept;
        let before = self.floor.as_ref().map_or(0, |floor| floor.top);
        let top = gone.iter().map(|event| event.id).max().unwrap_or_default().max(before);
        self.floor = Some(Floor { snapshot, top });
    }

    /// Ends everything that is open.
    pub(super) fn finish(&mut self) {
        while let Some(xid) = self.open.keys().next().copied() {
            self.commit(xid);
        }
    }
}

/// Reads the model again, with a look at what else happens in between.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Arc<Mutex<Database>>);

impl History for Reader {
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>> {
        async {
            tokio::task::yield_now().await;
            let database = self.0.lock();
            let is_missing = |event: &&Event| missing.names(event.id, event.xid);
            let ids = || database.table.iter().filter(is_missing).map(|event| event.id);
            Ok(Moment {
                history: database.history,
                snapshot: Arc::new(database.snapshot()),
                top: database.top(),
                last_id: database.next_id - 1,
                floor: database.floor.clone(),
                ids: ids().min().zip(ids().max()),
            })
        }
        .boxed()
    }

    fn passage<'a>(
        &'a self,
        _: &'a Missing,
        moment: &'a Moment,
        after: i64,
        _: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>> {
        async move {
            tokio::task::yield_now().await;
            let database = self.0.lock();
            let upto = after + 7;
            let wanted =
                |event: &&Event| event.id > after && event.id <= upto && moment.snapshot.sees(event.xid);
            let mut events: Vec<Event> = database.table.iter().filter(wanted).cloned().collect();
            events.sort_unstable_by_key(|event| event.id);
            Ok(Passage { events, upto, floor: database.floor.clone() })
        }
        .boxed()
    }

    fn earlier<'a>(
        &'a self,
        at: &'a Cursor,
        limits: RingLimits,
    ) -> BoxFuture<'a, Result<Option<Earlier>, HistoryError>> {
        let database = self.0.lock();
        let visible = |event: &&Event| at.contains(event.id, event.xid);
        let mut events: Vec<Event> = database.table.iter().filter(visible).cloned().collect();
        events.sort_unstable_by_key(|event| event.id);
        let (older, events) = events.split_at(events.len().saturating_sub(limits.events));
        let xid = older.iter().map(|event| event.xid).max().unwrap_or_default();
        let earlier = Earlier::new(
            at,
            older.last().map_or(0, |event| event.id),
            xid,
            database.floor.as_ref(),
            events.to_vec(),
        );
        ready(Ok(Some(earlier))).boxed()
    }
}

/// What a new follower counts as seen.
pub(super) fn start(database: &Database) -> Cursor {
    let seen = Arc::new(database.snapshot());
    Cursor { history: database.history, top: database.top(), seen, within: None, left: Vec::new() }
}
