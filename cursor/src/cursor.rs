//! Cursors: the set of events that a client has seen, as a short opaque text.
//!
//! A cursor is a set, not a position: transactions commit in another order than they draw their
//! ids in, so no single number says what has been seen. DESIGN.md, section 3.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::snapshot::Snapshot;

/// Version of the encoding, in the upper half of the first byte; the lower is the number of parts.
const VERSION: u8 = 1;

/// Most beginnings of batches in one set.
pub const PARTS_MAX: usize = 15;

/// Most running transactions that a snapshot of a cursor may name: what a client sends must not make us allocate
/// without bound.
const IN_PROGRESS_MAX: u64 = 16_384;

/// Longest cursor text that is looked at, in bytes.
pub const CURSOR_TEXT_BYTES_MAX: usize = 64 * 1024;

/// A set of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Which history of which database the set belongs to.
    pub history: u64,
    /// Highest event id among the events that `seen` covers. Transactions that a crash lost give
    /// their xids to new ones, so an event with a higher id is not in the set even if its xid is.
    pub top: i64,
    /// Every event of a transaction that this snapshot sees has been seen, up to `top`.
    pub seen: Arc<Snapshot>,
    /// Besides, the beginning of the next batch.
    pub within: Option<Within>,
    /// And of batches before it that were left in the middle, as far as they reach beyond it; hardly ever any.
    pub left: Vec<Within>,
}

/// The part of a batch that has been seen: a batch is ordered by event id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Within {
    /// The snapshot that the batch leads to.
    pub snapshot: Arc<Snapshot>,
    /// Its events up to and including this id have been seen.
    pub upto: i64,
}

/// What retention may have removed: every event that the snapshot sees, up to an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// Of the events that it sees
    pub snapshot: Snapshot,
    /// those up to this id.
    pub top: i64,
}

/// Why a text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The cursor is not one that this service made: it was cut off or altered, or is of another service")]
pub struct CursorError;

impl Cursor {
    /// Whether the event with this id and xid is in the set.
    pub fn contains(&self, id: i64, xid: u64) -> bool {
        let before = id <= self.top && self.seen.sees(xid);
        before || self.parts().any(|part| id <= part.upto && part.snapshot.sees(xid))
    }

    /// Up to which id the events of a transaction are in the set; nothing if none is.
    pub fn seen_up_to(&self, xid: u64) -> Option<i64> {
        let parts = self.parts().filter(|part| part.snapshot.sees(xid)).map(|part| part.upto);
        parts.chain(self.seen.sees(xid).then_some(self.top)).max()
    }

    /// The beginnings of batches.
    pub fn parts(&self) -> impl Iterator<Item = &Within> {
        self.within.iter().chain(&self.left)
    }

    /// The set that also has everything which this later snapshot sees, up to an id. Of the batches that were left in the
    /// middle, what lies beyond counts besides.
    pub fn up_to(&self, upto: i64, snapshot: &Arc<Snapshot>) -> Self {
        let beyond = |part: &&Within| part.upto > upto && part.snapshot != *snapshot;
        Self {
            within: Some(Within { snapshot: snapshot.clone(), upto }),
            left: self.parts().filter(beyond).cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether it is of another history than this one, of which the last id that was drawn is known.
    pub fn is_foreign_to(&self, history: u64, last_id: i64) -> bool {
        // Ids never come again, but a crash takes back xids: those of a set may be from before it.
        self.history != history || self.top > last_id || self.parts().any(|part| part.upto > last_id)
    }

    /// Whether an event that was removed may be missing from the set.
    pub fn lacks(&self, floor: &Floor) -> bool {
        let reaches = |snapshot: &Snapshot, upto| upto >= floor.top && snapshot.covers(&floor.snapshot);
        !reaches(&self.seen, self.top) && !self.parts().any(|part| reaches(&part.snapshot, part.upto))
    }

    /// Whether everything in the other set is in this one, of which no batch is open. Sets of one database contain each
    /// other one way or the other.
    pub fn includes(&self, other: &Self) -> bool {
        self.history == other.history && self.top >= other.top && self.seen.covers(&other.seen)
    }

    /// What is in one of the sets or in both; nothing if they are of different histories.
    pub fn union(&self, other: &Self) -> Option<Self> {
        if self.history != other.history {
            return None;
        }
        let (more, less) = if other.includes(self) { (other, self) } else { (self, other) };
        let base = Within { snapshot: less.seen.clone(), upto: less.top };
        let mut parts: Vec<Within> = Vec::new();
        for part in more.parts().chain([&base]).chain(less.parts()) {
            let reaches = |snapshot: &Snapshot, upto| upto >= part.upto && snapshot.covers(&part.snapshot);
            if reaches(&more.seen, more.top) || parts.iter().any(|it| reaches(&it.snapshot, it.upto)) {
                continue;
            }
            parts.retain(|it| part.upto < it.upto || !part.snapshot.covers(&it.snapshot));
            parts.push(part.clone());
        }
        let mut parts = parts.into_iter();
        let (within, left) = (parts.next(), parts.collect());
        Some(Self { history: more.history, top: more.top, seen: more.seen.clone(), within, left })
    }

    /// The text that clients see and send back: base64url, typically under 40 characters.
    pub fn encode(&self) -> Arc<str> {
        let mut bytes = Vec::with_capacity(64);
        let parts = self.parts().take(PARTS_MAX).count();
        bytes.push(VERSION << 4 | parts as u8);
        bytes.extend_from_slice(&self.history.to_le_bytes());
        put_varint(&mut bytes, zigzag(self.top));
        put_snapshot(&mut bytes, &self.seen, 0);
        for part in self.parts().take(PARTS_MAX) {
            put_snapshot(&mut bytes, &part.snapshot, self.seen.xmax());
            put_varint(&mut bytes, zigzag(part.upto.wrapping_sub(self.top)));
        }
        // Every event with a subscriber has one, and nearly all of them are short.
        let mut text = [0; 128];
        match URL_SAFE_NO_PAD
            .encode_slice(&bytes, &mut text)
            .ok()
            .and_then(|end| str::from_utf8(&text[..end]).ok())
        {
            Some(text) => text.into(),
            None => URL_SAFE_NO_PAD.encode(bytes).into(),
        }
    }

    /// Reads a text that came from a client.
    pub fn decode(text: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_TEXT_BYTES_MAX {
            return Err(CursorError);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError)?;
        let (&first, rest) = bytes.split_first().ok_or(CursorError)?;
        if first >> 4 != VERSION {
            return Err(CursorError);
        }
        let (history, mut rest) = rest.split_first_chunk::<8>().ok_or(CursorError)?;
        let top = unzigzag(take_varint(&mut rest)?);
        let seen = Arc::new(take_snapshot(&mut rest, 0)?);
        let mut parts = Vec::new();
        for _ in 0..first & 0x0f {
            let snapshot = Arc::new(take_snapshot(&mut rest, seen.xmax())?);
            parts.push(Within { snapshot, upto: unzigzag(take_varint(&mut rest)?).wrapping_add(top) });
        }
        if !rest.is_empty() {
            return Err(CursorError);
        }
        let mut parts = parts.into_iter();
        let (within, left) = (parts.next(), parts.collect());
        Ok(Self { history: u64::from_le_bytes(*history), top, seen, within, left })
    }
}

/// Writes a snapshot, its xmax relative to `base`, its list as distances downwards from xmax.
fn put_snapshot(bytes: &mut Vec<u8>, snapshot: &Snapshot, base: u64) {
    put_varint(bytes, zigzag(snapshot.xmax().wrapping_sub(base).cast_signed()));
    put_varint(bytes, snapshot.in_progress().len() as u64);
    let mut above = snapshot.xmax();
    for &xid in snapshot.in_progress().iter().rev() {
        put_varint(bytes, above - xid);
        above = xid;
    }
}

fn take_snapshot(rest: &mut &[u8], base: u64) -> Result<Snapshot, CursorError> {
    let xmax = base.wrapping_add(unzigzag(take_varint(rest)?).cast_unsigned());
    let count = take_varint(rest)?;
    if count > IN_PROGRESS_MAX {
        return Err(CursorError);
    }
    let mut in_progress = Vec::new();
    let mut above = xmax;
    for _ in 0..count {
        above = above.checked_sub(take_varint(rest)?).ok_or(CursorError)?;
        in_progress.push(above);
    }
    Ok(Snapshot::new(xmax, in_progress))
}

fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// LEB128, seven bits a byte, low bits first.
fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Result<u64, CursorError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(CursorError)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(CursorError)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Cursor, CursorError, Floor, Within};

    fn cursor(seen: &str, within: Option<(&str, i64)>) -> Cursor {
        Cursor {
            history: 0x0123_4567_89ab_cdef,
            top: 1_000_000,
            seen: Arc::new(seen.parse().unwrap()),
            within: within.map(|(text, upto)| Within { snapshot: Arc::new(text.parse().unwrap()), upto }),
            left: Vec::new(),
        }
    }

    #[test]
    fn text_round_trips_and_is_short() {
        let plain = cursor("999990:1000000:999990,999999", None);
        let batch =
            cursor("999990:1000000:999990,999999", Some(("999999:1000024:999999,1000020", 1_000_007)));
        // Xids restart lower after a crash that lost the last of them.
        let crashed = cursor("7:20:7", Some(("12:12:", 999_000)));
        let extreme = Cursor { top: i64::MIN, ..cursor("1:18446744073709551615:", Some(("1:1:", i64::MAX))) };
        let left = vec![Within { snapshot: Arc::new("9:40:9,30".parse().unwrap()), upto: 1_000_009 }; 2];
        let twice = Cursor { left, ..batch.clone() };
        for original in [&plain, &batch, &crashed, &extreme, &twice] {
            assert_eq!(Cursor::decode(&original.encode()).as_ref(), Ok(original));
        }
        assert!(plain.encode().len() < 40, "{}", plain.encode());
        assert!(batch.encode().len() < 40, "{}", batch.encode());
    }

    #[test]
    fn membership_follows_snapshot_top_and_batch() {
        let cursor = cursor("10:20:10", Some(("15:30:15", 1_000_005)));
        assert!(cursor.contains(1_000_000, 19));
        assert!(!cursor.contains(1_000_000, 15) || cursor.seen.sees(15));
        assert!(cursor.contains(1_000_005, 25), "in the part of the batch that was seen");
        assert!(!cursor.contains(1_000_006, 25), "behind that part");
        assert!(cursor.contains(1_000_001, 10), "was running before, has finished within the batch");
        assert!(!cursor.contains(1_000_006, 12), "the xid was reused after a crash");
    }

    #[test]
    fn a_set_lacks_what_neither_it_nor_a_part_of_it_holds() {
        let floor = |snapshot: &str, top| Floor { snapshot: snapshot.parse().unwrap(), top };
        let cursor = Cursor { top: 100, ..cursor("10:20:10", Some(("25:30:25", 120))) };
        for held in [floor("10:20:10", 100), floor("25:30:25", 120), floor("5:5:", 90), floor("24:24:", 110)]
        {
            assert!(!cursor.lacks(&held), "{held:?}");
        }
        for lacked in
            [floor("25:30:25", 121), floor("30:30:", 90), floor("31:31:", 110), floor("11:11:", 121)]
        {
            assert!(cursor.lacks(&lacked), "{lacked:?}");
        }
    }

    #[test]
    fn a_union_holds_what_either_holds() {
        let set = |seen: &str, top, within: Option<(&str, i64)>| Cursor { top, ..cursor(seen, within) };
        let sets = [
            set("10:20:10", 30, None),
            set("22:22:", 32, None),
            set("10:20:10", 30, Some(("15:30:15", 36))),
            set("10:20:10", 30, Some(("15:34:15,32", 34))),
            set("22:22:", 32, Some(("15:34:", 33))),
            // After a crash that lost transactions.
            set("18:18:", 40, None),
        ];
        for one in &sets {
            for other in &sets {
                let both = one.union(other).unwrap();
                let read = Cursor::decode(&both.encode()).unwrap();
                for (id, xid) in (25..45).flat_map(|id| (8..36).map(move |xid| (id, xid))) {
                    let either = one.contains(id, xid) || other.contains(id, xid);
                    assert_eq!(both.contains(id, xid), either, "{id} {xid} {one:?} {other:?}");
                    assert_eq!(read.contains(id, xid), either);
                }
                assert!(both.left.len() <= 2, "{both:?}");
            }
        }
        assert_eq!(sets[0].union(&Cursor { history: 1, ..sets[1].clone() }), None);
    }

    #[test]
    fn bad_text_is_refused_without_panic() {
        let good = cursor("10:20:10", Some(("15:30:15", 7))).encode();
        for end in 0..good.len() {
            let _ = Cursor::decode(&good[..end]);
        }
        for text in
            ["", "*", "AAAA", "AgAAAAAAAAAAAP____________8B", &"A".repeat(300_000), &format!("{good}AA")]
        {
            assert_eq!(Cursor::decode(text), Err(CursorError), "{}", &text[..text.len().min(40)]);
        }
    }
}
