//! Errors as GraphQL clients see them (September 2025, section 7.1.2).

use serde::Serialize;

use crate::hub::mailbox::{Bounds, CursorText};

/// An error of a request or of a field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GraphQLError {
    /// What was wrong, for people.
    pub message: String,
    /// Where in the document, if it is the document's fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locations: Vec<Location>,
    /// Which response field, for a field error: names and list indexes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<serde_json::Value>,
    /// Machine-readable detail.
    pub extensions: Extensions,
}

/// A position in the document, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// The `extensions` of an error.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extensions {
    /// A stable name such as `SLOW_CONSUMER` or `GRAPHQL_VALIDATION_FAILED`.
    pub code: &'static str,
    /// Where the subscription stood when it ended, if it was a subscription that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Where a subscription can go on whose cursor is of no use.
    #[serde(flatten)]
    pub bounds: Option<Box<Elsewhere>>,
}

/// Where a subscription can go on, if it accepts a gap.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Elsewhere {
    /// With everything that is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_cursor: Option<String>,
    /// With what happens from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_cursor: Option<String>,
}

impl Extensions {
    /// Names where a subscription can go on.
    pub fn bounded_by(&mut self, bounds: &Bounds) {
        let named = |cursor: &CursorText| (!cursor.is_empty()).then(|| cursor.to_string());
        let (oldest_cursor, newest_cursor) = (named(&bounds.oldest), named(&bounds.newest));
        self.bounds = Some(Box::new(Elsewhere { oldest_cursor, newest_cursor }));
    }
}

impl GraphQLError {
    /// An error without a place.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            locations: Vec::new(),
            path: Vec::new(),
            extensions: Extensions { code, cursor: None, bounds: None },
        }
    }
}
