//! Cursors and snapshots: what a place in the stream takes, and whether something has been seen.

use std::hint::black_box;
use std::sync::Arc;

use tidings_daemon::source::cursor::Cursor;
use tidings_daemon::source::snapshot::Snapshot;

use super::Case;
use crate::{room, shop};

/// Transactions that run at a busy moment.
const RUNNING: u64 = 32;

pub(super) fn cases(cases: &mut Vec<Case>) {
    cases.push(Case::new("cursor/encode", "cursor", 1, || {
        let cursor = within_batch();
        Ok(Box::new(move || {
            black_box(cursor.encode());
        }))
    }));
    cases.push(Case::new("cursor/encode-busy", "cursor", 1, || {
        let cursor = Cursor { seen: Arc::new(busy(1_000_000)), ..within_batch() };
        Ok(Box::new(move || {
            black_box(cursor.encode());
        }))
    }));
    cases.push(Case::new("cursor/decode", "cursor", 1, || {
        let text = within_batch().encode();
        Ok(Box::new(move || {
            black_box(Cursor::decode(&text).is_ok());
        }))
    }));
    cases.push(Case::new("cursor/advance", "event", 64, || {
        let batch = room::batch(&room::start(), (0..64).map(|id| shop::inserted(id, 0)).collect());
        Ok(Box::new(move || {
            for index in 0..batch.events.len() {
                black_box(batch.cursor_after(index).encode());
            }
        }))
    }));
    cases.push(Case::new("snapshot/parse", "snapshot", 1, || {
        let text = busy(1_000_000).to_string();
        Ok(Box::new(move || {
            black_box(text.parse::<Snapshot>().is_ok());
        }))
    }));
    cases.push(Case::new("snapshot/difference", "event", 1_000, || {
        let (old, new) = (busy(1_000_000), busy(1_000_500));
        Ok(Box::new(move || {
            let lacked = (999_500..1_000_500).filter(|xid| new.sees(*xid) && !old.sees(*xid));
            black_box(lacked.count());
        }))
    }));
    cases.push(Case::new("snapshot/covers", "snapshot", 1, || {
        let (old, new) = (busy(1_000_000), busy(1_000_010));
        Ok(Box::new(move || {
            black_box(new.covers(black_box(&old)));
        }))
    }));
}

fn within_batch() -> Cursor {
    let batch = room::batch(&room::start(), (0..10).map(|id| shop::inserted(id, 0)).collect());
    batch.cursor_after(4)
}

fn busy(xmax: u64) -> Snapshot {
    Snapshot::new(xmax, (0..RUNNING).map(|number| xmax - 1 - 3 * number).collect())
}
