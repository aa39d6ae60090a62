//! Vectors that were filled, emptied again, and are kept for their room.
//!
//! A delivery is gathered in a vector and written from it, thousands of times a second, and between two deliveries
//! nobody wants to pay for the room. So threads keep some for whoever is next.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Vectors that a thread keeps.
const KEPT_MAX: usize = 16;

/// The spare vectors of one thread. Those of more than `ROOM_MAX` elements are not kept.
#[derive(Debug)]
pub struct Spares<T, const ROOM_MAX: usize>(RefCell<Vec<Vec<T>>>);

impl<T, const ROOM_MAX: usize> Spares<T, ROOM_MAX> {
    /// None yet.
    pub const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }
}

impl<T, const ROOM_MAX: usize> Default for Spares<T, ROOM_MAX> {
    fn default() -> Self {
        Self::new()
    }
}

/// An empty vector, which may have room.
pub fn take<T, const ROOM_MAX: usize>(spares: &'static LocalKey<Spares<T, ROOM_MAX>>) -> Vec<T> {
    spares.try_with(|spares| spares.0.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

/// Keeps the room of a vector that is not needed any more.
pub fn keep<T, const ROOM_MAX: usize>(spares: &'static LocalKey<Spares<T, ROOM_MAX>>, mut vector: Vec<T>) {
    // Outside, because what is dropped here may want to keep something itself.
    vector.clear();
    if vector.capacity() == 0 || vector.capacity() > ROOM_MAX {
        return;
    }
    // When a thread ends, so do its spares.
    let _ = spares.try_with(|spares| {
        let mut kept = spares.0.borrow_mut();
        if kept.len() < KEPT_MAX {
            kept.push(vector);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SPARES: Spares<u8, 64> = const { Spares::new() };
    }

    #[test]
    fn room_is_used_again_unless_it_is_large() {
        keep(&SPARES, Vec::with_capacity(65));
        assert_eq!(take(&SPARES).capacity(), 0);
        let mut used = Vec::with_capacity(64);
        used.push(1);
        keep(&SPARES, used);
        let again = take(&SPARES);
        assert_eq!((again.len(), again.capacity()), (0, 64));
        for _ in 0..2 * KEPT_MAX {
            keep(&SPARES, Vec::with_capacity(8));
        }
        assert_eq!((0..2 * KEPT_MAX).filter(|_| take(&SPARES).capacity() > 0).count(), KEPT_MAX);
    }
}
