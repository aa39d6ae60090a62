//! Ways into a client's socket that pass by its task.
//!
//! A task that is woken for every event touches dozens of cache lines that nobody has touched since the last one. So while
//! it has nothing to do but to wait for results, it lends the hub its socket: what comes is written from where it was
//! dispatched. Whatever is not simply a result, and whatever the socket does not take at once, is the task's again.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::mailbox::{Delivery, Mailbox};

/// Writes results to a client, between two frames of its task.
pub trait Outlet: fmt::Debug + Send + Sync {
    /// Writes results, each a [`Delivery::Next`]. What the socket did not take has to be written before anything else.
    fn write(&self, results: &[Delivery]) -> Vec<u8>;
}

/// What became of an outlet while it was lent.
#[derive(Debug, Default)]
pub struct Returned {
    /// What has to be written before anything else: the rest of a frame, perhaps.
    pub rest: Vec<u8>,
    /// When something was last written.
    pub written: Option<Instant>,
}

/// Mailboxes whose results are to be written by their outlets, see [`Mailbox::write_by_outlet`].
#[derive(Debug, Default)]
pub struct Due(pub(super) Vec<Arc<Mailbox>>);

impl Due {
    /// Takes all of them.
    pub fn take(&mut self) -> Vec<Arc<Mailbox>> {
        std::mem::take(&mut self.0)
    }
}
