//! One `Arc` for equal values, whichever documents they come from: the hub projects and filters an event
//! once per distinct pointer.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// The values that are in use. It holds nothing alive.
#[derive(Debug)]
pub(super) struct Interner<T: ?Sized> {
    entries: Mutex<Entries<T>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entries<T: ?Sized> {
    /// Two that live and have the same hash of 64 bits would not be shared, which is no harm.
    by_hash: HashMap<u64, Weak<T>>,
    /// Size at which the dead ones are swept out: twice what lived after the last sweep.
    sweep_at: usize,
}

impl<T: ?Sized> Default for Interner<T> {
    fn default() -> Self {
        let entries = Entries { by_hash: HashMap::new(), sweep_at: 0 };
        Self { entries: Mutex::new(entries), hasher: RandomState::new() }
    }
}

impl<T: Eq + Hash + ?Sized> Interner<T> {
    /// The shared value that equals `value`.
    pub(super) fn intern(&self, value: Arc<T>) -> Arc<T> {
        const SWEEP_AT_LEAST: usize = 64;
        let hash = self.hasher.hash_one(&*value);
        let mut entries = self.entries.lock();
        if entries.by_hash.len() >= entries.sweep_at.max(SWEEP_AT_LEAST) {
            entries.by_hash.retain(|_, it| it.strong_count() > 0);
            entries.sweep_at = 2 * entries.by_hash.len();
        }
        match entries.by_hash.get(&hash).and_then(Weak::upgrade) {
            Some(existing) if existing == value => return existing,
            Some(_) => {}
            None => drop(entries.by_hash.insert(hash, Arc::downgrade(&value))),
        }
        value
    }
}
