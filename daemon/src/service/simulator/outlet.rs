//! A socket that a client lends, which takes as much as chance will have it.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::hub::mailbox::Delivery;
use crate::hub::outlet::{Outlet, Returned};

#[derive(Debug)]
pub(super) struct Socket(Mutex<State>);

#[derive(Debug)]
struct State {
    random: StdRng,
    taken: Vec<Delivery>,
    /// What was not taken at once.
    left: Vec<Delivery>,
}

impl Outlet for Socket {
    fn write(&self, results: &[Delivery]) -> Vec<u8> {
        let State { random, taken, left } = &mut *self.0.lock();
        assert!(left.is_empty(), "nothing is written before what is left");
        let count =
            if random.random_bool(0.2) { random.random_range(0..results.len()) } else { results.len() };
        taken.extend_from_slice(&results[..count]);
        left.extend_from_slice(&results[count..]);
        vec![0; left.len()]
    }
}

impl Socket {
    pub(super) fn new(seed: u64) -> Self {
        let (taken, left) = (Vec::new(), Vec::new());
        Self(Mutex::new(State { random: StdRng::seed_from_u64(seed), taken, left }))
    }

    /// What the client has got while the socket was lent.
    pub(super) fn received(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.0.lock().taken)
    }

    /// The same, and what is to be written first now.
    pub(super) fn go_on(&self, returned: &Returned) -> Vec<Delivery> {
        let mut state = self.0.lock();
        let left = std::mem::take(&mut state.left);
        assert_eq!(left.len(), returned.rest.len(), "the rest comes back, once");
        let mut taken = std::mem::take(&mut state.taken);
        taken.extend(left);
        taken
    }
}
