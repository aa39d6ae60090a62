//! Wakes the readers of `tidings.events`.
//!
//! Two ways, one contract: after a transaction that stored events has committed, whoever listens to `tidings` hears of
//! it; a rolled back one says nothing.
//!
//! - *direct*: the transaction itself sends a NOTIFY. It takes a lock of the whole cluster at commit and holds it
//!   through the flush of WAL, so that writers of all databases commit one after the other.
//! - *coalesced* ([`worker`]): the library is preloaded and a worker serves this database. A commit sets a flag and the
//!   worker's latch; the worker sends one NOTIFY for all commits since its last.

use crate::{settings, transaction};
use pgrx::prelude::*;

pub(crate) mod worker;

/// Wakes the readers when this transaction commits.
pub(crate) fn at_commit() {
    if !settings::NOTIFY.get() {
        return;
    }
    if is_coalesced() {
        transaction::wake_after_commit();
    } else if transaction::needs_notify() {
        crate::store::notify();
        transaction::set_notified();
    }
}

/// The transaction has committed, and everybody can see it.
pub(crate) fn committed() {
    worker::wake();
}

fn is_coalesced() -> bool {
    settings::COALESCE.get() && worker::serves_this_database()
}

/// How a transaction of this session would wake its readers.
#[pg_extern(sql = false)]
fn wake_up_mode() -> &'static str {
    match (settings::NOTIFY.get(), is_coalesced()) {
        (false, _) => "off",
        (true, true) => "coalesced",
        (true, false) => "direct",
    }
}
