//! One `Arc` for equal results, whichever documents they come from: the hub encodes an event once per
//! distinct pointer.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::graphql::project::ResultPlan;

/// The results that are in use. It holds nothing alive.
#[derive(Debug, Default)]
pub(super) struct Interner {
    entries: Mutex<Entries>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Entries {
    by_hash: HashMap<u64, Vec<Weak<ResultPlan>>>,
    /// Size at which the dead ones are swept out: twice what lived after the last sweep.
    sweep_at: usize,
}

impl Interner {
    /// The shared result that equals `result`.
    pub(super) fn intern(&self, result: Arc<ResultPlan>) -> Arc<ResultPlan> {
        const SWEEP_AT_LEAST: usize = 64;
        let hash = self.hasher.hash_one(&*result);
        let mut entries = self.entries.lock();
        if entries.by_hash.len() >= entries.sweep_at.max(SWEEP_AT_LEAST) {
            entries.by_hash.retain(|_, same| {
                same.retain(|it| it.strong_count() > 0);
                !same.is_empty()
            });
            entries.sweep_at = 2 * entries.by_hash.len();
        }
        let same = entries.by_hash.entry(hash).or_default();
        if let Some(existing) = same.iter().filter_map(Weak::upgrade).find(|it| *it == result) {
            return existing;
        }
        same.retain(|it| it.strong_count() > 0);
        same.push(Arc::downgrade(&result));
        result
    }
}
