//! LIKE patterns.

use std::hash::{Hash, Hasher};

use regex::{Regex, RegexBuilder};

/// Longest pattern. What it compiles to is a few hundred times its size.
const PATTERN_BYTES_MAX: usize = 1_024;

/// A compiled pattern. Matching takes time linear in the text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: Box<str>,
    fold: bool,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern of SQL: `%` is any text, `_` any character, `\` takes the next as it stands.
    /// With `fold`, case does not matter.
    pub(super) fn new(text: &str, fold: bool) -> Result<Self, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes"));
        }
        let mut expression = String::from("^");
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '%' => expression.push_str(".*"),
                '_' => expression.push('.'),
                '\\' => match characters.next() {
                    Some(literal) => expression.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4]))),
                    None => return Err("the pattern must not end with the escape character \\".to_owned()),
                },
                literal => expression.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4]))),
            }
        }
        expression.push('$');
        let regex = RegexBuilder::new(&expression).dot_matches_new_line(true).case_insensitive(fold).build();
        let regex = regex.map_err(|_| "the pattern is too large".to_owned())?;
        Ok(Self { text: text.into(), fold, regex })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// Patterns of one text are equal.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.fold) == (&other.text, other.fold)
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.text, self.fold).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn patterns_match_as_like_does() {
        for (pattern, text, matches) in [
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("a_c", "aäc", true),
            ("a_c", "ac", false),
            ("%", "", true),
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
        assert!(Pattern::new(&"a".repeat(1_025), false).is_err());
        assert!(Pattern::new(&"%_".repeat(512), true).is_ok());
        assert_eq!(Pattern::new("a", false).unwrap(), Pattern::new("a", false).unwrap());
        assert_ne!(Pattern::new("a", false).unwrap(), Pattern::new("a", true).unwrap());
    }
}
