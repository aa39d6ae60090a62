//! PostgreSQL snapshots: which transactions had finished at one moment.

use std::fmt;
use std::str::FromStr;

/// A `pg_snapshot`: every transaction below `xmax` had finished, except those listed.
///
/// Only top-level transactions are listed, which is why events carry their top-level xid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    xmax: u64,
    /// Transactions below `xmax` still in progress, ascending.
    in_progress: Vec<u64>,
}

impl Snapshot {
    /// Builds a snapshot; the list may be in any order.
    pub fn new(xmax: u64, mut in_progress: Vec<u64>) -> Self {
        in_progress.retain(|xid| *xid < xmax);
        in_progress.sort_unstable();
        in_progress.dedup();
        Self { xmax, in_progress }
    }

    /// The first xid that had not been assigned.
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions that were in progress, ascending.
    pub fn in_progress(&self) -> &[u64] {
        &self.in_progress
    }

    /// Whether the transaction had finished when the snapshot was taken.
    pub fn sees(&self, xid: u64) -> bool {
        xid < self.xmax && self.in_progress.binary_search(&xid).is_err()
    }

    /// What sees every transaction that either of them sees.
    pub fn union(&self, other: &Self) -> Self {
        let running = self.in_progress.iter().chain(&other.in_progress).copied();
        let unseen = running.filter(|xid| !self.sees(*xid) && !other.sees(*xid)).collect();
        Self::new(self.xmax.max(other.xmax), unseen)
    }

    /// Whether every transaction that the other snapshot sees is seen by this one.
    pub fn covers(&self, other: &Self) -> bool {
        let beyond = other.xmax.saturating_sub(self.xmax);
        let running_beyond = other.in_progress.iter().filter(|xid| **xid >= self.xmax).count() as u64;
        running_beyond == beyond && !self.in_progress.iter().any(|xid| other.sees(*xid))
    }
}

/// A text that is no `pg_snapshot`.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a pg_snapshot of the form xmin:xmax:xid,xid,…")]
pub struct SnapshotError(String);

impl FromStr for Snapshot {
    type Err = SnapshotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut parts = text.splitn(3, ':');
            let _xmin: u64 = parts.next()?.parse().ok()?;
            let xmax = parts.next()?.parse().ok()?;
            let list = parts.next()?;
            let in_progress: Option<Vec<u64>> = if list.is_empty() {
                Some(Vec::new())
            } else {
                list.split(',').map(|xid| xid.parse().ok()).collect()
            };
            Some(Self::new(xmax, in_progress?))
        };
        parse().ok_or_else(|| SnapshotError(text.to_owned()))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let xmin = self.in_progress.first().unwrap_or(&self.xmax);
        write!(formatter, "{xmin}:{}:", self.xmax)?;
        for (index, xid) in self.in_progress.iter().enumerate() {
            write!(formatter, "{}{xid}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    #[test]
    fn text_form_is_that_of_postgresql() {
        for text in ["10:20:10,14,15", "5:5:", "1:18446744073709551615:"] {
            let snapshot: Snapshot = text.parse().unwrap();
            // Without running transactions the text's xmin says nothing more than its xmax.
            let expected =
                if text.starts_with("1:") { "18446744073709551615:18446744073709551615:" } else { text };
            assert_eq!(snapshot.to_string(), expected);
        }
        for text in ["", "10:20", "a:b:c", "10:20:x", "10:20:1,", "-1:2:"] {
            assert!(text.parse::<Snapshot>().is_err(), "{text}");
        }
    }

    #[test]
    fn sees_what_had_finished() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().unwrap();
        assert!(snapshot.sees(9) && snapshot.sees(11) && snapshot.sees(19));
        assert!(!snapshot.sees(10) && !snapshot.sees(15) && !snapshot.sees(20));
    }

    #[test]
    fn a_union_sees_what_either_sees() {
        let texts = ["10:20:10,14,15", "5:5:", "14:30:14,25", "9:22:9,10,20"];
        let snapshots = texts.map(|text| text.parse::<Snapshot>().unwrap());
        for (one, other) in snapshots.iter().flat_map(|one| snapshots.iter().map(move |other| (one, other))) {
            let union = one.union(other);
            for xid in 0..35 {
                assert_eq!(union.sees(xid), one.sees(xid) || other.sees(xid), "{xid} {one} {other}");
            }
        }
    }

    #[test]
    fn covers_what_sees_no_more() {
        let snapshot: Snapshot = "10:20:10,14,15".parse().unwrap();
        for other in ["10:20:10,14,15", "5:5:", "10:22:10,14,15,20,21", "10:18:10,12,14,15"] {
            assert!(snapshot.covers(&other.parse().unwrap()), "{other}");
        }
        for other in ["14:20:14,15", "21:21:", "10:22:10,14,15,21", "16:16:"] {
            assert!(!snapshot.covers(&other.parse().unwrap()), "{other}");
        }
    }
}
