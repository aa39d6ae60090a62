//! What the source follows, for those who read beside it.
//!
//! After a failover the old primary may still run, and connections to it still be open. Whoever reads events again there
//! would bring a subscription to a stream that is another's.

use parking_lot::Mutex;

/// Shared between a source and what reads beside it.
#[derive(Debug, Default)]
pub(super) struct Following(Mutex<Followed>);

/// What is followed at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Followed {
    /// Counts the source's connections.
    session: u64,
    /// Nothing before the first.
    history: Option<u64>,
}

impl Following {
    /// The source has connected to a server of this history.
    pub(super) fn connected(&self, history: u64) {
        let mut followed = self.0.lock();
        *followed = Followed { session: followed.session + 1, history: Some(history) };
    }

    pub(super) fn get(&self) -> Followed {
        *self.0.lock()
    }
}

impl Followed {
    /// Whether events of a history may be read for those who follow this.
    pub(super) fn admits(&self, history: u64) -> bool {
        self.history.is_none_or(|followed| followed == history)
    }
}
