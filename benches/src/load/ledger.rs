//! Who received what, and how late: nothing is estimated, every delivery is checked as it comes.

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;

use crate::result::Stamp;
use crate::systems::channel_of;

/// An hour: more than any run takes.
pub(crate) const LATE_MICROS_MAX: u64 = 3_600_000_000;

/// Who is to receive an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Everybody,
    /// The subscriber of the channel whose turn it is.
    One,
}

/// Books of one run.
#[derive(Debug)]
pub(crate) struct Ledger {
    audience: Audience,
    subscribers: u32,
    /// By subscriber, the least number that may come next; nothing while none has come.
    next: Vec<Option<u32>>,
    /// Subscribers for whom something has come.
    live: u32,
    /// The first event that counts: those before it find out who is live.
    first: u32,
    delivered: u64,
    doubled: u64,
    skipped: u64,
    stray: u64,
    late: Histogram<u64>,
}

impl Ledger {
    pub(crate) fn new(audience: Audience, subscribers: usize) -> Result<Self> {
        Ok(Self {
            audience,
            subscribers: u32::try_from(subscribers)?,
            next: vec![None; subscribers],
            live: 0,
            first: u32::MAX,
            delivered: 0,
            doubled: 0,
            skipped: 0,
            stray: 0,
            late: Histogram::new_with_bounds(1, LATE_MICROS_MAX, 3).context("a histogram")?,
        })
    }

    /// Whether every subscriber has received something.
    pub(crate) fn is_everybody_live(&self) -> bool {
        self.live == self.subscribers
    }

    /// Begins to count at this event. What is counted so far is forgotten, what has to come next is not.
    pub(crate) fn count_from(&mut self, first: u32) {
        self.first = first;
        self.delivered = 0;
        self.late.reset();
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn late(&self) -> &Histogram<u64> {
        &self.late
    }

    /// How many deliveries are due once so many events were made since [`Self::count_from`].
    pub(crate) fn due(&self, events: u32) -> u64 {
        match self.audience {
            Audience::Everybody => u64::from(events) * u64::from(self.subscribers),
            Audience::One => u64::from(events),
        }
    }

    pub(crate) fn note(&mut self, subscriber: usize, stamp: Stamp, now_micros: u64) {
        let Some(next) = self.next.get_mut(subscriber) else {
            self.stray += 1;
            return;
        };
        let expected = *next;
        match expected {
            None => self.live += 1,
            Some(expected) if stamp.seq < expected => {
                self.doubled += 1;
                return;
            }
            Some(expected) => {
                // Among all who listen to all, a number that is left out is an event that is missing.
                if self.audience == Audience::Everybody {
                    self.skipped += u64::from(stamp.seq - expected);
                }
            }
        }
        *next = Some(stamp.seq + 1);
        let is_mine = match self.audience {
            Audience::Everybody => true,
            Audience::One => channel_of(stamp.seq, self.subscribers) as usize == subscriber,
        };
        if !is_mine {
            self.stray += 1;
        } else if stamp.seq >= self.first {
            self.delivered += 1;
            self.late.saturating_record(now_micros.saturating_sub(stamp.sent_micros));
        }
    }

    /// Fails unless each of `events` reached whom it concerns, once and in order.
    pub(crate) fn reconcile(&self, events: u32) -> Result<()> {
        let due = self.due(events);
        let missing = due.saturating_sub(self.delivered);
        let unknown = self.delivered.saturating_sub(due);
        if missing + unknown + self.doubled + self.skipped + self.stray > 0 {
            bail!(
                "of {due} deliveries: {missing} missing, {} doubled or out of order, {} left out, {} to somebody else, {unknown} unknown",
                self.doubled,
                self.skipped,
                self.stray
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Books of as many subscribers as there are lists, all live before event 1.
    fn ledger(audience: Audience, received: &[&[u32]]) -> Ledger {
        let mut ledger = Ledger::new(audience, received.len()).unwrap();
        let stamp = |seq| Stamp { seq, sent_micros: 0 };
        if audience == Audience::Everybody {
            (0..received.len()).for_each(|subscriber| ledger.note(subscriber, stamp(0), 1));
            assert!(ledger.is_everybody_live());
        }
        ledger.count_from(1);
        for (subscriber, seqs) in received.iter().enumerate() {
            seqs.iter().for_each(|seq| ledger.note(subscriber, stamp(*seq), 1));
        }
        ledger
    }

    fn fault(audience: Audience, received: &[&[u32]]) -> String {
        ledger(audience, received).reconcile(3).unwrap_err().to_string()
    }

    #[test]
    fn complete_and_in_order_reconciles() {
        ledger(Audience::Everybody, &[&[1, 2, 3], &[1, 2, 3]]).reconcile(3).unwrap();
        // 7919 is odd, so that two channels take turns.
        ledger(Audience::One, &[&[2], &[1, 3]]).reconcile(3).unwrap();
    }

    #[test]
    fn a_missing_delivery_fails_the_run() {
        assert!(fault(Audience::Everybody, &[&[1, 3]]).contains("1 missing"));
        assert!(fault(Audience::Everybody, &[&[]]).contains("3 missing"));
        assert!(fault(Audience::One, &[&[], &[1, 3]]).contains("1 missing"));
    }

    #[test]
    fn a_doubled_delivery_fails_the_run() {
        assert!(fault(Audience::Everybody, &[&[1, 2, 2, 3]]).contains("1 doubled"));
        assert!(fault(Audience::One, &[&[2, 2], &[1, 3]]).contains("1 doubled"));
    }

    #[test]
    fn a_late_delivery_fails_the_run() {
        assert!(fault(Audience::Everybody, &[&[1, 3, 2]]).contains("1 doubled or out of order"));
    }

    #[test]
    fn a_delivery_to_somebody_else_fails_the_run() {
        assert!(fault(Audience::One, &[&[2, 3], &[1, 3]]).contains("1 to somebody else"));
    }
}
