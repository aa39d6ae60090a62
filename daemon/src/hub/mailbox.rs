//! The mailbox: the bounded queue between the dispatcher and one connection.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::promise::Slot;

/// Number of a subscription, unique within its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub u64);

/// The text of a cursor as clients see it: base64url, shared by all who got the same event.
pub type CursorText = Arc<str>;

/// What a connection finds in its mailbox.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// One result of a subscription.
    Next {
        /// The subscription that it belongs to.
        subscription: SubscriptionId,
        /// The result, shared by everybody who gets it: a JSON object without its closing brace.
        result: Bytes,
        /// Where the subscription stands once this result has been seen.
        cursor: CursorText,
    },
    /// A subscription is live, told before its first result to a client that asked.
    Acknowledgement {
        /// The subscription that it belongs to.
        subscription: SubscriptionId,
        /// What the client is told: a complete result without data.
        result: Bytes,
        /// Where the subscription starts.
        cursor: CursorText,
    },
    /// The hub ended a subscription; nothing follows for it.
    End {
        /// The subscription that ended.
        subscription: SubscriptionId,
        /// Why.
        reason: EndReason,
        /// Where the subscription stood: everything before it has been delivered.
        cursor: CursorText,
    },
}

impl Delivery {
    /// The subscription that it belongs to.
    pub fn subscription(&self) -> SubscriptionId {
        match self {
            Self::Next { subscription, .. }
            | Self::Acknowledgement { subscription, .. }
            | Self::End { subscription, .. } => *subscription,
        }
    }
}

/// Why the hub ended a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The mailbox was full: `SLOW_CONSUMER`.
    SlowConsumer,
    /// The source's history was replaced under us: `CURSOR_HISTORY_CHANGED`.
    HistoryChanged,
    /// Retention removed events before the source fetched them: `CURSOR_EXPIRED`.
    Expired,
    /// A schema change made the document invalid: `SCHEMA_CHANGED`.
    SchemaChanged,
}

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
pub struct Mailbox {
    limits: MailboxLimits,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Entry>,
    /// How many entries are [`Entry::Later`].
    later: usize,
    /// Bytes of all results that are there, those in slots too. Signed: a reader may take the result of a
    /// slot in the moment before [`Mailbox::settled`] counts it.
    bytes: isize,
    /// Number of the event that was pushed last, see [`Mailbox::is_quiet_since`].
    last_event: u64,
}

/// A delivery, or the place of one whose result is still being made.
#[derive(Debug)]
enum Entry {
    Now(Delivery),
    Later { subscription: SubscriptionId, slot: Arc<Slot>, cursor: CursorText },
}

impl Entry {
    fn subscription(&self) -> SubscriptionId {
        match self {
            Self::Now(delivery) => delivery.subscription(),
            Self::Later { subscription, .. } => *subscription,
        }
    }
}

/// The mailbox had no room.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Mailbox {
    /// An empty mailbox.
    pub fn new(limits: MailboxLimits) -> Self {
        Self { limits, state: Mutex::default(), filled: Notify::new() }
    }

    /// Adds a result of the event with this running number.
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
    ) -> Result<(), Full> {
        let mut state = self.state.lock();
        // A single result larger than the whole mailbox fits an empty one: refusing it would end
        // every subscription that it matches, however fast the client reads.
        let fits = state.queue.len() < self.limits.messages
            && state.bytes + size(result) <= self.limits.bytes.cast_signed();
        if !fits && !state.queue.is_empty() {
            return Err(Full);
        }
        state.bytes += size(result);
        state.last_event = event;
        let delivery = Delivery::Next { subscription, result: result.clone(), cursor: cursor.clone() };
        self.append(state, Entry::Now(delivery));
        Ok(())
    }

    /// Adds the place of a result that is still being made. Its bytes count once they are there.
    ///
    /// # Errors
    ///
    /// If the mailbox is full; it is left as it was.
    pub fn push_later(
        self: &Arc<Self>,
        subscription: SubscriptionId,
        slot: &Arc<Slot>,
        cursor: &CursorText,
        event: u64,
    ) -> Result<(), Full> {
        let mut state = self.state.lock();
        if state.queue.len() >= self.limits.messages || state.bytes > self.limits.bytes.cast_signed() {
            return Err(Full);
        }
        state.bytes += slot.watch(self).unwrap_or(0).cast_signed();
        state.later += 1;
        state.last_event = event;
        self.append(state, Entry::Later { subscription, slot: slot.clone(), cursor: cursor.clone() });
        Ok(())
    }

    /// A slot that this mailbox waits for has got its result.
    pub(super) fn settled(&self, bytes: usize) {
        self.state.lock().bytes += bytes.cast_signed();
        self.filled.notify_one();
    }

    /// Adds the end of a subscription. Always fits: a subscription ends only once.
    pub fn push_end(&self, subscription: SubscriptionId, reason: EndReason, cursor: &CursorText) {
        let state = self.state.lock();
        self.append(state, Entry::Now(Delivery::End { subscription, reason, cursor: cursor.clone() }));
    }

    fn append(&self, mut state: MutexGuard<'_, State>, entry: Entry) {
        // What waits for a slot does not hold back other subscriptions.
        let may_sleep = state.queue.is_empty() || state.later > 0;
        state.queue.push_back(entry);
        drop(state);
        if may_sleep {
            self.filled.notify_one();
        }
    }

    /// Waits until there is something, then moves all of it that is ready to the end of `into`.
    /// Cancel-safe.
    pub async fn drain(&self, into: &mut Vec<Delivery>) {
        loop {
            let before = into.len();
            self.state.lock().take_ready(into);
            if into.len() > before {
                return;
            }
            self.filled.notified().await;
        }
    }

    /// Whether nothing waits here and nothing later than the event of this number ever came: then
    /// the connection has seen all that there was for it up to that event.
    pub fn is_quiet_since(&self, event: u64) -> bool {
        let state = self.state.lock();
        state.queue.is_empty() && state.last_event <= event
    }
}

/// No allocation is larger than an `isize`.
fn size(result: &Bytes) -> isize {
    result.len().cast_signed()
}

impl State {
    /// Takes what is ready. A result that is still being made holds back its own subscription only.
    fn take_ready(&mut self, into: &mut Vec<Delivery>) {
        // The usual case, which every delivery passes through.
        if self.later == 0 {
            let mut taken = 0;
            into.extend(self.queue.drain(..).filter_map(|entry| match entry {
                Entry::Now(delivery) => {
                    if let Delivery::Next { result, .. } = &delivery {
                        taken += size(result);
                    }
                    Some(delivery)
                }
                Entry::Later { .. } => None,
            }));
            self.bytes -= taken;
            self.queue.shrink_to(64);
            return;
        }
        let mut waiting = HashSet::new();
        let mut kept = VecDeque::new();
        for entry in self.queue.drain(..) {
            if !waiting.is_empty() && waiting.contains(&entry.subscription()) {
                kept.push_back(entry);
                continue;
            }
            match entry {
                Entry::Now(delivery) => {
                    if let Delivery::Next { result, .. } = &delivery {
                        self.bytes -= size(result);
                    }
                    into.push(delivery);
                }
                Entry::Later { subscription, slot, cursor } => match slot.get() {
                    Some(result) => {
                        self.later -= 1;
                        if let Some(result) = result {
                            self.bytes -= size(&result);
                            into.push(Delivery::Next { subscription, result, cursor });
                        }
                    }
                    None => {
                        waiting.insert(subscription);
                        kept.push_back(Entry::Later { subscription, slot, cursor });
                    }
                },
            }
        }
        if kept.is_empty() {
            // A burst must not pin its high-water mark for the life of the connection.
            self.queue.shrink_to(64);
        } else {
            self.queue = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivery, EndReason, Full, Mailbox, MailboxLimits, SubscriptionId};
    use bytes::Bytes;

    #[tokio::test]
    async fn overflow_is_refused_and_the_end_still_fits() {
        let mailbox = Mailbox::new(MailboxLimits { messages: 2, bytes: 10 });
        let (id, cursor, result) = (SubscriptionId(1), "c".into(), Bytes::from_static(b"1234"));
        assert_eq!(mailbox.push_next(id, &result, &cursor, 1), Ok(()));
        assert_eq!(mailbox.push_next(id, &Bytes::from_static(b"1234567"), &cursor, 2), Err(Full), "bytes");
        assert_eq!(mailbox.push_next(id, &result, &cursor, 2), Ok(()));
        assert_eq!(mailbox.push_next(id, &Bytes::new(), &cursor, 3), Err(Full), "messages");
        mailbox.push_end(id, EndReason::SlowConsumer, &cursor);
        let mut got = Vec::new();
        mailbox.drain(&mut got).await;
        assert_eq!(got.len(), 3);
        assert!(matches!(got[2], Delivery::End { reason: EndReason::SlowConsumer, .. }));
        assert_eq!(
            mailbox.push_next(id, &Bytes::from(vec![b' '; 99]), &cursor, 4),
            Ok(()),
            "alone it may be large"
        );
    }

    #[test]
    fn quiet_means_nothing_later_was_pushed() {
        let mailbox = Mailbox::new(MailboxLimits::default());
        assert!(mailbox.is_quiet_since(0));
        mailbox.push_next(SubscriptionId(1), &Bytes::new(), &"c".into(), 7).unwrap();
        assert!(!mailbox.is_quiet_since(7), "not read yet");
    }
}
