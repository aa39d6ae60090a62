//! Where a statement fires its triggers: meanwhile their events are collected, and written when it has done so.
//!
//! A session that loads the library by its first event is within a statement that nobody saw begin. Such events, and
//! those of what applies logical replication, are written one by one.
//!
//! Errors of statements pass through the hooks as PostgreSQL throws them, by a jump: pgrx would catch them and throw
//! others, without the names of tables and constraints. So the hooks hold nothing that would have to be dropped, and
//! what they do themselves is guarded on its own.

use crate::pending;
use crate::slots::Relations;
use crate::sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::{c_char, c_int};

thread_local! {
    static COLLECTING: Cell<bool> = const { Cell::new(false) };
    static NEXT_START: Cell<pg_sys::ExecutorStart_hook_type> = const { Cell::new(None) };
    static NEXT_FINISH: Cell<pg_sys::ExecutorFinish_hook_type> = const { Cell::new(None) };
    static NEXT_UTILITY: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

/// True if events are written when the statement has fired its triggers.
pub(crate) fn is_collecting() -> bool {
    COLLECTING.get()
}

/// Called when a transaction or a subtransaction is rolled back. Where a statement goes on that ran an inner one which
/// failed, its further events are written one by one.
pub(crate) fn interrupted() {
    COLLECTING.set(false);
}

/// Puts our hooks before those that are there.
pub(crate) fn register() {
    // SAFETY: called once, while the library is loaded; the hooks are functions of this library, which is never
    // unloaded.
    unsafe {
        NEXT_START.set(pg_sys::ExecutorStart_hook);
        NEXT_FINISH.set(pg_sys::ExecutorFinish_hook);
        NEXT_UTILITY.set(pg_sys::ProcessUtility_hook);
        pg_sys::ExecutorStart_hook = Some(executor_start);
        pg_sys::ExecutorFinish_hook = Some(executor_finish);
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

/// Runs something that fires triggers, and writes their events.
///
/// # Safety
/// An error may leave `fire` by a jump, so it must hold nothing that would have to be dropped.
unsafe fn collect(fire: impl FnOnce() + Copy) {
    let added = pending::added();
    let outer = COLLECTING.replace(true);
    fire();
    COLLECTING.set(outer);
    // Not what an outer statement waits with: it may be a check of a foreign key for each of its rows.
    if pending::added() != added {
        // SAFETY: takes no arguments.
        unsafe { write() };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn write() {
    pending::write();
}

/// A statement that a trigger runs sees what was captured before it, if it looks.
#[pg_guard]
unsafe extern "C-unwind" fn write_for(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the executor passes a valid query.
    if unsafe { reads_events(&*(*query).plannedstmt) } {
        pending::write();
    }
}

fn reads_events(statement: &pg_sys::PlannedStmt) -> bool {
    let relations = Relations::get();
    let list = statement.relationOids;
    if list.is_null() {
        return false;
    }
    // SAFETY: the planner's list of the OIDs of relations.
    unsafe {
        let count = usize::try_from((*list).length).unwrap_or(0);
        let cells = std::slice::from_raw_parts((*list).elements, count);
        cells.iter().any(|cell| relations.hold_events(cell.oid_value))
    }
}

unsafe extern "C-unwind" fn executor_start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: what is called gets what we got; there is nothing to be dropped if it raises an error.
    unsafe {
        if pending::exist() {
            write_for(query);
        }
        match NEXT_START.get() {
            Some(hook) => hook(query, flags),
            None => sys::standard_ExecutorStart(query, flags),
        }
    }
}

/// AFTER triggers fire here.
unsafe extern "C-unwind" fn executor_finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as above.
    unsafe {
        collect(|| match NEXT_FINISH.get() {
            Some(hook) => hook(query),
            None => sys::standard_ExecutorFinish(query),
        });
    }
}

/// COPY fires its triggers without an executor.
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's")]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: as above; a utility statement is a node.
    unsafe {
        if pending::exist() {
            write();
        }
        let process = || {
            let next = NEXT_UTILITY.get().unwrap_or(sys::standard_ProcessUtility);
            next(statement, text, read_only_tree, context, params, environment, receiver, completion);
        };
        if (*(*statement).utilityStmt).type_ == pg_sys::NodeTag::T_CopyStmt {
            collect(process);
        } else {
            process();
        }
    }
}
