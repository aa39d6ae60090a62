//! A bounded cache in two generations.
//!
//! New entries go to the young generation. When that holds half of the budget it becomes the old
//! one, and what was old is dropped; an old entry that is asked for moves back to the young. That
//! keeps what is used, costs O(1), and needs no list of uses.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;
use std::mem;

use parking_lot::Mutex;

pub(super) struct Cache<K, V> {
    generations: Mutex<Generations<K, V>>,
    /// Largest weight of one generation, in bytes as estimated by the caller.
    generation_bytes: usize,
}

struct Generations<K, V> {
    young: HashMap<K, (V, usize)>,
    young_bytes: usize,
    old: HashMap<K, (V, usize)>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A cache whose entries weigh `budget_bytes` at most.
    pub(super) fn new(budget_bytes: usize) -> Self {
        let generations = Generations { young: HashMap::new(), young_bytes: 0, old: HashMap::new() };
        Self { generations: Mutex::new(generations), generation_bytes: budget_bytes / 2 }
    }

    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut generations = self.generations.lock();
        if let Some((value, _)) = generations.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, bytes)) = generations.old.remove_entry(key)?;
        self.put(&mut generations, key, value.clone(), bytes);
        Some(value)
    }

    /// Stores a value unless another thread was faster; returns the one that is shared from now
    /// on. A value too heavy for a generation is not kept.
    pub(super) fn insert(&self, key: K, value: V, bytes: usize) -> V {
        let mut generations = self.generations.lock();
        if let Some((existing, _)) = generations.young.get(&key).or_else(|| generations.old.get(&key)) {
            return existing.clone();
        }
        self.put(&mut generations, key, value.clone(), bytes);
        value
    }

    fn put(&self, generations: &mut Generations<K, V>, key: K, value: V, bytes: usize) {
        if bytes > self.generation_bytes {
            return;
        }
        if generations.young_bytes + bytes > self.generation_bytes {
            generations.old = mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        generations.young_bytes += bytes;
        generations.young.insert(key, (value, bytes));
    }
}

impl<K, V> Debug for Cache<K, V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generations = self.generations.lock();
        formatter
            .debug_struct("Cache")
            .field("young", &generations.young.len())
            .field("old", &generations.old.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Cache;

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let cache = Cache::new(200);
        for number in 0..1_000 {
            cache.insert(number, number, 10);
            assert_eq!(cache.get(&0), Some(0));
        }
        assert_eq!(cache.get(&1), None);
        assert_eq!(cache.get(&999), Some(999));
        let generations = cache.generations.lock();
        assert!(generations.young.len() + generations.old.len() <= 20);
    }

    #[test]
    fn the_first_value_is_shared_and_a_heavy_one_is_not_kept() {
        let cache = Cache::new(200);
        assert_eq!(cache.insert("a", 1, 10), 1);
        assert_eq!(cache.insert("a", 2, 10), 1);
        assert_eq!(cache.insert("b", 3, 101), 3);
        assert_eq!(cache.get("b"), None);
    }
}
