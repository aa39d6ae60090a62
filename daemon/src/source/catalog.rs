//! What the database says about its attached tables and definitions: the input of the GraphQL schema.

use crate::event::Operation;

/// Every attached table and every definition, as of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    /// The attached tables, ordered by type name.
    pub tables: Vec<AttachedTable>,
    /// The documents of `define_subscriptions`, ordered by name.
    pub definitions: Vec<Definition>,
}

/// A document of `define_subscriptions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// GraphQL SDL.
    pub sdl: String,
}

/// A table that `attach_trigger` registered.
#[derive(Debug, Clone, PartialEq)]
pub struct AttachedTable {
    /// OID of the table.
    pub oid: u32,
    /// Schema-qualified name, quoted as PostgreSQL quotes it. For messages and descriptions.
    pub table: String,
    /// GraphQL type name.
    pub type_name: String,
    /// Channel of its events.
    pub channel: String,
    /// Comment on the table.
    pub comment: Option<String>,
    /// Operations that are captured.
    pub operations: Vec<Operation>,
    /// Whether an UPDATE keeps the record before it.
    pub include_old: bool,
    /// The column that holds a row's tenant, by its unquoted name. It need not be captured.
    pub tenant_column: Option<String>,
    /// The column that holds a row's user, by its unquoted name. It need not be captured.
    pub user_column: Option<String>,
    /// Set if its policies for SELECT decide who sees its events.
    pub row_security: Option<RowSecurity>,
    /// The captured columns, in the table's order.
    pub columns: Vec<Column>,
}

/// What is known of a table's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSecurity {
    /// OID of the table.
    pub table: u32,
    /// By role of the database that subscribers may have: the columns that it may not select. A role that
    /// is not listed may not select anything.
    pub hidden: Vec<(String, Vec<String>)>,
}

impl RowSecurity {
    /// The columns that a role may not select; nothing if it is not known.
    pub fn hidden_from(&self, role: &str) -> Option<&[String]> {
        self.hidden.iter().find(|(known, _)| known == role).map(|(_, columns)| columns.as_slice())
    }
}

/// A captured column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Column name, unquoted; it is also the member's name in the payload.
    pub name: String,
    /// Comment on the column.
    pub comment: Option<String>,
    /// Whether the column, or the domain it has as type, is NOT NULL.
    pub not_null: bool,
    /// Whether the column belongs to the primary key.
    pub primary_key: bool,
    /// Its type.
    pub column_type: ColumnType,
}

/// A column's type; domains stand as the type that they are based on.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnType {
    /// A base type by its `pg_type.typname`, for example `int8`. Ranges and unknown types too.
    Base(String),
    /// An enum with its labels in order.
    Enum {
        /// Name of the enum type.
        name: String,
        /// Its labels, in their order.
        labels: Vec<String>,
    },
    /// An array, of any number of dimensions, with its element type.
    Array(Box<ColumnType>),
    /// A composite type with its attributes.
    Composite {
        /// Name of the composite type.
        name: String,
        /// Its attributes, in order.
        attributes: Vec<(String, ColumnType)>,
    },
}
