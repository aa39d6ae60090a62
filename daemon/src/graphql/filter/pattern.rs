//! LIKE patterns.
//!
//! Matched here and not by regular expressions: those take kilobytes each, and there are as many as
//! subscribers think of.

/// Longest pattern: what bounds the time that a match takes.
const PATTERN_BYTES_MAX: usize = 256;

/// A pattern: pieces of text with any text between them. The first stands at the start of the text, the
/// last at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pieces: Box<[Box<[Wanted]>]>,
    /// Whether case does not matter.
    fold: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Any,
    /// In lower case, if case does not matter.
    Character(char),
}

impl Pattern {
    /// Reads a pattern of SQL: `%` is any text, `_` any character, `\` takes the next as it stands.
    /// With `fold`, case does not matter.
    pub(super) fn new(text: &str, fold: bool) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let mut pieces = vec![Vec::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let wanted = match character {
                '%' => {
                    pieces.push(Vec::new());
                    continue;
                }
                '_' => Wanted::Any,
                '\\' => match characters.next() {
                    Some(literal) => Wanted::Character(folded(literal, fold)),
                    None => return Err("the pattern must not end with the escape character \\".to_owned()),
                },
                literal => Wanted::Character(folded(literal, fold)),
            };
            if let Some(piece) = pieces.last_mut() {
                piece.push(wanted);
            }
        }
        Ok(Self { pieces: pieces.into_iter().map(Into::into).collect(), fold })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let (first, rest) = match &*self.pieces {
            [] => return text.is_empty(),
            [only] => return self.starts(text, only).is_some_and(str::is_empty),
            [first, rest @ ..] => (first, rest),
        };
        let Some(mut text) = self.starts(text, first) else { return false };
        let Some((last, between)) = rest.split_last() else { return false };
        // The leftmost place of each leaves the most text for those that follow.
        for piece in between {
            let found = std::iter::successors(Some(text), |text| without_first(text));
            match found.filter_map(|text| self.starts(text, piece)).next() {
                Some(after) => text = after,
                None => return false,
            }
        }
        let length = text.chars().count();
        let Some(skipped) = length.checked_sub(last.len()) else { return false };
        let end = text.char_indices().nth(skipped).map_or("", |(start, _)| &text[start..]);
        self.starts(end, last).is_some_and(str::is_empty)
    }

    /// What follows a piece that stands at the start of a text.
    fn starts<'t>(&self, text: &'t str, piece: &[Wanted]) -> Option<&'t str> {
        let mut characters = text.chars();
        for wanted in piece {
            let character = characters.next()?;
            match wanted {
                Wanted::Character(wanted) if folded(character, self.fold) != *wanted => return None,
                Wanted::Any | Wanted::Character(_) => {}
            }
        }
        Some(characters.as_str())
    }
}

fn without_first(text: &str) -> Option<&str> {
    let mut characters = text.chars();
    characters.next().map(|_| characters.as_str())
}

/// The lower case of a character, where that is one character; PostgreSQL folds in this way, too.
fn folded(character: char, fold: bool) -> char {
    let mut lower = character.to_lowercase();
    match (fold, lower.next(), lower.next()) {
        (true, Some(lower), None) => lower,
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::{PATTERN_BYTES_MAX, Pattern};

    #[test]
    fn patterns_match_as_like_does() {
        for (pattern, text, matches) in [
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("%b%b%", "abc", false),
            ("a%a", "a", false),
            ("ab%ba", "aba", false),
            ("ab%ba", "abba", true),
            ("%ab%ab", "abab", true),
            ("%aab%", "aaab", true),
            ("a_c", "aäc", true),
            ("a_c", "ac", false),
            ("%_", "", false),
            ("%_c%", "abc", true),
            ("%", "", true),
            ("%%", "x", true),
            ("", "", true),
            ("", "a", false),
            ("50\\%", "50%", true),
            ("50\\%", "500", false),
            ("a.c", "abc", false),
            ("a%c", "a\nb\nc", true),
            ("(%", "(x", true),
            ("\\\\_", "\\x", true),
            ("Ä%", "äb", false),
        ] {
            assert_eq!(Pattern::new(pattern, false).unwrap().matches(text), matches, "{pattern} {text}");
        }
        assert!(Pattern::new("Ä%", true).unwrap().matches("äB"));
        assert!(Pattern::new("a\\", false).unwrap_err().contains("escape"));
        assert!(Pattern::new(&"a".repeat(PATTERN_BYTES_MAX + 1), false).is_err());
        assert!(Pattern::new(&"%_".repeat(PATTERN_BYTES_MAX / 2), true).unwrap().matches(&"ä".repeat(128)));
        assert_eq!(Pattern::new("a", false).unwrap(), Pattern::new("a", false).unwrap());
        assert_ne!(Pattern::new("a", false).unwrap(), Pattern::new("a", true).unwrap());
    }
}
