//! Errors as GraphQL clients see them (September 2025, section 7.1.2).

use serde::Serialize;

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
}

impl GraphQLError {
    /// An error without a place.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            locations: Vec::new(),
            path: Vec::new(),
            extensions: Extensions { code, cursor: None },
        }
    }
}
