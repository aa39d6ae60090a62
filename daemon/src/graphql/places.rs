//! Places in a document as clients are told them: lines and columns from 1, columns in UTF-16 code
//! units, which is how GraphQL's reference implementation and every editor count.

use std::collections::HashMap;

use apollo_compiler::parser::{SourceMap, SourceSpan};

use crate::graphql::error::Location;
use crate::graphql::lexer::{Lexer, Token};
use crate::graphql::syntax::Description;

/// The lines of a text.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where each line begins, in bytes.
    starts: Vec<usize>,
    /// After each character that is no ASCII: its end, and how many more bytes than UTF-16 code
    /// units the text has up to there.
    surplus: Vec<(usize, usize)>,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut lines = Self { starts: vec![0], surplus: Vec::new() };
        let mut surplus = 0;
        for (at, character) in text.char_indices() {
            let end = at + character.len_utf8();
            match character {
                // Section 2.1.2: lines end with LF, CR, or both.
                '\r' if text[end..].starts_with('\n') => {}
                '\n' | '\r' => lines.starts.push(end),
                _ if character.is_ascii() => {}
                _ => {
                    surplus += character.len_utf8() - character.len_utf16();
                    lines.surplus.push((end, surplus));
                }
            }
        }
        lines
    }

    /// The place of a byte.
    pub(super) fn at(&self, offset: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied().unwrap_or_default();
        Location { line, column: 1 + self.units(offset).saturating_sub(self.units(start)) }
    }

    /// UTF-16 code units before a byte.
    fn units(&self, offset: usize) -> usize {
        let before = self.surplus.partition_point(|(end, _)| *end <= offset);
        let surplus = before.checked_sub(1).and_then(|last| self.surplus.get(last));
        offset - surplus.map_or(0, |(_, surplus)| *surplus)
    }
}

/// The places of a document.
#[derive(Debug)]
pub(super) struct Places {
    lines: Lines,
    /// Definitions that have a description begin with it.
    described: HashMap<usize, usize>,
    sources: SourceMap,
}

impl Places {
    /// `text` as it was sent; `sources` have it as it was parsed, every byte at its offset.
    pub(super) fn new(text: &str, descriptions: &[Description], sources: &SourceMap) -> Self {
        let described = descriptions.iter().map(|it| (it.described, it.place.start)).collect();
        Self { lines: Lines::of(text), described, sources: sources.clone() }
    }

    /// Where a part of the document begins.
    pub(super) fn at(&self, part: Option<SourceSpan>) -> Vec<Location> {
        let offset = part.map(|part| part.offset());
        let offset = offset.map(|offset| self.described.get(&offset).copied().unwrap_or(offset));
        offset.map(|offset| self.lines.at(offset)).into_iter().collect()
    }

    /// Where the selection of a field or operation begins: the tree does not say.
    pub(super) fn selection(&self, of: Option<SourceSpan>) -> Vec<Location> {
        let opening = of.and_then(|of| {
            let text = self.sources.get(&of.file_id())?.source_text();
            let mut lexer = Lexer::from(text, of.offset());
            // A brace within the arguments opens an object.
            let mut round = 0_usize;
            loop {
                match lexer.next()?.ok()? {
                    Token::Punctuator(b'(') => round += 1,
                    Token::Punctuator(b')') => round = round.saturating_sub(1),
                    Token::Punctuator(b'{') if round == 0 => return Some(lexer.start),
                    _ => {}
                }
            }
        });
        opening.map(|offset| self.lines.at(offset)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[test]
    fn columns_count_utf16_code_units() {
        let text = "aé😀b\r\nc\rd\n😀";
        let lines = Lines::of(text);
        let place = |part: &str| {
            let at = lines.at(text.find(part).unwrap());
            (at.line, at.column)
        };
        assert_eq!(place("é"), (1, 2));
        assert_eq!(place("b"), (1, 5));
        assert_eq!(place("c"), (2, 1));
        assert_eq!(place("d"), (3, 1));
        assert_eq!(lines.at(text.len()).column, 3);
        assert_eq!(Lines::of("").at(0).line, 1);
    }
}
