//! The tables of these tests: every kind of column, with and without NOT NULL.

use tidings_daemon::event::Operation;
use tidings_daemon::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

/// A column; `!` after the type is NOT NULL, `#` the primary key, `[]` an array.
fn column(name: &str, column_type: &str) -> Column {
    let typname = column_type.trim_end_matches(['!', '#']);
    let base = |typname: &str| ColumnType::Base(typname.to_owned());
    Column {
        name: name.to_owned(),
        comment: (name == "price").then(|| "In \"euros\".\nWith tax.".to_owned()),
        not_null: column_type.contains(['!', '#']),
        primary_key: column_type.contains('#'),
        column_type: match typname.strip_suffix("[]") {
            Some(element) => ColumnType::Array(Box::new(base(element))),
            None => base(typname),
        },
    }
}

pub(super) fn table(type_name: &str, columns: &[(&str, &str)]) -> AttachedTable {
    AttachedTable {
        oid: 1,
        table: format!("public.{}", type_name.to_lowercase()),
        type_name: type_name.to_owned(),
        channel: format!("public.{}", type_name.to_lowercase()),
        comment: None,
        operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
        include_old: true,
        tenant_column: None,
        user_column: None,
        row_security: None,
        columns: columns.iter().map(|(name, column_type)| column(name, column_type)).collect(),
    }
}

/// The tables that the corpus speaks of.
pub(super) fn corpus() -> Catalog {
    let item = table(
        "Item",
        &[
            ("id", "int8#"),
            ("name", "text!"),
            ("price", "numeric"),
            ("weight", "float8"),
            ("flag", "bool!"),
            ("key", "uuid"),
            ("day", "date"),
            ("at", "time"),
            ("moment", "timestamptz"),
            ("tags", "text[]!"),
            ("matrix", "int4[]"),
            ("extra", "jsonb"),
            ("state", "int2"),
        ],
    );
    let visit = table("Visit", &[("at", "timestamptz#"), ("who", "text#"), ("score", "float4")]);
    Catalog { tables: vec![item, visit], ..Catalog::default() }
}
