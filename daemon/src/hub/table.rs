//! A hash map that takes little where there is little in it, and grows in small steps.
//!
//! A map that doubles moves all its entries at once: with 30,000 subscriptions filed, whoever subscribed
//! next waited 160 ms, and every event with it. This one is many small maps, of which one at a time is
//! split in two as more are needed (linear hashing): nobody waits for more than a few hundred entries.
//! And most of these tables hold one or two entries, for which a map's control bytes, empty places and
//! hasher would be several times what they hold: so a table begins as a list.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use ahash::RandomState;

/// Most entries that are looked through one by one, which then takes no longer than a hash.
const FEW_ENTRIES: usize = 6;

/// Entries above which a map asks for a split. Moving them takes some 50 microseconds.
const PART_ENTRIES: usize = 256;

/// The map.
#[derive(Debug)]
pub(super) enum Table<K, V> {
    Few(Vec<(K, V)>),
    Parts(Box<Parts<K, V>>),
}

/// The maps in the order in which they split; the first one's hasher says where a key belongs.
#[derive(Debug)]
pub(super) struct Parts<K, V>(Vec<Map<K, V>>);

/// The hasher's seed is drawn, so that nobody can choose keys that collide; the standard one takes five times as long.
type Map<K, V> = HashMap<K, V, RandomState>;

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<K, V> Table<K, V> {
    fn few(&self) -> &[(K, V)] {
        match self {
            Self::Few(few) => few,
            Self::Parts(_) => &[],
        }
    }

    fn parts(&self) -> &[Map<K, V>] {
        match self {
            Self::Few(_) => &[],
            Self::Parts(parts) => &parts.0,
        }
    }

    /// Whether there is no entry.
    pub(super) fn is_empty(&self) -> bool {
        self.few().is_empty() && self.parts().iter().all(HashMap::is_empty)
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.few().iter().map(|(key, value)| (key, value)).chain(self.parts().iter().flatten())
    }

    /// Every value, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Eq + Hash, V> Table<K, V> {
    /// The value of a key.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => few.iter().find(|(other, _)| other.borrow() == key).map(|(_, value)| value),
            Self::Parts(parts) => parts.0[parts.index(key)].get(key),
        }
    }

    /// The value of a key, to be changed.
    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => {
                few.iter_mut().find(|(other, _)| (*other).borrow() == key).map(|(_, value)| value)
            }
            Self::Parts(parts) => {
                let index = parts.index(key);
                parts.0[index].get_mut(key)
            }
        }
    }

    /// Removes a key.
    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        match self {
            Self::Few(few) => few.retain(|(other, _)| other.borrow() != key),
            Self::Parts(parts) => {
                let index = parts.index(key);
                parts.0[index].remove(key);
            }
        }
    }

    /// The value of a key, made if there is none.
    pub(super) fn get_or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        if let Self::Few(few) = self
            && few.len() >= FEW_ENTRIES
        {
            let all = std::mem::take(few).into_iter().collect();
            *self = Self::Parts(Parts(vec![all]).into());
        }
        match self {
            Self::Few(few) => {
                let place = few.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
                    // Many of these never hold a second one.
                    few.reserve_exact(1);
                    few.push((key, V::default()));
                    few.len() - 1
                });
                &mut few[place].1
            }
            Self::Parts(parts) => {
                if parts.0[parts.index(&key)].len() >= PART_ENTRIES {
                    parts.split();
                }
                let index = parts.index(&key);
                parts.0[index].entry(key).or_default()
            }
        }
    }
}

impl<K: Eq + Hash, V> Parts<K, V> {
    /// Makes one part more, out of the one whose turn it is.
    fn split(&mut self) {
        let Self(parts) = self;
        let new = parts.len();
        let old = new - (1 << new.ilog2());
        let hasher = parts[0].hasher().clone();
        let moved = parts[old].extract_if(|key, _| part_of(&hasher, new + 1, key) == new).collect();
        parts.push(moved);
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        part_of(self.0[0].hasher(), self.0.len(), key)
    }
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
