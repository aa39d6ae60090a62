//! Something for each of some subscriptions of a connection.

use super::mailbox::SubscriptionId;

/// A table by subscription, for thousands of them that are mostly only there.
///
/// Numbers of subscriptions are given out in turn, so whoever comes is the last, and a sorted list does what a hash table
/// would, in half of the room.
#[derive(Debug, Clone)]
pub struct BySubscription<V> {
    /// Sorted. Who has gone leaves a hole, until there are more of these than of others.
    entries: Vec<(SubscriptionId, Option<V>)>,
    holes: usize,
}

impl<V> Default for BySubscription<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), holes: 0 }
    }
}

impl<V> BySubscription<V> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len() - self.holes
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// That of a subscription.
    pub fn get(&self, subscription: SubscriptionId) -> Option<&V> {
        self.entries[self.find(subscription).ok()?].1.as_ref()
    }

    /// Whether a subscription has one.
    pub fn contains(&self, subscription: SubscriptionId) -> bool {
        self.get(subscription).is_some()
    }

    /// Gives a subscription one, in place of what it had.
    pub fn insert(&mut self, subscription: SubscriptionId, value: V) -> Option<V> {
        match self.find(subscription) {
            Ok(at) => {
                let before = self.entries[at].1.replace(value);
                self.holes -= usize::from(before.is_none());
                before
            }
            Err(at) => {
                self.entries.insert(at, (subscription, Some(value)));
                None
            }
        }
    }

    /// Takes that of a subscription away.
    pub fn remove(&mut self, subscription: SubscriptionId) -> Option<V> {
        let at = self.find(subscription).ok()?;
        let value = self.entries[at].1.take()?;
        self.holes += 1;
        while self.entries.pop_if(|(_, value)| value.is_none()).is_some() {
            self.holes -= 1;
        }
        if self.holes > self.entries.len() / 2 {
            self.entries.retain(|(_, value)| value.is_some());
            self.entries.shrink_to(2 * self.entries.len());
            self.holes = 0;
        }
        Some(value)
    }

    /// All of them, by subscription.
    pub fn iter(&self) -> impl Iterator<Item = (SubscriptionId, &V)> {
        self.entries.iter().filter_map(|(subscription, value)| Some((*subscription, value.as_ref()?)))
    }

    /// The subscriptions.
    pub fn keys(&self) -> impl Iterator<Item = SubscriptionId> {
        self.iter().map(|(subscription, _)| subscription)
    }

    /// What the last few have, at most so many, the last first.
    pub fn latest(&self, most: usize) -> impl Iterator<Item = &V> {
        self.entries.iter().rev().take(most).filter_map(|(_, value)| value.as_ref())
    }

    /// What they have.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    fn find(&self, subscription: SubscriptionId) -> Result<usize, usize> {
        match self.entries.last() {
            Some((last, _)) if *last >= subscription => {
                self.entries.binary_search_by_key(&subscription, |(subscription, _)| *subscription)
            }
            _ => Err(self.entries.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn it_is_a_map_whatever_comes_and_goes_in_which_order() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        for _ in 0..50 {
            let (mut model, mut table) = (BTreeMap::new(), BySubscription::default());
            for value in 0..200_u32 {
                let subscription = SubscriptionId(random.random_range(0..40));
                if random.random_bool(0.5) {
                    assert_eq!(table.insert(subscription, value), model.insert(subscription, value));
                } else {
                    assert_eq!(table.remove(subscription), model.remove(&subscription));
                }
                assert_eq!(table.len(), model.len());
                assert_eq!(table.get(subscription), model.get(&subscription));
                assert!(table.entries.len() <= 2 * table.len() + 1, "{table:?}");
                assert_eq!(table.latest(1).next(), model.last_key_value().map(|(_, value)| value));
            }
            let all: Vec<_> = model.iter().map(|(subscription, value)| (*subscription, value)).collect();
            assert_eq!(table.iter().collect::<Vec<_>>(), all);
        }
    }
}
