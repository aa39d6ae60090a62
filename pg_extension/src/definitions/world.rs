//! What a document is checked against: the other documents, and what attached tables already take.

use serde::Deserialize;

/// Made by `tidings.definitions_world()`.
#[derive(Debug, Deserialize)]
pub(super) struct World {
    /// The document that is replaced or dropped, if there is one.
    pub(super) current: Option<String>,
    /// Every other document.
    pub(super) documents: Vec<Named>,
    pub(super) tables: Vec<Table>,
    /// Enums and composites that columns of attached tables have.
    pub(super) types: Vec<ColumnType>,
    /// Type names that nobody can have.
    pub(super) reserved: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) sdl: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    pub(super) table: String,
    /// Its row, its change, and its filter, which is an input type.
    pub(super) types: [String; 3],
    /// Fields of Subscription that it takes, whatever operations it captures.
    pub(super) root_fields: Vec<String>,
    pub(super) channel: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ColumnType {
    pub(super) name: String,
    /// The type as PostgreSQL names it.
    pub(super) postgres: String,
    pub(super) is_enum: bool,
    /// Input types that filters on it have.
    pub(super) filters: Vec<String>,
}
