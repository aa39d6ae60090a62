//! Events that were captured and are not in their table yet.
//!
//! They are kept for as long as the statement fires its triggers (see `statement`), so that they can be inserted many at
//! a time. A subtransaction that begins meanwhile may be rolled back: what was captured before it and written within it
//! is kept until it has ended, and written again if need be.

use crate::slots::{RowValues, Rows};
use crate::sys;
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};

/// As many as COPY collects: beyond that nothing becomes cheaper, and the memory stays in the processor's caches. A larger
/// event goes at once.
const ROWS_MAX: usize = 1000;
const BYTES_MAX: usize = 64 * 1024;

struct Batch {
    rows: Rows,
    /// That of the last row.
    command: pg_sys::CommandId,
    captured_in: pg_sys::SubTransactionId,
    written_in: Option<pg_sys::SubTransactionId>,
}

thread_local! {
    static BATCHES: RefCell<Vec<Batch>> = const { RefCell::new(Vec::new()) };
    /// Counts what was ever added.
    static ADDED: Cell<u64> = const { Cell::new(0) };
}

/// Adds an event that is written later.
pub(crate) fn add(slot: usize, values: &RowValues) {
    let current = sys::current_subtransaction();
    let mut batch = BATCHES
        .with_borrow_mut(|batches| {
            batches.pop_if(|batch| {
                batch.captured_in == current && batch.written_in.is_none() && batch.rows.slot() == slot
            })
        })
        .unwrap_or_else(|| Batch {
            rows: Rows::for_slot(slot),
            command: 0,
            captured_in: current,
            written_in: None,
        });
    batch.rows.push(values);
    // SAFETY: as a write of this command, which every later one sees.
    batch.command = unsafe { pg_sys::GetCurrentCommandId(true) };
    let full = batch.rows.len() >= ROWS_MAX || batch.rows.bytes() >= BYTES_MAX;
    BATCHES.with_borrow_mut(|batches| batches.push(batch));
    ADDED.set(ADDED.get().wrapping_add(1));
    if full {
        write();
    }
}

/// A number that is another one after each addition.
pub(crate) fn added() -> u64 {
    ADDED.get()
}

/// True if events may be waiting to be written.
pub(crate) fn exist() -> bool {
    BATCHES.with(|batches| batches.try_borrow().is_ok_and(|batches| !batches.is_empty()))
}

/// Writes what is waiting.
pub(crate) fn write() {
    let mut taken = Taken(BATCHES.take());
    let current = sys::current_subtransaction();
    for batch in &mut taken.0 {
        if batch.written_in.is_none() {
            batch.rows.insert(batch.command);
            batch.written_in = Some(current);
        }
    }
    taken.0.retain(|batch| batch.captured_in != current);
}

/// Batches that come back whatever happens to the subtransaction that writes them.
struct Taken(Vec<Batch>);

impl Drop for Taken {
    fn drop(&mut self) {
        BATCHES.with_borrow_mut(|batches| {
            std::mem::swap(batches, &mut self.0);
            // What was captured meanwhile, by functions of somebody's index.
            batches.append(&mut self.0);
        });
    }
}

/// Called at the end of a subtransaction that becomes part of its parent.
pub(crate) fn keep(ended: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    BATCHES.with_borrow_mut(|batches| {
        batches.retain_mut(|batch| {
            if batch.captured_in == ended {
                batch.captured_in = parent;
            }
            if batch.written_in == Some(ended) {
                batch.written_in = Some(parent);
            }
            batch.written_in != Some(batch.captured_in)
        });
    });
}

/// Called when a subtransaction is rolled back.
pub(crate) fn roll_back(ended: pg_sys::SubTransactionId) {
    BATCHES.with_borrow_mut(|batches| {
        batches.retain_mut(|batch| {
            batch.written_in = batch.written_in.filter(|&written| written != ended);
            batch.captured_in != ended
        });
    });
}

/// Called at the end of a transaction.
pub(crate) fn forget() {
    BATCHES.with_borrow_mut(Vec::clear);
}
