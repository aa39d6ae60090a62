//! Keeps the events of a row in the order of its versions when triggers write.
//!
//! PostgreSQL fires AFTER ROW triggers once a statement has changed all of its rows. If a user's trigger
//! for the first row then updates the second, that nested change is captured while the second row's own
//! event is still waiting in the queue. Each change knows which version (place in the table) it replaces
//! and which it makes, so the late event is recognised by the version it makes, and is given the lower id.

use crate::{store, sys};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};

/// A place in a table: the table and the tuple's position.
type Version = (pg_sys::Oid, u64);

/// One or more changes of a row by nested statements, captured before the event of the version that the
/// first of them replaces.
#[derive(Clone, Debug, Default)]
struct Early {
    /// In the order of the versions.
    ids: Vec<i64>,
    /// What the last of them made; None after a DELETE.
    made: Option<Version>,
}

/// Event `old[n]` gets the id `new[n]`.
struct Renumbering {
    old: Vec<i64>,
    new: Vec<i64>,
}

/// Remembering the latest captured versions sorts out nearly all nested changes as not early: a trigger
/// mostly rewrites the row that it was fired for.
const RECENT_MAX: usize = 64;
/// About 10 MB. Beyond it the rest of the statement is captured in the order in which triggers fired,
/// with a WARNING.
const EARLY_MAX: usize = 100_000;

/// `TopSubTransactionId` of PostgreSQL's access/xact.h: the transaction itself.
const TOP_SUBTRANSACTION: pg_sys::SubTransactionId = 1;

#[derive(Clone, Default)]
struct Versions {
    recent: VecDeque<Version>,
    /// By the version that is replaced.
    early: HashMap<Version, Early>,
    /// What early changes made: whatever replaces that is early too.
    early_made: HashSet<Version>,
    overflowed: bool,
}

thread_local! {
    static VERSIONS: RefCell<Versions> = RefCell::default();
    /// What was known before each open subtransaction took note of its first change, innermost last:
    /// a rollback makes changes undone that were noted, and early ones that were dealt with early again.
    static SAVED: RefCell<Vec<(pg_sys::SubTransactionId, Versions)>> = RefCell::default();
}

/// Takes down what is known, once for a subtransaction.
fn save_for_rollback(versions: &Versions) {
    let current = sys::current_subtransaction();
    if current == TOP_SUBTRANSACTION {
        return;
    }
    SAVED.with_borrow_mut(|saved| {
        if saved.last().is_none_or(|(subtransaction, _)| *subtransaction != current) {
            saved.push((current, versions.clone()));
        }
    });
}

/// Called at the end of a subtransaction that becomes part of its parent.
pub(crate) fn keep(ended: pg_sys::SubTransactionId, parent: pg_sys::SubTransactionId) {
    SAVED.with(|saved| {
        let Ok(mut saved) = saved.try_borrow_mut() else { return };
        let Some((_, before)) = saved.pop_if(|(subtransaction, _)| *subtransaction == ended) else { return };
        let known = saved.last().is_some_and(|(subtransaction, _)| *subtransaction == parent);
        // A parent that noted nothing before its child knew the same as the child at its start.
        if !known && parent != TOP_SUBTRANSACTION {
            saved.push((parent, before));
        }
    });
}

/// Called when a subtransaction is rolled back.
pub(crate) fn roll_back(ended: pg_sys::SubTransactionId) {
    SAVED.with(|saved| {
        let Ok(mut saved) = saved.try_borrow_mut() else { return };
        let Some((_, before)) = saved.pop_if(|(subtransaction, _)| *subtransaction == ended) else { return };
        VERSIONS.with(|versions| {
            if let Ok(mut versions) = versions.try_borrow_mut() {
                *versions = before;
            }
        });
    });
}

/// Called at the end of a transaction.
pub(crate) fn forget() {
    SAVED.with(|saved| {
        if let Ok(mut saved) = saved.try_borrow_mut() {
            saved.clear();
        }
    });
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
    ids: &[i64],
) {
    // SAFETY: the caller vouches for both.
    let (replaced, made) = unsafe { (version_of(relation, old), version_of(relation, new)) };
    // SAFETY: as above.
    let nested = replaced.is_some() && unsafe { made_by_us(old) } && trigger_depth() > 1;
    let renumbered = VERSIONS.with_borrow_mut(|versions| {
        save_for_rollback(versions);
        let following = made.map(|made| versions.take_chain(made)).unwrap_or_default();
        let early = replaced.filter(|replaced| nested && versions.is_early(replaced));
        let renumbered = if early.is_some() || !following.ids.is_empty() {
            let (change, renumbered) = joined(Early { ids: ids.to_vec(), made }, following);
            if let Some(replaced) = early {
                versions.remember_early(replaced, change);
            }
            renumbered
        } else {
            None
        };
        versions.remember_recent(made);
        renumbered
    });
    if let Some(Renumbering { old, new }) = renumbered {
        store::renumber(old, new);
    }
}

/// Puts a late change before the early ones that continue from it: the same ids, dealt out anew.
fn joined(late: Early, following: Early) -> (Early, Option<Renumbering>) {
    let made = following.made;
    if following.ids.is_empty() {
        return (Early { ids: late.ids, made }, None);
    }
    let old: Vec<i64> = late.ids.into_iter().chain(following.ids).collect();
    let mut new = old.clone();
    new.sort_unstable();
    (Early { ids: new.clone(), made }, Some(Renumbering { old, new }))
}

impl Versions {
    /// The early changes that continue from this version, as one.
    fn take_chain(&mut self, from: Version) -> Early {
        let mut chain = Early { ids: Vec::new(), made: Some(from) };
        while let Some(early) = chain.made.and_then(|made| self.early.remove(&made)) {
            chain.ids.extend(early.ids);
            chain.made = early.made;
            if let Some(made) = early.made {
                self.early_made.remove(&made);
            }
        }
        chain
    }

    fn is_early(&self, replaced: &Version) -> bool {
        !self.recent.contains(replaced) || self.early_made.contains(replaced)
    }

    fn remember_recent(&mut self, made: Option<Version>) {
        let Some(made) = made else { return };
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(made);
    }

    fn remember_early(&mut self, replaced: Version, early: Early) {
        if self.early.len() < EARLY_MAX {
            self.early_made.extend(early.made);
            self.early.insert(replaced, early);
        } else if !std::mem::replace(&mut self.overflowed, true) {
            crate::error::warn(
                format!("more than {EARLY_MAX} rows were changed by nested triggers in one transaction"),
                "The order of events of rows changed twice by such a statement is not certain; use smaller statements.",
            );
        }
    }
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
    sys::is_ours(unsafe { pg_sys::htup::HeapTupleHeaderGetXmin((*tuple).t_data) })
}

fn trigger_depth() -> i32 {
    // SAFETY: takes no arguments and returns an integer.
    unsafe { pgrx::direct_function_call::<i32>(pg_sys::pg_trigger_depth, &[]) }.unwrap_or_default()
}
