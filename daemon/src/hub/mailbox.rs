//! The mailbox: the bounded queue between the dispatcher and one connection.

mod queue;

mod state;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use state::{State, size};
use tokio::sync::Notify;

use super::entry::Entry;
use super::initial::Initial;
use super::later::Later;
use super::outlet::{Outlet, Returned};

pub use super::delivery::{Bounds, CursorText, Delivery, EndReason, SubscriptionId, give_back};

/// How much a mailbox holds. When a result does not fit, its subscription ends with
/// [`EndReason::SlowConsumer`] after what is in the mailbox already; nothing is dropped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Results.
    pub messages: usize,
    /// Bytes of results, counted for each mailbox although they are shared.
    pub bytes: usize,
}

impl Default for MailboxLimits {
    /// A burst of 10,000 small results fits; a client that stalls pins at most 8 MiB.
    fn default() -> Self {
        Self { messages: 10_000, bytes: 8 * 1024 * 1024 }
    }
}

/// The queue of one connection.
#[derive(Debug)]
#[repr(C)]
pub struct Mailbox {
    limits: MailboxLimits,
    /// Who waits for it to be emptied; mostly nobody.
    waiting: AtomicUsize,
    state: Mutex<State>,
    /// Somebody has read, or need not wait any more.
    emptied: Notify,
}

/// The mailbox had no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Mailbox {
    /// An empty mailbox.
    pub fn new(limits: MailboxLimits) -> Self {
        Self { limits, state: Mutex::default(), emptied: Notify::new(), waiting: AtomicUsize::new(0) }
    }

    /// Adds a result of the event with this running number. True if the outlet has to write it now.
    ///
    /// # Errors
    ///
    /// If the mailbox is full; it is left as it was.
    pub fn push_next(
        &self,
        subscription: SubscriptionId,
        result: &Bytes,
        cursor: &CursorText,
        event: u64,
    ) -> Result<bool, Full> {
        let mut state = self.state.lock();
        // A single result larger than the whole mailbox fits an empty one: refusing it would end
        // every subscription that it matches, however fast the client reads.
        let fits = state.len() < self.limits.messages
            && state.bytes + size(result) <= self.limits.bytes.cast_signed();
        if !fits && state.len() > 0 {
            return Err(Full);
        }
        state.bytes += size(result);
        state.last_event = event;
        let delivery = Delivery::Next { subscription, result: result.clone(), cursor: cursor.clone() };
        state.queue.push(Entry::Now(delivery));
        if state.is_lent {
            return Ok(!std::mem::replace(&mut state.is_due, true));
        }
        wake(state);
        Ok(false)
    }

    /// Adds the place of a result that is still being made, of the event with this running number. Its
    /// bytes count once they are there.
    ///
    /// # Errors
    ///
    /// If the mailbox is full; it is left as it was.
    pub(super) fn push_later(self: &Arc<Self>, later: Later, event: u64) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.len() >= self.limits.messages || state.bytes > self.limits.bytes.cast_signed() {
            return Err(Full);
        }
        state.bytes += later.slot.watch(self).unwrap_or(0).cast_signed();
        state.later += 1;
        state.last_event = event;
        self.append(state, Entry::Later(later));
        Ok(())
    }

    /// Whether no further message fits.
    pub fn is_full(&self) -> bool {
        self.state.lock().len() >= self.limits.messages
    }

    /// Adds the place of the rows that a subscription begins with. Ask [`Mailbox::is_full`] before.
    pub(super) fn push_initial(&self, subscription: SubscriptionId, initial: &Arc<Initial>) {
        let mut state = self.state.lock();
        state.later += 1;
        state.places += 1;
        self.append(state, Entry::Initial { subscription, initial: initial.clone() });
    }

    /// Adds the result of an event that was missed, to what comes before the stream. Takes no more than half of the
    /// mailbox, so that the stream has the other.
    ///
    /// # Errors
    ///
    /// If that is full; the mailbox is left as it was.
    pub(super) fn push_replayed(self: &Arc<Self>, initial: &Initial, entry: Entry) -> Result<(), Full> {
        let mut state = self.state.lock();
        let bytes = match &entry {
            Entry::Now(Delivery::Next { result, .. }) => size(result),
            Entry::Now(_) | Entry::Later(_) | Entry::Initial { .. } => 0,
        };
        let fits = state.replayed < self.limits.messages.div_ceil(2)
            && state.bytes + bytes <= self.limits.bytes.cast_signed();
        // As above, a single large one fits whenever others would be waited for in vain.
        if !fits && !state.has_room(self.limits) {
            return Err(Full);
        }
        state.bytes += bytes;
        if let Entry::Later(later) = &entry {
            state.bytes += later.slot.watch(self).unwrap_or(0).cast_signed();
        }
        state.replayed += 1;
        initial.replayed.lock().push_back(entry);
        wake(state);
        Ok(())
    }

    /// Drops what the stream has put behind the place of what comes first: it is to be read again.
    pub(super) fn forget_stream(&self, subscription: SubscriptionId, initial: &Arc<Initial>) {
        let mut state = self.state.lock();
        let State { queue, held, held_entries, bytes, .. } = &mut *state;
        let mut behind = false;
        let mut stays = |entry: &Entry| {
            if entry.subscription() != subscription {
                return true;
            }
            if let Entry::Initial { initial: found, .. } = entry {
                behind |= Arc::ptr_eq(found, initial);
                return true;
            }
            let Entry::Later(later) = entry else { return true };
            // What is not settled yet will be dropped when it is.
            let Some(size) = later.slot.bytes().filter(|_| behind && later.unless.is_some()) else {
                return true;
            };
            *bytes -= size.cast_signed();
            false
        };
        if let Some(entries) = held.get_mut(&subscription) {
            let before = entries.len();
            entries.retain(&mut stays);
            *held_entries -= before - entries.len();
        }
        queue.retain(&mut stays);
        drop(state);
        self.emptied.notify_waiters();
    }

    /// Waits until at least half of it is empty, for as long as that is wanted; [`Mailbox::wake_waiting`] has it look.
    pub(super) async fn room(&self, wanted: impl Fn() -> bool) {
        let _waiting = Waiting::of(&self.waiting);
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            // From here on no call is missed.
            emptied.as_mut().enable();
            if self.has_room() || !wanted() {
                return;
            }
            emptied.await;
        }
    }

    /// Whether at least half of it is empty.
    pub(super) fn has_room(&self) -> bool {
        self.state.lock().has_room(self.limits)
    }

    /// Lets those look again who wait for room.
    pub(super) fn wake_waiting(&self) {
        self.emptied.notify_waiters();
    }

    /// Makes room for rows, unless what waits already leaves none.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), Full> {
        let mut state = self.state.lock();
        let bytes = bytes.cast_signed();
        if state.bytes > 0 && state.bytes + bytes > self.limits.bytes.cast_signed() {
            return Err(Full);
        }
        state.bytes += bytes;
        Ok(())
    }

    /// Something that this mailbox waits for is there, and takes this many bytes.
    pub(super) fn settled(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes += bytes.cast_signed();
        wake(state);
    }

    /// Adds the end of a subscription. Always fits: a subscription ends only once.
    pub fn push_end(&self, subscription: SubscriptionId, reason: EndReason, cursor: &CursorText) {
        let state = self.state.lock();
        self.append(state, Entry::Now(Delivery::End { subscription, reason, cursor: cursor.clone() }));
    }

    fn append(&self, mut state: MutexGuard<'_, State>, entry: Entry) {
        state.queue.push(entry);
        wake(state);
    }

    /// A way into the socket that the reader can lend, see [`Mailbox::drain`].
    pub fn set_outlet(&self, outlet: Arc<dyn Outlet>) {
        self.state.lock().outlet = Some(outlet);
    }

    /// The outlet is the reader's again. To be called before the reader writes anything.
    pub fn take_back(&self) -> Returned {
        self.state.lock().take_back()
    }

    /// There is no such way any more, and nothing that keeps the socket open.
    pub fn drop_outlet(&self) {
        let mut state = self.state.lock();
        state.take_back();
        state.outlet = None;
    }

    /// Writes what waits by the outlet, if it is lent: how many results. `room` is empty, and is again.
    pub fn write_by_outlet(&self, now: Instant, room: &mut Vec<Delivery>) -> usize {
        let mut state = self.state.lock();
        state.is_due = false;
        // If it is not lent any more, the reader is awake and finds what waits.
        if !state.is_lent || state.len() == 0 {
            return 0;
        }
        let written = if state.has_results_alone() { state.write_by_outlet(now, room) } else { 0 };
        if written == 0 || state.has_rest() {
            wake(state);
        } else {
            drop(state);
        }
        self.tell_waiting();
        written
    }

    /// Waits until there is something, then moves all of it that is ready to the end of `into`. While it waits, the
    /// outlet is lent if the reader `lends` it; nothing is moved if it came back with something to be written.
    /// Cancel-safe. One reader waits at a time.
    pub async fn drain(&self, into: &mut Vec<Delivery>, lends: bool) {
        poll_fn(|cx| {
            let before = into.len();
            let mut state = self.state.lock();
            if state.has_rest() {
                return Poll::Ready(());
            }
            state.take_ready(into);
            let waits = into.len() == before;
            if waits && state.reader.as_ref().is_none_or(|reader| !reader.will_wake(cx.waker())) {
                state.reader = Some(cx.waker().clone());
            }
            if waits && lends {
                state.lend();
            } else {
                // What was taken is to be written first, so nothing may be written past the reader from here on.
                state.is_lent = false;
            }
            drop(state);
            // Also if nothing comes of what is taken, others have room now.
            self.tell_waiting();
            if waits { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Moves all of it that is ready to the end of `into`, without waiting. The outlet is the reader's again.
    pub fn take(&self, into: &mut Vec<Delivery>) {
        let mut state = self.state.lock();
        state.is_lent = false;
        state.take_ready(into);
        drop(state);
        self.tell_waiting();
    }

    fn tell_waiting(&self) {
        // Whoever has come to wait after the lock was released has seen that there is room.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.emptied.notify_waiters();
        }
    }

    /// Whether something of a subscription is here that is not ready.
    pub fn holds(&self, subscription: SubscriptionId) -> bool {
        self.state.lock().held.contains_key(&subscription)
    }

    /// Whether nothing waits here and nothing later than the event of this number ever came: then
    /// the connection has seen all that there was for it up to that event.
    pub fn is_quiet_since(&self, event: u64) -> bool {
        let state = self.state.lock();
        state.len() == 0 && state.replayed == 0 && state.last_event <= event
    }
}

/// Wakes who reads, outside of the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// One of those who wait for room, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
