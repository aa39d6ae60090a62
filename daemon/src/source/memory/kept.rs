//! The last events, kept for those who come back.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;

use crate::event::Event;
use crate::source::cursor::Floor;
use crate::source::history::{History, HistoryError, Missing, Moment, Passage};
use crate::source::snapshot::Snapshot;

/// Most events that are kept; the oldest go first.
const EVENTS_MAX: usize = 10_000;

/// Most bytes of payloads that are kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// The events of one memory source.
#[derive(Debug)]
pub(super) struct Kept {
    history: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Without a hole; their ids are their xids.
    events: VecDeque<Event>,
    bytes: usize,
    /// The id of the last event, kept or not.
    last: i64,
}

impl Kept {
    pub(super) fn new(history: u64) -> Self {
        Self { history, state: Mutex::default() }
    }

    /// Keeps events, in order.
    pub(super) fn keep(&self, events: &[Event]) {
        let mut state = self.state.lock();
        for event in events {
            state.bytes += size(event);
            state.last = event.id;
            state.events.push_back(event.clone());
        }
        while state.events.len() > EVENTS_MAX || state.bytes > BYTES_MAX {
            let Some(oldest) = state.events.pop_front() else { break };
            state.bytes -= size(&oldest);
        }
    }
}

fn size(event: &Event) -> usize {
    event.payload.len() + event.old_payload.as_ref().map_or(0, |old| old.len())
}

impl State {
    fn floor(&self) -> Option<Floor> {
        let first = self.events.front().map_or(self.last + 1, |event| event.id);
        let snapshot = || Snapshot::new(first.cast_unsigned(), Vec::new());
        (first > 1).then(|| Floor { snapshot: snapshot(), top: first - 1 })
    }
}

impl History for Kept {
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>> {
        let state = self.state.lock();
        let first = missing.xmax.cast_signed().min(missing.top.saturating_add(1));
        let first = first.max(state.events.front().map_or(i64::MAX, |event| event.id));
        let moment = Moment {
            history: self.history,
            snapshot: Arc::new(Snapshot::new(state.last.cast_unsigned() + 1, Vec::new())),
            top: state.last,
            last_id: state.last,
            floor: state.floor(),
            ids: (first <= state.last).then_some((first, state.last)),
        };
        ready(Ok(moment)).boxed()
    }

    fn passage<'a>(
        &'a self,
        _: &'a Missing,
        moment: &'a Moment,
        after: i64,
        width: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>> {
        let state = self.state.lock();
        let upto = after.saturating_add(width).min(moment.top);
        let events = state.events.iter().filter(|event| event.id > after && event.id <= upto);
        let passage = Passage { events: events.cloned().collect(), upto, floor: state.floor() };
        ready(Ok(passage)).boxed()
    }
}
