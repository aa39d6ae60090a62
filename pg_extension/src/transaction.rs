//! What this backend remembers for the length of one transaction.

use crate::sys::current_subtransaction;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::ffi::c_void;

/// State that must not outlive the transaction, or the savepoint, it was made in.
#[derive(Default)]
pub(crate) struct TransactionState {
    /// The subtransaction whose pending NOTIFY covers us; rolled back with it.
    notified_in: Option<pg_sys::SubTransactionId>,
    /// The wake-up worker is told once it has committed.
    wake: bool,
    /// The last event stored was a TRUNCATE of this type, in this subtransaction.
    last_truncate: Option<(String, pg_sys::SubTransactionId)>,
    /// The metadata setting that was already complained about.
    warned_metadata: bool,
}

thread_local! {
    static STATE: RefCell<TransactionState> = RefCell::default();
}

/// True at the first call in a transaction, and again when that call was rolled back.
pub(crate) fn needs_notify() -> bool {
    STATE.with_borrow(|state| state.notified_in.is_none())
}

pub(crate) fn set_notified() {
    STATE.with_borrow_mut(|state| state.notified_in = Some(current_subtransaction()));
}

/// Has the wake-up worker told after the commit. A rolled back savepoint does not take that back: it is a hint.
pub(crate) fn wake_after_commit() {
    STATE.with_borrow_mut(|state| state.wake = true);
}

/// Remembers a TRUNCATE; false when the event just before it was the same one.
pub(crate) fn first_truncate(type_name: &str) -> bool {
    let this = current_subtransaction();
    STATE.with_borrow_mut(|state| {
        let repeated =
            state.last_truncate.as_ref().is_some_and(|(name, sub)| name == type_name && *sub == this);
        state.last_truncate = Some((type_name.to_owned(), this));
        !repeated
    })
}

pub(crate) fn forget_truncate() {
    STATE.with_borrow_mut(|state| state.last_truncate = None);
}

/// True once per transaction.
pub(crate) fn first_metadata_warning() -> bool {
    STATE.with_borrow_mut(|state| !std::mem::replace(&mut state.warned_metadata, true))
}

pub(crate) fn register() {
    // SAFETY: both callbacks are plain functions of this library, which is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ended), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_ended), std::ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn transaction_ended(event: pg_sys::XactEvent::Type, _arg: *mut c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if matches!(event, XACT_EVENT_ABORT | XACT_EVENT_COMMIT | XACT_EVENT_PREPARE) {
        let ended = STATE.with(|state| state.try_borrow_mut().map(|mut state| std::mem::take(&mut *state)));
        if event == XACT_EVENT_COMMIT && ended.is_ok_and(|state| state.wake) {
            crate::wake_up::committed();
        }
        crate::order::forget();
        crate::pending::forget();
        crate::statement::interrupted();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subtransaction_ended(
    event: pg_sys::SubXactEvent::Type,
    ended: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _arg: *mut c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    match event {
        SUBXACT_EVENT_COMMIT_SUB => {
            crate::order::keep(ended, parent);
            crate::pending::keep(ended, parent);
        }
        SUBXACT_EVENT_ABORT_SUB => {
            crate::order::roll_back(ended);
            crate::pending::roll_back(ended);
            crate::statement::interrupted();
        }
        _ => {}
    }
    STATE.with(|state| {
        let Ok(mut state) = state.try_borrow_mut() else { return };
        match event {
            SUBXACT_EVENT_COMMIT_SUB if state.notified_in == Some(ended) => {
                state.notified_in = Some(parent);
            }
            SUBXACT_EVENT_ABORT_SUB => {
                if state.notified_in == Some(ended) {
                    state.notified_in = None;
                }
                state.last_truncate = None;
            }
            _ => {}
        }
    });
}
