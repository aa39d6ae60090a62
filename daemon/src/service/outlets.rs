//! What was dispatched to those who have lent their sockets is written.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

use crate::hub::mailbox::{self, Mailbox};

/// Mailboxes that are written to before others get a turn.
const TURN: usize = 32;

/// Writes what waits in mailboxes, on all threads of the runtime if it is much, and counts it.
pub(super) async fn write(mut due: Vec<Arc<Mailbox>>, written: &Counter) {
    if due.is_empty() {
        return;
    }
    let threads = Handle::current().metrics().num_workers();
    let share = due.len().div_ceil(threads).max(TURN);
    let mut others = Vec::new();
    while due.len() > share {
        others.push(tokio::spawn(write_in_turns(due.split_off(due.len() - share), written.clone())));
    }
    write_in_turns(due, written.clone()).await;
    for other in others {
        // It does not panic, and nobody aborts it while the runtime lives.
        let _ = other.await;
    }
}

async fn write_in_turns(due: Vec<Arc<Mailbox>>, written: Counter) {
    let mut room = Vec::new();
    // The last were touched last.
    let mut due = due.into_iter().rev().peekable();
    while due.peek().is_some() {
        let now = Instant::now();
        let some = due.by_ref().take(TURN);
        let results: usize = some.map(|mailbox| mailbox.write_by_outlet(now, &mut room)).sum();
        written.inc_by(results as u64);
        tokio::task::yield_now().await;
    }
    mailbox::give_back(room);
}
