//! What a mailbox holds, and in which order it is taken out.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use super::MailboxLimits;
use super::queue::Queue;
use crate::hub::delivery::{self, CursorText, Delivery, SubscriptionId};
use crate::hub::entry::Entry;
use crate::hub::initial::{Begun, Initial, Rows};
use crate::hub::outlet::{Outlet, Returned};

/// What every delivery looks at comes first: the fewer cache lines it is spread over, the better.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct State {
    /// Whether the outlet may be taken: the reader waits, and has nothing to write.
    pub(super) is_lent: bool,
    /// Whether somebody is about to take it.
    pub(super) is_due: bool,
    /// The way into the socket, if there is one besides the reader's.
    pub(super) outlet: Option<Arc<dyn Outlet>>,
    /// When something was last written by it, until the reader is told.
    written: Option<Instant>,
    /// Bytes of all results that are there, those in slots too. Signed: a reader may take the result of a
    /// slot in the moment before [`Mailbox::settled`] counts it.
    pub(super) bytes: isize,
    /// Number of the event that was pushed last, see [`Mailbox::is_quiet_since`].
    pub(super) last_event: u64,
    /// How many entries of the queue are not [`Entry::Now`].
    pub(super) later: usize,
    pub(super) held_entries: usize,
    /// Events that were missed and wait before the stream, see [`Initial::replayed`].
    pub(super) replayed: usize,
    /// What has not been looked at yet.
    pub(super) queue: Queue<Entry>,
    /// Who waits for something to be here.
    pub(super) reader: Option<Waker>,
    /// By subscription: what waits because its first is still being made. None is empty.
    pub(super) held: HashMap<SubscriptionId, VecDeque<Entry>>,
    /// How many entries are [`Entry::Initial`].
    pub(super) places: usize,
    /// What was not written by the outlet.
    rest: Vec<u8>,
}

/// No allocation is larger than an `isize`.
pub(super) fn size(result: &Bytes) -> isize {
    result.len().cast_signed()
}

impl State {
    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.queue.len() + self.held_entries
    }

    pub(super) fn has_room(&self, limits: MailboxLimits) -> bool {
        self.len() - self.places + self.replayed <= limits.messages / 2
            && self.bytes <= limits.bytes.cast_signed() / 2
    }

    /// Whether all that waits is results that are there.
    pub(super) fn has_results_alone(&self) -> bool {
        let is_result = |entry: &Entry| matches!(entry, Entry::Now(Delivery::Next { .. }));
        self.later == 0 && self.held_entries == 0 && self.replayed == 0 && self.queue.iter().all(is_result)
    }

    /// Lends the outlet, if there is one.
    pub(super) fn lend(&mut self) {
        self.is_lent = self.outlet.is_some();
    }

    /// Takes the outlet back.
    pub(super) fn take_back(&mut self) -> Returned {
        self.is_lent = false;
        Returned { rest: std::mem::take(&mut self.rest), written: self.written.take() }
    }

    /// Whether the outlet came back with something to be written.
    pub(super) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Writes what waits by the outlet, which is lent: how many results. If something is left, it is lent no more.
    pub(super) fn write_by_outlet(&mut self, now: Instant, room: &mut Vec<Delivery>) -> usize {
        let Some(outlet) = self.outlet.take() else { return 0 };
        self.take_ready(room);
        let rest = outlet.write(room);
        self.outlet = Some(outlet);
        self.written = Some(now);
        if !rest.is_empty() {
            self.is_lent = false;
            self.rest = rest;
        }
        let count = room.len();
        room.clear();
        count
    }

    /// Takes what is ready. A result that is still being made holds back its own subscription only.
    pub(super) fn take_ready(&mut self, into: &mut Vec<Delivery>) {
        if into.capacity() == 0 && self.len() + self.replayed > 0 {
            *into = delivery::room();
        }
        // The usual case, which every delivery passes through.
        if self.later == 0 && self.held_entries == 0 {
            let mut taken = 0;
            into.extend(self.queue.drain().filter_map(|entry| match entry {
                Entry::Now(delivery) => {
                    if let Delivery::Next { result, .. } = &delivery {
                        taken += size(result);
                    }
                    Some(delivery)
                }
                Entry::Later(_) | Entry::Initial { .. } => None,
            }));
            self.bytes -= taken;
            // A burst must not pin its high-water mark for the life of the connection.
            self.queue.shrink();
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.retain(|_, entries| {
            while let Some(entry) = entries.pop_front() {
                if let Some(waiting) = self.take_entry(entry, into) {
                    entries.push_front(waiting);
                    return true;
                }
                self.held_entries -= 1;
            }
            false
        });
        self.later = 0;
        for entry in std::mem::take(&mut self.queue).drain() {
            let subscription = entry.subscription();
            let waiting = match held.get_mut(&subscription) {
                Some(before) => {
                    before.push_back(entry);
                    self.held_entries += 1;
                    continue;
                }
                None => self.take_entry(entry, into),
            };
            if let Some(waiting) = waiting {
                held.insert(subscription, VecDeque::from([waiting]));
                self.held_entries += 1;
            }
        }
        self.held = held;
    }

    /// Takes an entry, or gives it back if it is not ready.
    fn take_entry(&mut self, entry: Entry, into: &mut Vec<Delivery>) -> Option<Entry> {
        match entry {
            Entry::Now(delivery) => {
                if let Delivery::Next { result, .. } = &delivery {
                    self.bytes -= size(result);
                }
                into.push(delivery);
            }
            Entry::Later(later) => match later.settled() {
                Some((bytes, delivery)) => {
                    self.bytes -= bytes.cast_signed();
                    into.extend(delivery);
                }
                None => return Some(Entry::Later(later)),
            },
            Entry::Initial { subscription, initial } => {
                match self.take_replayed(&initial, into).then(|| initial.take()).flatten() {
                    Some(Begun::Rows(rows, cursor)) => self.begin(subscription, &rows, &cursor, into),
                    Some(Begun::Replayed) => {}
                    Some(Begun::Failed(reason, cursor)) => {
                        into.push(Delivery::End { subscription, reason, cursor });
                    }
                    None => return Some(Entry::Initial { subscription, initial }),
                }
                self.places -= 1;
            }
        }
        None
    }

    /// Takes the events that were missed, as far as they are ready. True if none is left.
    fn take_replayed(&mut self, initial: &Initial, into: &mut Vec<Delivery>) -> bool {
        let mut replayed = initial.replayed.lock();
        while let Some(entry) = replayed.pop_front() {
            if let Some(waiting) = self.take_entry(entry, into) {
                replayed.push_front(waiting);
                return false;
            }
            self.replayed -= 1;
        }
        // A burst must not pin its high-water mark.
        replayed.shrink_to(64);
        true
    }

    /// Takes the rows that a subscription begins with. The last of them is where it can be resumed.
    fn begin(
        &mut self,
        subscription: SubscriptionId,
        rows: &Rows,
        cursor: &CursorText,
        into: &mut Vec<Delivery>,
    ) {
        for (index, result) in rows.iter().enumerate() {
            self.bytes -= size(result);
            let cursor = if index + 1 == rows.len() { cursor.clone() } else { "".into() };
            into.push(Delivery::Whole { subscription, result: result.clone(), cursor });
        }
        into.push(Delivery::Begun { subscription, rows: rows.len(), cursor: cursor.clone() });
    }
}
