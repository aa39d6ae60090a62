//! Keeps the events of a row in the order of its versions when triggers write.
//!
//! PostgreSQL fires AFTER ROW triggers once a statement has changed all of its rows. If a user's trigger
//! for the first row then updates the second, that nested change is captured while the second row's own
//! event is still waiting in the queue. Each change knows which version (place in the table) it replaces
//! and which it makes, so the late event is recognised by the version it makes, and is given the lower id.

use crate::store;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

/// A place in a table: the table and the tuple's position.
type Version = (pg_sys::Oid, u64);

/// A change by a nested statement, captured before the event of the version that it replaces.
#[derive(Debug)]
struct Early {
    ids: Vec<i64>,
    made: Option<Version>,
}

/// Remembering the latest captured versions sorts out nearly all nested changes as not early: a trigger
/// mostly rewrites the row that it was fired for.
const RECENT_MAX: usize = 64;
/// About 10 MB. Beyond it the rest of the statement is captured in the order in which triggers fired,
/// with a WARNING.
const EARLY_MAX: usize = 100_000;

#[derive(Default)]
struct Versions {
    recent: VecDeque<Version>,
    early: HashMap<Version, Early>,
    overflowed: bool,
}

thread_local! {
    static VERSIONS: RefCell<Versions> = RefCell::default();
}

/// Called at the end of a transaction.
pub(crate) fn forget() {
    VERSIONS.with(|versions| {
        if let Ok(mut versions) = versions.try_borrow_mut() {
            *versions = Versions::default();
        }
    });
}

/// Takes note of a captured change and puts its events, `ids`, before those that came too early.
///
/// # Safety
/// `old` and `new` must be null or tuples of the relation.
pub(crate) unsafe fn captured(
    relation: pg_sys::Oid,
    old: pg_sys::HeapTuple,
    new: pg_sys::HeapTuple,
    ids: Vec<i64>,
) {
    // SAFETY: the caller vouches for both.
    let (replaced, made) = unsafe { (version_of(relation, old), version_of(relation, new)) };
    // SAFETY: as above.
    let nested = replaced.is_some() && unsafe { made_by_us(old) } && trigger_depth() > 1;
    let late = VERSIONS.with_borrow_mut(|versions| {
        let chain = made.map(|made| versions.take_chain(made)).unwrap_or_default();
        if let Some(replaced) = replaced.filter(|replaced| nested && !versions.recent.contains(replaced)) {
            versions.remember_early(replaced, Early { ids: ids.clone(), made });
        }
        if let Some(made) = made {
            if versions.recent.len() >= RECENT_MAX {
                versions.recent.pop_front();
            }
            versions.recent.push_back(made);
        }
        chain
    });
    if !late.is_empty() && !ids.is_empty() {
        swap(ids, late);
    }
}

impl Versions {
    /// The ids of the early events that continue from this version, in order.
    fn take_chain(&mut self, mut from: Version) -> Vec<i64> {
        let mut ids = Vec::new();
        while let Some(early) = self.early.remove(&from) {
            ids.extend(early.ids);
            match early.made {
                Some(next) => from = next,
                None => break,
            }
        }
        ids
    }

    fn remember_early(&mut self, replaced: Version, early: Early) {
        if self.early.len() < EARLY_MAX {
            self.early.insert(replaced, early);
        } else if !std::mem::replace(&mut self.overflowed, true) {
            crate::error::warn(
                format!("more than {EARLY_MAX} rows were changed by nested triggers in one transaction"),
                "The order of events of rows changed twice by such a statement is not certain; use smaller statements.",
            );
        }
    }
}

/// The same ids, dealt out anew: first to the late events, then to the early ones.
fn swap(late: Vec<i64>, early: Vec<i64>) {
    let old: Vec<i64> = late.into_iter().chain(early).collect();
    let mut new = old.clone();
    new.sort_unstable();
    store::renumber(old, new);
}

/// # Safety
/// `tuple` must be null or a valid tuple.
unsafe fn version_of(relation: pg_sys::Oid, tuple: pg_sys::HeapTuple) -> Option<Version> {
    // SAFETY: the caller vouches for the tuple.
    (!tuple.is_null()).then(|| unsafe { (relation, pgrx::itemptr::item_pointer_to_u64((*tuple).t_self)) })
}

/// True if this transaction made the version.
///
/// # Safety
/// `tuple` must be a valid tuple.
unsafe fn made_by_us(tuple: pg_sys::HeapTuple) -> bool {
    // SAFETY: the header of a stored tuple has its inserting transaction.
    unsafe {
        pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::htup::HeapTupleHeaderGetXmin((*tuple).t_data))
    }
}

fn trigger_depth() -> i32 {
    // SAFETY: takes no arguments and returns an integer.
    unsafe { pgrx::direct_function_call::<i32>(pg_sys::pg_trigger_depth, &[]) }.unwrap_or_default()
}
