//! Counts of what is held at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A bounded number of places. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Places {
    free: Arc<Semaphore>,
}

/// One of the places; dropping it frees it.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// That many places.
    pub fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))) }
    }

    /// A place, or nothing if all are taken. Never waits: whoever waits for a place takes one too.
    pub fn take(&self) -> Option<Place> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }
}

/// A bounded number of places for each key. A key without a place taken is not remembered, so there are
/// never more of them than places.
#[derive(Debug)]
pub struct KeyedPlaces<K> {
    most: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

/// One of a key's places; dropping it frees it.
#[derive(Debug)]
pub struct KeyedPlace<K: Hash + Eq> {
    key: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq + Clone> KeyedPlaces<K> {
    /// That many places for each key; 0: without bound, and uncounted.
    pub fn new(most: usize) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// A place for a key; nothing where there is no bound.
    ///
    /// # Errors
    /// If all are taken: how many there are.
    pub fn take(&self, key: &K) -> Result<Option<KeyedPlace<K>>, usize> {
        if self.most == 0 {
            return Ok(None);
        }
        let mut taken = self.taken.lock();
        match taken.get_mut(key) {
            Some(count) if *count >= self.most => return Err(self.most),
            Some(count) => *count += 1,
            None => {
                taken.insert(key.clone(), 1);
            }
        }
        Ok(Some(KeyedPlace { key: key.clone(), taken: self.taken.clone() }))
    }
}

impl<K: Hash + Eq> Drop for KeyedPlace<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_dropped() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
    }

    #[test]
    fn a_key_has_places_of_its_own_and_is_forgotten_without() {
        let places = KeyedPlaces::new(2);
        let held: Vec<_> = (0..2).map(|_| places.take(&"a").unwrap()).collect();
        assert_eq!(places.take(&"a").unwrap_err(), 2);
        let other = places.take(&"b").unwrap();
        drop(held);
        assert_eq!(places.taken.lock().len(), 1);
        drop(other);
        assert!(places.taken.lock().is_empty());
        assert!(KeyedPlaces::new(0).take(&"a").unwrap().is_none());
    }
}
