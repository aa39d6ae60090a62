//! Conflation: of the results of one key that come within a time, the last one only.
//!
//! The first result of a key passes at once; what follows within the interval waits, each replacing the
//! one before, and the last passes when the interval is over. The cursor of whatever passes stays
//! before the oldest result that waits, so that resuming from it loses none.
//!
//! While the user's allowance of deliveries is used up, results wait beyond their interval and go on replacing each
//! other.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::allowance::Allowance;
use crate::hub::mailbox::{CursorText, Delivery, EndReason, SubscriptionId};
use crate::hub::project::Throttle;

/// Most keys of one subscription that are remembered; results of further ones pass without waiting.
const KEYS_MAX: usize = 10_000;

/// Most bytes of results that wait for one subscription; beyond it the oldest passes before its time.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a key is known by: hashing it twice, each with a secret of its own, tells keys apart and keeps
/// no text of them.
type KeyHash = [u64; 2];

/// What may be delivered; nothing is without bound.
type Ration<'a> = Option<&'a dyn Allowance>;

/// The state of one throttled subscription.
#[derive(Debug)]
pub(super) struct Throttled {
    subscription: SubscriptionId,
    throttle: Throttle,
    hashers: [RandomState; 2],
    /// By key; all results share one if none is asked for.
    keys: HashMap<KeyHash, Turn>,
    /// Results that wait, by the order in which the first of each key came.
    waiting: BTreeMap<u64, Waiting>,
    /// When they are due.
    due: BTreeSet<(Instant, u64)>,
    next: u64,
    waiting_bytes: usize,
    /// When there is something of the allowance again.
    blocked_until: Option<Instant>,
    /// Where the subscription stood before the result that comes next.
    before: CursorText,
    /// When the keys were last looked through for those that can be forgotten.
    swept: Instant,
}

/// When a key may pass again, and which result of it waits.
#[derive(Debug)]
struct Turn {
    free_at: Instant,
    waiting: Option<u64>,
}

#[derive(Debug)]
struct Waiting {
    key: KeyHash,
    due: Instant,
    result: Bytes,
    /// Where the subscription stands after it.
    cursor: CursorText,
    /// Where it stood before the first result that waited for this key.
    before: CursorText,
}

impl Throttled {
    /// Of a subscription that starts at a cursor.
    pub(super) fn new(
        subscription: SubscriptionId,
        throttle: Throttle,
        start: CursorText,
        now: Instant,
    ) -> Self {
        Self {
            subscription,
            throttle,
            hashers: [RandomState::new(), RandomState::new()],
            keys: HashMap::new(),
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            next: 0,
            waiting_bytes: 0,
            blocked_until: None,
            before: start,
            swept: now,
        }
    }

    /// Takes a result; what may pass now goes to `into`.
    ///
    /// # Errors
    /// If what cannot wait may not pass either: where the subscription stands. It has to end.
    pub(super) fn take(
        &mut self,
        result: Bytes,
        cursor: CursorText,
        now: Instant,
        ration: Ration<'_>,
        into: &mut Vec<Delivery>,
    ) -> Result<(), CursorText> {
        self.release(now, ration, into);
        let before = std::mem::replace(&mut self.before, cursor.clone());
        let Some(key) = key_of(&result, &self.throttle.key) else {
            // Nothing is known of what it concerns: the whole table was emptied, say.
            self.flush(now, ration, into)?;
            self.spend(now, ration).map_err(|Spent| before)?;
            into.push(self.delivery(result, cursor));
            return Ok(());
        };
        let key = [self.hashers[0].hash_one(&key), self.hashers[1].hash_one(&key)];
        if self.keys.get(&key).is_none_or(|turn| turn.free_at <= now && turn.waiting.is_none()) {
            if self.spend(now, ration).is_ok() {
                self.passes(key, now);
                into.push(self.delivery(result, cursor));
                return Ok(());
            }
            if !self.keys.contains_key(&key) && self.keys.len() >= KEYS_MAX {
                return Err(self.oldest().unwrap_or(before));
            }
            self.keys.insert(key, Turn { free_at: now, waiting: None });
        }
        self.wait_for_turn(key, Waiting { key, due: now, result, cursor, before });
        while self.waiting_bytes > WAITING_BYTES_MAX
            && let Some((oldest, _)) = self.waiting.first_key_value()
        {
            let oldest = *oldest;
            self.spend(now, ration).map_err(|Spent| self.oldest().unwrap_or_default())?;
            self.pass(oldest, now, into);
        }
        Ok(())
    }

    /// A result waits for its key's turn, in the place of one that waits already.
    fn wait_for_turn(&mut self, key: KeyHash, new: Waiting) {
        let Some(turn) = self.keys.get_mut(&key) else { return };
        self.waiting_bytes += new.result.len();
        match turn.waiting.and_then(|number| self.waiting.get_mut(&number)) {
            Some(waiting) => {
                self.waiting_bytes -= waiting.result.len();
                (waiting.result, waiting.cursor) = (new.result, new.cursor);
            }
            None => {
                let due = turn.free_at;
                turn.waiting = Some(self.next);
                self.due.insert((due, self.next));
                self.waiting.insert(self.next, Waiting { due, ..new });
                self.next += 1;
            }
        }
    }

    /// Passes on what has waited long enough.
    pub(super) fn release(&mut self, now: Instant, ration: Ration<'_>, into: &mut Vec<Delivery>) {
        while let Some((_, number)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            if self.spend(now, ration).is_err() {
                return;
            }
            self.pass(number, now, into);
        }
    }

    /// Passes on everything.
    ///
    /// # Errors
    /// If not everything may pass: where the subscription stands.
    pub(super) fn flush(
        &mut self,
        now: Instant,
        ration: Ration<'_>,
        into: &mut Vec<Delivery>,
    ) -> Result<(), CursorText> {
        while let Some((number, _)) = self.waiting.first_key_value() {
            let number = *number;
            self.spend(now, ration).map_err(|Spent| self.oldest().unwrap_or_default())?;
            self.pass(number, now, into);
        }
        Ok(())
    }

    /// Takes one result off the allowance. Once it is used up it is not asked again before its time, so that
    /// what waits for it goes first.
    fn spend(&mut self, now: Instant, ration: Ration<'_>) -> Result<(), Spent> {
        let Some(allowance) = ration else { return Ok(()) };
        if self.blocked_until.is_some_and(|until| until > now) {
            return Err(Spent);
        }
        self.blocked_until = allowance.take().err().map(|wait| now + wait);
        if self.blocked_until.is_some() { Err(Spent) } else { Ok(()) }
    }

    /// Where the subscription stood before the oldest result that waits.
    fn oldest(&self) -> Option<CursorText> {
        self.waiting.first_key_value().map(|(_, waiting)| waiting.before.clone())
    }

    /// When something is due next; nothing if nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| self.blocked_until.map_or(*due, |until| until.max(*due)))
    }

    fn pass(&mut self, number: u64, now: Instant, into: &mut Vec<Delivery>) {
        let Some(Waiting { key, due, result, cursor, .. }) = self.waiting.remove(&number) else { return };
        self.due.remove(&(due, number));
        self.waiting_bytes -= result.len();
        self.passes(key, now);
        into.push(self.delivery(result, cursor));
    }

    /// Notes that a result of a key passes now.
    fn passes(&mut self, key: KeyHash, now: Instant) {
        if now.duration_since(self.swept) >= self.throttle.interval {
            self.keys.retain(|_, turn| turn.free_at > now || turn.waiting.is_some());
            self.swept = now;
        }
        let free_at = now + self.throttle.interval;
        if let Some(turn) = self.keys.get_mut(&key) {
            *turn = Turn { free_at, waiting: None };
        } else if self.keys.len() < KEYS_MAX {
            self.keys.insert(key, Turn { free_at, waiting: None });
        }
    }

    fn delivery(&self, result: Bytes, cursor: CursorText) -> Delivery {
        let cursor = self.oldest().unwrap_or(cursor);
        Delivery::Next { subscription: self.subscription, result, cursor }
    }
}

/// The allowance is used up.
#[derive(Debug)]
struct Spent;

/// The throttled subscriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Throttles(HashMap<SubscriptionId, Throttled>);

impl Throttles {
    /// Throttles a subscription that starts at a cursor.
    pub(super) fn add(&mut self, subscription: SubscriptionId, throttle: &Throttle, start: CursorText) {
        let throttled = Throttled::new(subscription, throttle.clone(), start, Instant::now());
        self.0.insert(subscription, throttled);
    }

    /// Forgets a subscription and what waits for it.
    pub(super) fn remove(&mut self, subscription: SubscriptionId) {
        self.0.remove(&subscription);
    }

    /// Whether no subscription is throttled.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something waits for a subscription.
    pub(super) fn hold(&self, subscription: SubscriptionId) -> bool {
        self.0.get(&subscription).is_some_and(|throttled| throttled.due().is_some())
    }

    /// Whether nothing waits.
    pub(super) fn are_quiet(&self) -> bool {
        self.0.values().all(|throttled| throttled.due().is_none())
    }

    /// Waits until something is due; for ever if nothing waits. Cancel-safe.
    pub(super) async fn wait(&self) {
        match self.0.values().filter_map(Throttled::due).min() {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Passes on what is due.
    pub(super) fn release(&mut self, ration: Ration<'_>, into: &mut Vec<Delivery>) {
        let now = Instant::now();
        self.0.values_mut().for_each(|throttled| throttled.release(now, ration, into));
    }

    /// Takes out of the deliveries from `from` on what has to wait.
    pub(super) fn conflate(&mut self, deliveries: &mut Vec<Delivery>, from: usize, ration: Ration<'_>) {
        let now = Instant::now();
        for delivery in deliveries.split_off(from) {
            match delivery {
                Delivery::Next { subscription, result, cursor } => {
                    let Some(throttled) = self.0.get_mut(&subscription) else {
                        deliveries.push(Delivery::Next { subscription, result, cursor });
                        continue;
                    };
                    if let Err(cursor) = throttled.take(result, cursor, now, ration, deliveries) {
                        let reason = EndReason::RateLimited;
                        deliveries.push(Delivery::End { subscription, reason, cursor });
                        self.0.remove(&subscription);
                    }
                }
                // They come before any change.
                Delivery::Whole { .. } => deliveries.push(delivery),
                Delivery::Begun { subscription, rows, cursor } => {
                    if let Some(throttled) = self.0.get_mut(&subscription) {
                        throttled.before = cursor.clone();
                    }
                    deliveries.push(Delivery::Begun { subscription, rows, cursor });
                }
                Delivery::End { subscription, .. } => {
                    if let Some(throttled) = self.0.get_mut(&subscription) {
                        // Without a ration everything may pass: nothing comes after it.
                        let _ = throttled.flush(now, None, deliveries);
                    }
                    deliveries.push(delivery);
                }
            }
        }
    }
}

type Object<'a> = HashMap<Cow<'a, str>, &'a RawValue>;

/// The JSON text at a path below the root field of an open result; nothing if it is not there or null.
fn key_of(result: &[u8], path: &[Box<str>]) -> Option<Box<str>> {
    if path.is_empty() {
        return Some(Box::default());
    }
    // An open result lacks its closing brace.
    let closed = [result, b"}"].concat();
    let result: Object<'_> = serde_json::from_slice(&closed).ok()?;
    let data: Object<'_> = serde_json::from_str(result.get("data")?.get()).ok()?;
    let key = path.iter().try_fold(data.into_values().next()?, |value, member| {
        serde_json::from_str::<Object<'_>>(value.get()).ok()?.get(&**member).copied()
    })?;
    (key.get() != "null").then(|| key.get().into())
}
