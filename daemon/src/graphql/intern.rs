//! One `Arc` for equal values, whichever documents they come from: the hub projects and filters an event
//! once per distinct pointer.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// The values that are in use. It holds nothing alive.
#[derive(Debug)]
pub(super) struct Interner<T> {
    entries: Mutex<Entries<T>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entries<T> {
    by_hash: HashMap<u64, Vec<Weak<T>>>,
    /// Size at which the dead ones are swept out: twice what lived after the last sweep.
    sweep_at: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        let entries = Entries { by_hash: HashMap::new(), sweep_at: 0 };
        Self { entries: Mutex::new(entries), hasher: RandomState::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The shared value that equals `value`.
    pub(super) fn intern(&self, value: Arc<T>) -> Arc<T> {
        const SWEEP_AT_LEAST: usize = 64;
        let hash = self.hasher.hash_one(&*value);
        let mut entries = self.entries.lock();
        if entries.by_hash.len() >= entries.sweep_at.max(SWEEP_AT_LEAST) {
            entries.by_hash.retain(|_, same| {
                same.retain(|it| it.strong_count() > 0);
                !same.is_empty()
            });
            entries.sweep_at = 2 * entries.by_hash.len();
        }
        let same = entries.by_hash.entry(hash).or_default();
        if let Some(existing) = same.iter().filter_map(Weak::upgrade).find(|it| *it == value) {
            return existing;
        }
        same.retain(|it| it.strong_count() > 0);
        same.push(Arc::downgrade(&value));
        value
    }
}
