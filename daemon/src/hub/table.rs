//! A hash map that grows in small steps.
//!
//! A map that doubles moves all its entries at once: with 30,000 subscriptions filed, whoever subscribed
//! next waited 160 ms, and every event with it. This one is many small maps, of which one at a time is
//! split in two as more are needed (linear hashing): nobody waits for more than a few hundred entries.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Entries above which a map asks for a split. Moving them takes some 50 microseconds.
const PART_ENTRIES: usize = 256;

/// The map.
#[derive(Debug)]
pub(super) enum Table<K, V> {
    /// The usual case: no larger than a plain map.
    Whole(HashMap<K, V>),
    /// The maps in the order in which they split; the first one's hasher says where a key belongs.
    Parts(Vec<HashMap<K, V>>),
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::Whole(HashMap::new())
    }
}

impl<K, V> Table<K, V> {
    fn parts(&self) -> &[HashMap<K, V>] {
        match self {
            Self::Whole(all) => std::slice::from_ref(all),
            Self::Parts(parts) => parts,
        }
    }

    fn parts_mut(&mut self) -> &mut [HashMap<K, V>] {
        match self {
            Self::Whole(all) => std::slice::from_mut(all),
            Self::Parts(parts) => parts,
        }
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.parts().iter().all(HashMap::is_empty)
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts().iter().flatten()
    }

    /// Every value, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts().iter().flat_map(HashMap::values)
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// The value of a key.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let parts = self.parts();
        parts[index(parts, key)].get(key)
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let parts = self.parts_mut();
        parts[index(parts, key)].get_mut(key)
    }

    /// Removes a key.
    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        let parts = self.parts_mut();
        parts[index(parts, key)].remove(key);
    }

    /// The value of a key, made if there is none.
    pub(super) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let parts = self.parts();
        if parts[index(parts, &key)].len() >= PART_ENTRIES {
            self.split();
        }
        let parts = self.parts_mut();
        parts[index(parts, &key)].entry(key).or_default()
    }

    /// Makes one part more, out of the one whose turn it is.
    fn split(&mut self) {
        if let Self::Whole(all) = self {
            *self = Self::Parts(vec![std::mem::take(all)]);
        }
        let Self::Parts(parts) = self else { return };
        let new = parts.len();
        let old = new - (1 << new.ilog2());
        let hasher = parts[0].hasher().clone();
        let moved = parts[old].extract_if(|key, _| part_of(&hasher, new + 1, key) == new).collect();
        parts.push(moved);
    }
}

fn index<K, V, Q: Hash + ?Sized>(parts: &[HashMap<K, V>], key: &Q) -> usize {
    part_of(parts[0].hasher(), parts.len(), key)
}

/// Which of so many parts a key belongs to.
fn part_of<Q: Hash + ?Sized>(hasher: &RandomState, count: usize, key: &Q) -> usize {
    if count == 1 {
        return 0;
    }
    // The first part files its own entries by the other half of the hash.
    let hash = (hasher.hash_one(key) >> 32) as usize;
    let round = count.next_power_of_two();
    let part = hash & (round - 1);
    if part < count { part } else { part - round / 2 }
}

#[cfg(test)]
mod tests {
    use super::{PART_ENTRIES, Table};

    #[test]
    fn what_is_filed_is_found_while_it_grows_and_shrinks() {
        let mut table: Table<Box<str>, usize> = Table::default();
        let count = 200 * PART_ENTRIES;
        let key = |number: usize| number.to_string().into_boxed_str();
        for number in 0..count {
            *table.get_or_default(key(number)) += number + 1;
            // One that was there before it is found in any state of a split.
            assert_eq!(table.get(&*key(number / 2)), Some(&(number / 2 + 1)));
        }
        assert_eq!(table.iter().count(), count);
        assert_eq!(table.values().sum::<usize>(), count * (count + 1) / 2);
        let largest = table.parts().iter().map(std::collections::HashMap::len).max();
        assert!(largest <= Some(2 * PART_ENTRIES), "{largest:?} entries would move at once");
        for number in 0..count {
            assert_eq!(table.get_mut(&*key(number)), Some(&mut (number + 1)));
            assert!(!table.is_empty());
            table.remove(&*key(number));
            assert_eq!(table.get(&*key(number)), None);
        }
        assert!(table.is_empty());
    }
}
