//! Counts of what happens over time: token buckets, one for each key.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::service::Allowance;

/// Least time between two searches for buckets that can be forgotten.
const SWEEP_TIME_MIN: Duration = Duration::from_secs(1);

/// The time that a number is for.
#[derive(Debug, Clone, Copy)]
pub enum Period {
    /// Each second.
    Second,
    /// Each minute.
    Minute,
}

/// A bucket: as much at once as it holds, and as much again over its period.
pub struct Bucket<C: Clock = MonotonicClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    size: NonZeroU32,
}

impl<C: Clock + Clone> Bucket<C> {
    fn new(quota: Quota, clock: C) -> Self {
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { limiter, clock, size: quota.burst_size() }
    }

    /// Takes one.
    ///
    /// # Errors
    /// If it is empty: how long until there is one again.
    pub fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Whether it is full. If it is it is empty afterwards, so ask only before it is forgotten.
    fn is_full(&self) -> bool {
        matches!(self.limiter.check_n(self.size), Ok(Ok(())))
    }
}

impl<C: Clock> fmt::Debug for Bucket<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Bucket").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Allowance for Bucket {
    fn take(&self) -> Result<(), Duration> {
        Self::take(self)
    }
}

/// A bucket for each key. One that is full again and that nobody holds says nothing, so it is forgotten.
pub struct Buckets<K, C: Clock = MonotonicClock> {
    quota: Quota,
    clock: C,
    keys_max: usize,
    keyed: Mutex<Keyed<K, C>>,
    /// Shared by whoever comes when there is no room for more keys: neither without bound nor shut out.
    others: Arc<Bucket<C>>,
}

struct Keyed<K, C: Clock> {
    buckets: HashMap<K, Arc<Bucket<C>>>,
    swept: C::Instant,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// Buckets for that many in a period; nothing where that is 0, which is without bound.
    pub fn new(count: u32, period: Period, keys_max: usize) -> Option<Self> {
        Self::with_clock(count, period, keys_max, MonotonicClock)
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Buckets<K, C> {
    fn with_clock(count: u32, period: Period, keys_max: usize, clock: C) -> Option<Self> {
        let count = NonZeroU32::new(count)?;
        let quota = match period {
            Period::Second => Quota::per_second(count),
            Period::Minute => Quota::per_minute(count),
        };
        let keyed = Mutex::new(Keyed { buckets: HashMap::new(), swept: clock.now() });
        let others = Arc::new(Bucket::new(quota, clock.clone()));
        Some(Self { quota, clock, keys_max, keyed, others })
    }

    /// The bucket of a key.
    pub fn of(&self, key: &K) -> Arc<Bucket<C>> {
        let mut keyed = self.keyed.lock();
        if let Some(bucket) = keyed.buckets.get(key) {
            return bucket.clone();
        }
        self.sweep(&mut keyed);
        if keyed.buckets.len() >= self.keys_max {
            return self.others.clone();
        }
        let bucket = Arc::new(Bucket::new(self.quota, self.clock.clone()));
        keyed.buckets.insert(key.clone(), bucket.clone());
        bucket
    }

    /// Forgets what says nothing: when all that was there at the last time may be full again, or there is
    /// no room.
    fn sweep(&self, keyed: &mut Keyed<K, C>) {
        let now = self.clock.now();
        let since: Duration = now.duration_since(keyed.swept).into();
        let crowded = keyed.buckets.len() >= self.keys_max;
        let due =
            if crowded { SWEEP_TIME_MIN } else { self.quota.burst_size_replenished_in().max(SWEEP_TIME_MIN) };
        if since >= due {
            keyed.swept = now;
            keyed.buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full());
            keyed.buckets.shrink_to(keyed.buckets.len() * 2);
        }
    }
}

impl<K, C: Clock> fmt::Debug for Buckets<K, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Buckets").field("quota", &self.quota).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn buckets(count: u32, keys_max: usize) -> (Buckets<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let buckets = Buckets::with_clock(count, Period::Minute, keys_max, clock.clone()).unwrap();
        (buckets, clock)
    }

    #[test]
    fn a_bucket_gives_what_it_holds_and_then_one_at_a_time() {
        let (buckets, clock) = buckets(60, 10);
        let bucket = buckets.of(&1);
        assert!((0..60).all(|_| bucket.take().is_ok()));
        assert_eq!(bucket.take(), Err(Duration::from_secs(1)));
        assert_eq!(buckets.of(&2).take(), Ok(()), "others have their own");
        clock.advance(Duration::from_millis(400));
        assert_eq!(buckets.of(&1).take(), Err(Duration::from_millis(600)));
        clock.advance(Duration::from_millis(600));
        assert_eq!(buckets.of(&1).take(), Ok(()));
        assert!(buckets.of(&1).take().is_err());
        assert!(Buckets::<u32>::new(0, Period::Second, 10).is_none());
    }

    #[test]
    fn a_bucket_is_forgotten_once_it_says_nothing() {
        let (buckets, clock) = buckets(60, 1_000);
        let held = buckets.of(&1);
        held.take().unwrap();
        buckets.of(&2).take().unwrap();
        clock.advance(Duration::from_secs(60));
        (0..60).for_each(|_| buckets.of(&3).take().unwrap());
        assert_eq!(buckets.keyed.lock().buckets.len(), 2, "one is held, one is new");
        clock.advance(Duration::from_secs(59));
        drop(held);
        // Not full yet: whoever has emptied it must not get a new one.
        clock.advance(Duration::from_millis(500));
        buckets.keyed.lock().swept = Default::default();
        buckets.of(&4);
        assert!(buckets.of(&3).take().is_ok() && !buckets.of(&3).is_full());
        assert!(!buckets.keyed.lock().buckets.contains_key(&1));
    }

    #[test]
    fn whoever_finds_no_room_shares() {
        let (buckets, clock) = buckets(3, 2);
        (0..2).for_each(|key| buckets.of(&key).take().unwrap());
        for key in 10..13 {
            assert_eq!(buckets.of(&key).take(), Ok(()));
        }
        assert!(buckets.of(&13).take().is_err());
        assert_eq!(buckets.keyed.lock().buckets.len(), 2);
        assert_eq!(buckets.of(&1).take(), Ok(()), "who is there already has its own");
        clock.advance(Duration::from_secs(60));
        (0..3).for_each(|_| buckets.of(&13).take().unwrap());
        assert_eq!(buckets.keyed.lock().buckets.len(), 1);
    }
}
