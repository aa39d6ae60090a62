//! What is wrong, and where: collected, so that all of it can be told at once.

use std::collections::HashMap;

/// Per document. More are not looked for: the author has enough to do, and a hostile document gets no more memory.
pub(super) const PROBLEMS_MAX: usize = 1_000;

/// Longer messages are cut: names and values in them are as long as the author likes.
const MESSAGE_CHARACTERS_MAX: usize = 400;

/// A place in one of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into the documents that are checked together.
    pub(super) document: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) place: Place,
    pub(super) message: String,
}

#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
    by_document: HashMap<usize, usize>,
}

impl Problems {
    pub(super) fn add(&mut self, place: Place, message: impl Into<String>) {
        let count = self.by_document.entry(place.document).or_default();
        if *count < PROBLEMS_MAX {
            *count += 1;
            self.found.push(Problem { place, message: cut(message.into(), MESSAGE_CHARACTERS_MAX) });
        }
    }

    /// Whether the checks of a document may stop.
    pub(super) fn is_full(&self, document: usize) -> bool {
        self.by_document.get(&document).is_some_and(|count| *count >= PROBLEMS_MAX)
    }

    pub(super) fn into_vec(self) -> Vec<Problem> {
        self.found
    }
}

/// The text, or its beginning.
pub(super) fn cut(text: String, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
