//! Moments of a database: what there was, and what of it is missing from a set.

use std::sync::Arc;

use crate::cursor::{Cursor, Floor};
use crate::snapshot::Snapshot;

/// Which events may be missing from any of several sets: more than are, never fewer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Those of transactions from this xid on,
    pub xmax: u64,
    /// of these transactions,
    pub running: Vec<u64>,
    /// and those with higher ids than this.
    pub top: i64,
    /// The highest id in any of the sets,
    pub newest: i64,
    /// and every transaction that any of them knows of as finished.
    pub known: Snapshot,
    /// The history that all the sets are of; nothing if they are of several.
    pub history: Option<u64>,
}

/// A moment of the database.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Which history it belongs to.
    pub history: u64,
    /// What had finished.
    pub snapshot: Arc<Snapshot>,
    /// The highest id of an event that was there or has been removed; zero if none was.
    pub top: i64,
    /// The highest id that was ever drawn: no set of this history has a higher one.
    pub last_id: i64,
    /// What may have been removed.
    pub floor: Option<Floor>,
    /// The lowest and the highest id of what is missing.
    pub ids: Option<(i64, i64)>,
}

impl Missing {
    /// Nothing, of no history.
    pub fn nothing() -> Self {
        // Half of them, as the database knows no higher ones.
        let xmax = u64::MAX >> 1;
        let (running, known) = (Vec::new(), Snapshot::default());
        Self { xmax, running, top: i64::MAX, newest: i64::MIN, known, history: None }
    }

    /// Whether the event with this id and xid may be missing.
    pub fn names(&self, id: i64, xid: u64) -> bool {
        id > self.top || xid >= self.xmax || self.running.binary_search(&xid).is_ok()
    }

    /// What may be missing from any of these sets.
    pub fn from_any<'a>(sets: impl Iterator<Item = &'a Cursor>) -> Self {
        let mut missing = Self::nothing();
        let mut histories = Vec::new();
        for set in sets {
            missing.xmax = missing.xmax.min(set.seen.xmax());
            missing.top = missing.top.min(set.top);
            missing.newest = set.parts().map(|part| part.upto).fold(missing.newest.max(set.top), i64::max);
            for snapshot in set.parts().map(|part| &part.snapshot).chain([&set.seen]) {
                if !missing.known.covers(snapshot) {
                    missing.known = missing.known.union(snapshot);
                }
            }
            missing.running.extend_from_slice(set.seen.in_progress());
            if !histories.contains(&set.history) && histories.len() < 2 {
                histories.push(set.history);
            }
        }
        missing.history = if let [history] = histories[..] { Some(history) } else { None };
        missing.running.retain(|xid| *xid < missing.xmax);
        missing.running.sort_unstable();
        missing.running.dedup();
        missing
    }
}

impl Moment {
    /// Whether this history cannot say what the set lacks, because it is of another one.
    pub fn is_foreign(&self, seen: &Cursor) -> bool {
        seen.is_foreign_to(self.history, self.last_id)
    }

    /// How many ids lie between the first and the last that is missing.
    pub fn span(&self) -> i64 {
        self.ids.map_or(0, |(first, last)| last.saturating_sub(first).saturating_add(1))
    }

    /// The set of everything that was there, for somebody whose own set went up to this id.
    pub fn cursor(&self, top: i64) -> Cursor {
        Cursor {
            history: self.history,
            top: self.top.max(top),
            seen: self.snapshot.clone(),
            within: None,
            left: Vec::new(),
        }
    }

    /// The set of no more than what may have been removed: whoever goes on from here gets everything that
    /// is left.
    pub fn oldest(&self) -> Cursor {
        let nothing = || Floor { snapshot: Snapshot::new(1, Vec::new()), top: 0 };
        let Floor { snapshot, top } = self.floor.clone().unwrap_or_else(nothing);
        Cursor { history: self.history, top, seen: Arc::new(snapshot), within: None, left: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_from_any_covers_what_each_lacks() {
        let cursor = |seen: &str, top| Cursor {
            history: 1,
            top,
            seen: Arc::new(seen.parse().unwrap()),
            within: None,
            left: Vec::new(),
        };
        let sets = [cursor("10:20:10,15", 7), cursor("12:18:12", 9), cursor("15:30:15,25", 8)];
        let missing = Missing::from_any(sets.iter());
        let (running, history) = (vec![10, 12, 15], Some(1));
        let known = "25:30:25".parse().unwrap();
        assert_eq!(missing, Missing { xmax: 18, running, top: 7, newest: 9, known, history });
        for (id, xid) in (1..12).flat_map(|id| (1..40).map(move |xid| (id, xid))) {
            let lacks = sets.iter().any(|set| !set.contains(id, xid));
            assert!(missing.names(id, xid) || !lacks, "{id} {xid}");
        }
    }
}
