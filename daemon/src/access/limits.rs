//! How many may come in.

use std::sync::Arc;

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
}
