//! The last events that the source handed over, in memory: whoever was away for a moment costs the table nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Batch;
use super::cursor::{Cursor, Floor};
use super::history::{Earlier, Missing, Moment, Passage};
use super::snapshot::Snapshot;
use crate::event::Event;

/// What an event takes besides its texts, in bytes.
const EVENT_BYTES: usize = 256;

/// What events that go together take besides, and each transaction that was running then.
const PAGE_BYTES: usize = 512;
const RUNNING_BYTES: usize = size_of::<u64>();

/// Events of what came before that go together when there is no more room.
const CHUNK: usize = 500;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct RingLimits {
    /// Most events; none keeps nothing.
    pub events: usize,
    /// Most bytes of them.
    pub bytes: usize,
}

impl Default for RingLimits {
    fn default() -> Self {
        Self { events: 10_000, bytes: 16 * 1024 * 1024 }
    }
}

/// The last events, without a hole between two sets.
#[derive(Debug)]
pub struct Ring {
    limits: RingLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Every event of `end` that is not in this set is here. Nothing while that set has no short name: before the
    /// start, and while the pages of one batch go one after the other.
    start: Option<Cursor>,
    /// What has been handed over. Nothing in the middle of a batch.
    end: Option<Cursor>,
    pages: VecDeque<Page>,
    events: usize,
    bytes: usize,
}

/// Events that go together.
#[derive(Debug)]
struct Page {
    batch: Arc<Batch>,
    /// What has been seen with them, if that has a short name.
    end: Option<Cursor>,
    bytes: usize,
}

impl Ring {
    /// An empty one.
    pub fn new(limits: RingLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// How much it keeps.
    pub fn limits(&self) -> RingLimits {
        self.limits
    }

    /// Forgets everything and starts at a cursor.
    pub fn start(&self, at: &Cursor) {
        *self.state.lock() = State { start: Some(at.clone()), end: Some(at.clone()), ..State::default() };
    }

    /// Keeps what happened before the cursor at which it started, if it has room for nothing older by now.
    pub fn precede(&self, at: &Cursor, earlier: Earlier) {
        let mut state = self.state.lock();
        if state.start.as_ref() != Some(at) {
            return;
        }
        let Earlier { before, events } = earlier;
        let mut pages = Vec::new();
        let (mut start, mut events) = (before.clone(), events.into_iter().peekable());
        while events.peek().is_some() {
            let events: Vec<Event> = events.by_ref().take(CHUNK).collect();
            let batch = Batch { events, start: start.clone(), snapshot: at.seen.clone(), last: true };
            start = end_within(&start, &batch, at);
            pages.push(Page::new(batch.into(), Some(start.clone())));
        }
        pages.into_iter().rev().for_each(|page| state.push_front(page));
        state.start = Some(before);
        state.make_room(self.limits);
    }

    /// How many events it keeps, and bytes of them.
    pub fn size(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.events, state.bytes)
    }

    /// Keeps a batch.
    pub fn push(&self, batch: &Arc<Batch>) {
        let mut state = self.state.lock();
        let end = batch.last.then(|| batch.end());
        state.end.clone_from(&end);
        if !batch.events.is_empty() {
            state.push_back(Page::new(batch.clone(), end));
            state.make_room(self.limits);
        }
    }

    /// Whether everything is here that may be missing, and nobody knows more than is here.
    pub fn holds(&self, missing: &Missing) -> bool {
        self.state.lock().holds(missing)
    }

    /// The moment of the last batch, if everything is here that is missing of it.
    pub fn moment(&self, missing: &Missing) -> Option<Moment> {
        let state = self.state.lock();
        state.holds(missing).then(|| state.moment(missing, None)).flatten()
    }

    /// The moment of the last batch, whether or not everything is here: there is nowhere else to look.
    pub fn last_moment(&self, missing: &Missing) -> Option<Moment> {
        let state = self.state.lock();
        state.moment(missing, state.floor())
    }

    /// What is missing of a moment, in the order of ids, if it is here.
    pub fn passage(&self, missing: &Missing, moment: &Moment, after: i64, width: i64) -> Option<Passage> {
        let state = self.state.lock();
        let here = state.holds(missing) && state.reaches(moment);
        here.then(|| state.passage(missing, moment, after, width, None))
    }

    /// What of it is here.
    pub fn last_passage(&self, missing: &Missing, moment: &Moment, after: i64, width: i64) -> Passage {
        let state = self.state.lock();
        state.passage(missing, moment, after, width, state.floor())
    }
}

/// What has been seen with a part of what happened before a cursor, as short as it can be said: more than was seen,
/// never less.
fn end_within(start: &Cursor, batch: &Batch, at: &Cursor) -> Cursor {
    let xid = batch.events.iter().map(|event| event.xid).max().unwrap_or_default();
    let xmax = start.seen.xmax().max(xid.saturating_add(1));
    let running = at.seen.in_progress().iter().filter(|xid| !start.seen.sees(**xid)).copied().collect();
    let top = batch.events.last().map_or(start.top, |event| event.id.max(start.top));
    Cursor { top, seen: Arc::new(Snapshot::new(xmax, running)), ..start.clone() }
}

impl Page {
    fn new(batch: Arc<Batch>, end: Option<Cursor>) -> Self {
        let running = batch.snapshot.in_progress().len() * RUNNING_BYTES;
        let bytes = PAGE_BYTES + running + batch.events.iter().map(size).sum::<usize>();
        Self { batch, end, bytes }
    }
}

fn size(event: &Event) -> usize {
    let texts = [&event.old_payload, &event.metadata].into_iter().flatten();
    EVENT_BYTES + event.payload.len() + texts.map(|text| text.len()).sum::<usize>()
}

impl State {
    fn push_back(&mut self, page: Page) {
        self.events += page.batch.events.len();
        self.bytes += page.bytes;
        self.pages.push_back(page);
    }

    fn push_front(&mut self, page: Page) {
        self.events += page.batch.events.len();
        self.bytes += page.bytes;
        self.pages.push_front(page);
    }

    fn make_room(&mut self, limits: RingLimits) {
        while self.events > limits.events || self.bytes > limits.bytes {
            let Some(page) = self.pages.pop_front() else { return };
            self.events -= page.batch.events.len();
            self.bytes -= page.bytes;
            self.start = page.end;
        }
    }

    fn holds(&self, missing: &Missing) -> bool {
        let (Some(start), Some(end)) = (&self.start, &self.end) else { return false };
        let unseen = |xid: &u64| !start.seen.sees(*xid);
        missing.history == Some(end.history)
            && missing.newest <= end.top
            && end.seen.covers(&missing.known)
            && missing.top >= start.top
            && missing.xmax >= start.seen.xmax()
            && missing.running.iter().all(unseen)
    }

    /// Whether what has been handed over goes as far as a moment.
    fn reaches(&self, moment: &Moment) -> bool {
        self.end.as_ref().is_some_and(|end| end.top >= moment.top && end.seen.covers(&moment.snapshot))
    }

    /// What is gone for good, where nobody else keeps it.
    fn floor(&self) -> Option<Floor> {
        let start = self.start.as_ref().filter(|start| start.top > 0)?;
        Some(Floor { snapshot: (*start.seen).clone(), top: start.top })
    }

    fn moment(&self, missing: &Missing, floor: Option<Floor>) -> Option<Moment> {
        let end = self.end.as_ref()?;
        let ids = || self.missing(missing).map(|event| event.id);
        Some(Moment {
            history: end.history,
            snapshot: end.seen.clone(),
            top: end.top,
            last_id: end.top,
            floor,
            ids: ids().min().zip(ids().max()),
        })
    }

    fn passage(
        &self,
        missing: &Missing,
        moment: &Moment,
        after: i64,
        width: i64,
        floor: Option<Floor>,
    ) -> Passage {
        let upto = after.saturating_add(width).min(moment.ids.map_or(after, |(_, last)| last));
        let wanted = |event: &&Event| event.id > after && event.id <= upto && moment.snapshot.sees(event.xid);
        let mut events: Vec<Event> = self.missing(missing).filter(wanted).cloned().collect();
        events.sort_unstable_by_key(|event| event.id);
        Passage { events, upto, floor }
    }

    fn missing(&self, missing: &Missing) -> impl Iterator<Item = &Event> {
        let events = self.pages.iter().flat_map(|page| &page.batch.events);
        events.filter(|event| missing.names(event.id, event.xid))
    }
}
