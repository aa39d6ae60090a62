//! The daemons, which do not live for long.

use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::client::Counts;
use crate::support::cluster::signal;
use crate::support::daemon::Daemon;
use crate::support::within;

/// Two daemons on one database.
pub struct Nodes {
    url: String,
    daemons: [Mutex<Option<Daemon>>; 2],
}

impl Nodes {
    pub async fn start(url: &str) -> Self {
        let daemons = [Mutex::new(Some(start(url).await)), Mutex::new(Some(start(url).await))];
        Self { url: url.to_owned(), daemons }
    }

    /// Where a node is to be reached, if it is there.
    pub fn address(&self, node: usize) -> Option<String> {
        self.daemons[node].lock().as_ref().map(|daemon| daemon.address.clone())
    }

    /// Kills a node without warning, and starts another in its place.
    pub async fn kill(&self, node: usize) {
        let killed = self.daemons[node].lock().take();
        drop(killed);
        let daemon = start(&self.url).await;
        *self.daemons[node].lock() = Some(daemon);
    }

    /// Has a node stand still until a client has given it up.
    pub async fn freeze(&self, node: usize, counts: &Counts) {
        let pid = self.daemons[node].lock().as_ref().expect("it runs").pid().to_string();
        signal("STOP", &pid);
        let before = counts.stalled.load(Ordering::Relaxed);
        within(
            "a client that gives up a frozen daemon",
            counts.until(|counts| counts.stalled.load(Ordering::Relaxed) > before),
        )
        .await;
        signal("CONT", &pid);
    }
}

async fn start(url: &str) -> Daemon {
    Daemon::builder(url).env("TIDINGS_MAILBOX_MESSAGES", "500").start().await
}
