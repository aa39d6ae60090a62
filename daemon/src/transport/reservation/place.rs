//! Where a stream of several operations stands, as the text of its `id:` (PROTOCOLS S20, S21).
//!
//! `<revision>.<cursor>`, then for each cursor at which operations are behind, `!<number>.<number>~<cursor>`. An
//! operation whose number is above the revision was not known yet: it goes on from its own start. One that is
//! behind at no cursor begins anew. A cursor alone counts for every operation.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::hub::mailbox::CursorText;
use crate::source::cursor::Cursor;

/// Longest text: browsers send it back in a header, and the head of a request is bounded.
pub(super) const PLACE_BYTES_MAX: usize = 4_096;

/// Where a stream stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Operations up to this number are told of.
    pub(super) revision: i64,
    /// Where they stand, but for those that are behind.
    pub(super) cursor: CursorText,
    /// Where these stand; empty if they have not begun.
    pub(super) behind: BTreeMap<i64, CursorText>,
}

impl Place {
    /// Its text; nothing if it would be too long, or if where most operations stand is not known.
    pub(super) fn encode(&self) -> Option<String> {
        if self.cursor.is_empty() {
            return None;
        }
        let mut text = format!("{}.{}", self.revision, self.cursor);
        let mut by_cursor: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (number, cursor) in self.behind.iter().filter(|(_, cursor)| **cursor != self.cursor) {
            by_cursor.entry(cursor).or_default().push(number.to_string());
        }
        for (cursor, numbers) in by_cursor {
            // Writing to a text cannot fail.
            let _ = write!(text, "!{}~{cursor}", numbers.join("."));
        }
        (text.len() <= PLACE_BYTES_MAX).then_some(text)
    }

    /// Reads a text that a client sent back; nothing if it is none of ours.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > PLACE_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('!');
        let place = parts.next()?;
        let (revision, cursor) = match place.split_once('.') {
            Some((revision, cursor)) => (revision.parse().ok()?, cursor),
            None => (i64::MAX, place),
        };
        Cursor::decode(cursor).ok()?;
        let mut behind = BTreeMap::new();
        for part in parts {
            let (numbers, cursor) = part.split_once('~')?;
            if !cursor.is_empty() {
                Cursor::decode(cursor).ok()?;
            }
            for number in numbers.split('.') {
                behind.insert(number.parse().ok()?, CursorText::from(cursor));
            }
        }
        Some(Self { revision, cursor: cursor.into(), behind })
    }

    /// After which cursor an operation goes on that was stored with this start; nothing if it begins now.
    pub(super) fn after(&self, number: i64, start: Option<&str>) -> Option<CursorText> {
        if number > self.revision {
            return start.map(CursorText::from);
        }
        let stood = self.behind.get(&number).unwrap_or(&self.cursor);
        if stood.is_empty() {
            return start.map(CursorText::from);
        }
        let Some(start) = start else { return Some(stood.clone()) };
        // Where the operation began is not where the stream stood then: it has seen what either has.
        match (Cursor::decode(start), Cursor::decode(stood)) {
            (Ok(started), Ok(stands)) => {
                Some(started.union(&stands).map_or_else(|| start.into(), |both| both.encode()))
            }
            _ => Some(start.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::cursor::Within;

    fn set(seen: &str, top: i64) -> Cursor {
        Cursor { history: 7, top, seen: Arc::new(seen.parse().unwrap()), within: None, left: Vec::new() }
    }

    #[test]
    fn s20_text_round_trips_and_groups_those_that_are_behind() {
        let (cursor, other) = (set("10:20:10", 5).encode(), set("9:9:", 3).encode());
        let behind =
            BTreeMap::from([(1, other.clone()), (3, other.clone()), (4, "".into()), (5, cursor.clone())]);
        let place = Place { revision: 12, cursor: cursor.clone(), behind };
        let text = place.encode().unwrap();
        assert_eq!(text, format!("12.{cursor}!4~!1.3~{other}"));
        let mut read = Place::decode(&text).unwrap();
        read.behind.insert(5, cursor);
        assert_eq!(read, place);
    }

    #[test]
    fn s20_a_text_that_would_be_too_long_is_none() {
        let behind = (0..200).map(|number| (number, set("9:9:", number).encode())).collect();
        let place = Place { revision: 200, cursor: set("10:20:10", 5).encode(), behind };
        assert_eq!(place.encode(), None);
        assert_eq!(Place::default().encode(), None, "a stream that stands nowhere yet");
    }

    #[test]
    fn s21_bad_texts_are_refused() {
        let cursor = set("10:20:10", 5).encode();
        assert!(Place::decode(&cursor).is_some(), "a cursor alone");
        for text in [
            String::new(),
            "1.".into(),
            "x".into(),
            format!("x.{cursor}"),
            format!("1.{cursor}!"),
            format!("1.{cursor}!1"),
            format!("1.{cursor}!1~x"),
            format!("1.{cursor}!x~{cursor}"),
            format!("1.{cursor}!.~{cursor}"),
            format!("99999999999999999999.{cursor}"),
            format!("1.{cursor}{}", "!1~".repeat(PLACE_BYTES_MAX)),
        ] {
            assert_eq!(Place::decode(&text), None, "{text:?}");
        }
    }

    #[test]
    fn s21_whatever_comes_is_read_or_refused_and_means_what_it_says() {
        let cursors = [set("10:20:10", 5).encode(), set("9:9:", 3).encode()];
        let parts =
            ["!", "~", ".", "0", "1", "17", "-3", "99999999999999999999", "x", &cursors[0], &cursors[1]];
        let mut read = 0;
        for _ in 0..20_000 {
            let text: String =
                (0..rand::random_range(1..9)).map(|_| parts[rand::random_range(0..parts.len())]).collect();
            let Some(place) = Place::decode(&text) else { continue };
            read += 1;
            let again = Place::decode(&place.encode().unwrap()).unwrap();
            for number in [i64::MIN, -3, 0, 1, 17, 18, i64::MAX] {
                assert_eq!(again.after(number, None), place.after(number, None), "{text} {number}");
            }
        }
        assert!(read > 20, "{read}");
    }

    #[test]
    fn s18_s21_each_operation_goes_on_after_all_that_it_has_seen() {
        let (early, late) = (set("9:9:", 3).encode(), set("10:20:", 9).encode());
        let behind = BTreeMap::from([(1, early.clone()), (2, "".into())]);
        let place = Place { revision: 4, cursor: late.clone(), behind };
        assert_eq!(place.after(1, None).as_ref(), Some(&early), "behind");
        assert_eq!(place.after(2, None), None, "never came to its beginning");
        assert_eq!(place.after(3, Some(&early)).as_ref(), Some(&late), "with the stream");
        assert_eq!(place.after(1, Some(&late)).as_ref(), Some(&late), "started later than the stream stood");
        assert_eq!(place.after(5, Some(&early)).as_ref(), Some(&early), "not known to the stream yet");
        let other = Cursor { history: 8, ..set("30:30:", 99) }.encode();
        assert_eq!(place.after(3, Some(&other)).as_ref(), Some(&other), "another history");
    }

    #[test]
    fn s21_a_start_and_a_part_of_a_batch_are_both_seen() {
        let started = set("12:12:", 6);
        let within = Within { snapshot: Arc::new("30:30:".parse().unwrap()), upto: 8 };
        let stream = Cursor { within: Some(within.clone()), ..set("9:9:", 3) };
        let place = Place { revision: 1, cursor: stream.encode(), behind: BTreeMap::new() };
        let after = Cursor::decode(&place.after(1, Some(&started.encode())).unwrap()).unwrap();
        assert_eq!(after, Cursor { within: Some(within), ..started });
    }
}
