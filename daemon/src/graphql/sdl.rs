//! From the catalog to SDL and bindings.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;

use crate::event::Operation;
use crate::graphql::bindings::{Bindings, KeyArgument, MetadataChannels, Root, RowRoot, Source};
use crate::graphql::names;
use crate::graphql::scalar::{self, Scalar};
use crate::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

/// Type names that no table can have; one that asks for it gets a number (see [`names`]).
pub(super) const RESERVED: [&str; 6] =
    ["Query", "Mutation", "Subscription", "Event", "Operation", "ServerInfo"];

/// A schema in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) bindings: Bindings,
    /// Tables that were left out, and why.
    pub(super) problems: Vec<String>,
    /// Object types of the tables.
    types: String,
    /// Fields of `Subscription`.
    subscription: String,
    taken_types: HashSet<String>,
    taken_roots: HashSet<String>,
    taken_topics: HashSet<String>,
    metadata: Arc<MetadataChannels>,
}

impl Draft {
    /// A draft of the whole catalog.
    pub(super) fn of(catalog: &Catalog, metadata: &Arc<MetadataChannels>) -> Self {
        let mut draft = Self::base(metadata);
        // The channels of all tables are protected, those of tables left out too.
        draft.bindings.row_channels =
            catalog.tables.iter().map(|table| table.channel.as_str().into()).collect();
        for table in &catalog.tables {
            draft.table(table);
        }
        draft
    }

    /// What every schema has.
    fn base(metadata: &Arc<MetadataChannels>) -> Self {
        let scalars = Scalar::BUILT_IN.into_iter().chain(Scalar::CUSTOM).map(Scalar::name);
        let mut draft = Self {
            bindings: Bindings::default(),
            problems: Vec::new(),
            types: String::new(),
            subscription: String::new(),
            taken_types: RESERVED.into_iter().chain(scalars).map(str::to_owned).collect(),
            taken_roots: HashSet::from(["events".to_owned()]),
            taken_topics: HashSet::new(),
            metadata: metadata.clone(),
        };
        let fields = [
            ("id", Source::EventId),
            ("channel", Source::Channel),
            ("type", Source::EventType),
            ("data", Source::Data),
            ("metadata", Source::Metadata(metadata.clone())),
            ("tenantId", Source::TenantId),
            ("userId", Source::UserId),
            ("createdAt", Source::CreatedAt),
        ];
        for (field, source) in fields {
            draft.bindings.field("Event", field, source);
        }
        draft.bindings.root_field("events", Root::Events);
        draft
    }

    /// The SDL of the draft.
    pub(super) fn sdl(&self) -> String {
        let mut sdl = String::with_capacity(2_048 + self.types.len() + self.subscription.len());
        for scalar in Scalar::CUSTOM {
            let _ = writeln!(sdl, "{}\nscalar {}\n", quoted(scalar.description()), scalar.name());
        }
        sdl.push_str(BASE);
        let _ = writeln!(sdl, "{}{}}}\n", SUBSCRIPTION, self.subscription);
        sdl.push_str(&self.types);
        sdl
    }

    fn table(&mut self, table: &AttachedTable) {
        let problem = |reason: &str| format!("table {} (type {:?}) {reason}", table.table, table.type_name);
        if table.columns.is_empty() {
            return self.problems.push(problem("has no captured column"));
        }
        // Events name their type, not their table: two tables of one type could not be told apart.
        if !self.taken_topics.insert(table.type_name.clone()) {
            return self.problems.push(problem("has the type name of another table"));
        }
        let name = names::unique(&names::legal(&table.type_name), |name| self.is_free(name));
        self.taken_types.extend(type_names(&name));
        self.taken_roots.extend(root_names(&name));
        let fields = names::fields(table.columns.iter().map(|column| column.name.as_str()));
        self.record_type(&name, table, &fields);
        self.change_type(&name, table);
        self.roots(&name, table, &fields);
    }

    fn is_free(&self, name: &str) -> bool {
        type_names(name).iter().all(|name| !self.taken_types.contains(name))
            && root_names(name).iter().all(|name| !self.taken_roots.contains(name))
    }

    fn record_type(&mut self, name: &str, table: &AttachedTable, fields: &[String]) {
        let comment = table.comment.clone().unwrap_or_else(|| format!("A row of {}.", table.table));
        let _ = writeln!(self.types, "{}\ntype {name} {{", quoted(&comment));
        for (column, field) in table.columns.iter().zip(fields) {
            if let Some(comment) = &column.comment {
                let _ = writeln!(self.types, "  {}", quoted(comment));
            }
            let _ = writeln!(self.types, "  {field}: {}", output_type(column));
            if *field != column.name {
                self.bindings.field(name, field, Source::Member(column.name.as_str().into()));
            }
        }
        self.types.push_str("}\n\n");
    }

    fn change_type(&mut self, name: &str, table: &AttachedTable) {
        let change = format!("{name}Change");
        let captured = table.include_old;
        let old = if captured {
            "The row before an UPDATE."
        } else {
            "The row before an UPDATE. Always null: the table is not attached with include_old."
        };
        let fields = [
            ("operation", "Operation!", "What happened to the row.", Source::Operation),
            (
                "record",
                name,
                "The row; after a DELETE, the row that was. Null for a TRUNCATE, which empties the whole table.",
                Source::Record,
            ),
            ("old", name, old, Source::Old { captured }),
            (
                "changedColumns",
                "[String!]",
                "Names of the columns that an UPDATE changed, as the database has them.",
                Source::ChangedColumns,
            ),
            ("eventId", "BigInt!", "Id of the event.", Source::EventId),
            (
                "metadata",
                "JSON",
                "Context that the publisher set. Null unless the server shows it for this channel.",
                Source::Metadata(self.metadata.clone()),
            ),
            ("createdAt", "Datetime!", "When the event was stored.", Source::CreatedAt),
        ];
        let _ =
            writeln!(self.types, "{}\ntype {change} {{", quoted(&format!("A change of {}.", table.table)));
        for (field, field_type, description, source) in fields {
            let _ = writeln!(self.types, "  {}\n  {field}: {field_type}", quoted(description));
            self.bindings.field(&change, field, source);
        }
        self.types.push_str("}\n\n");
    }

    fn roots(&mut self, name: &str, table: &AttachedTable, fields: &[String]) {
        let (keys, arguments) = key_arguments(table, fields);
        let prefix = names::prefix(name);
        for (operation, suffix, text) in [
            (Operation::Insert, "Inserted", "A row was inserted into"),
            (Operation::Update, "Updated", "A row was updated in"),
            (Operation::Delete, "Deleted", "A row was deleted from"),
        ] {
            if !table.operations.contains(&operation) {
                continue;
            }
            let mut operations = vec![operation];
            if operation == Operation::Delete {
                operations.push(Operation::Truncate);
            }
            let description = format!("{text} {}.", table.table);
            self.root(
                &format!("{prefix}{suffix}"),
                &arguments,
                &format!("{name}!"),
                &description,
                RowRoot {
                    type_name: table.type_name.as_str().into(),
                    operations,
                    keys: keys.clone(),
                    value: Source::Row,
                },
            );
        }
        // All of them, whatever is captured: a row that changes its tenant is recorded as a DELETE for
        // the old audience and an INSERT for the new, also where only UPDATE is captured.
        let all = vec![Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];
        let description = format!("A row of {} changed, or the table was truncated.", table.table);
        self.root(
            &format!("{prefix}Changed"),
            &arguments,
            &format!("{name}Change!"),
            &description,
            RowRoot {
                type_name: table.type_name.as_str().into(),
                operations: all,
                keys,
                value: Source::Event,
            },
        );
    }

    fn root(&mut self, field: &str, arguments: &str, field_type: &str, description: &str, root: RowRoot) {
        let _ = writeln!(self.subscription, "  {}\n  {field}{arguments}: {field_type}", quoted(description));
        self.bindings.root_field(field, Root::Rows(root));
    }
}

/// The types that a table with type `name` takes; `Filter` is kept for its input type.
fn type_names(name: &str) -> [String; 3] {
    [name.to_owned(), format!("{name}Change"), format!("{name}Filter")]
}

/// The root fields that a table with type `name` takes, whether or not it captures the operation.
fn root_names(name: &str) -> [String; 4] {
    let prefix = names::prefix(name);
    ["Inserted", "Updated", "Deleted", "Changed"].map(|suffix| format!("{prefix}{suffix}"))
}

/// The arguments for the columns of the primary key, and their SDL.
fn key_arguments(table: &AttachedTable, fields: &[String]) -> (Vec<KeyArgument>, String) {
    let mut keys = Vec::new();
    let mut arguments = String::new();
    for (column, field) in table.columns.iter().zip(fields).filter(|(column, _)| column.primary_key) {
        let typname = match &column.column_type {
            ColumnType::Base(typname) => typname.as_str(),
            ColumnType::Enum { .. } => "text",
            // A list or a composite has no equality that routing could look up.
            ColumnType::Array(_) | ColumnType::Composite { .. } => continue,
        };
        if !scalar::is_comparable(typname) {
            continue;
        }
        let scalar = Scalar::from_postgres(typname);
        let description = quoted(&format!(
            "Only rows with this {}, as they are after the change (before it, for a deletion). Null: all rows.",
            column.name
        ));
        let _ = write!(arguments, "{description} {field}: {} ", scalar.name());
        keys.push(KeyArgument {
            argument: field.as_str().into(),
            column: column.name.as_str().into(),
            typname: typname.into(),
        });
    }
    if keys.is_empty() { (keys, String::new()) } else { (keys, format!("({})", arguments.trim_end())) }
}

fn output_type(column: &Column) -> String {
    let name = type_name(&column.column_type);
    // A json column that is NOT NULL still holds JSON's own null, so it promises nothing.
    if column.not_null && name != "JSON" { format!("{name}!") } else { name }
}

fn type_name(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Base(typname) => Scalar::from_postgres(typname).name().to_owned(),
        ColumnType::Enum { .. } => Scalar::String.name().to_owned(),
        ColumnType::Array(element) => format!("[{}]", type_name(element)),
        ColumnType::Composite { .. } => Scalar::Json.name().to_owned(),
    }
}

/// A description as an SDL string on one line, whatever a comment contains (section 2.9.4).
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            character if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

const BASE: &str = r#""What happened to a row."
enum Operation {
  "The row was inserted."
  INSERT
  "The row was updated."
  UPDATE
  "The row was deleted."
  DELETE
  "The whole table was emptied; there is no record."
  TRUNCATE
}

"An event on a channel."
type Event {
  "Id of the event."
  id: BigInt!
  "Channel that it was published on."
  channel: String!
  "Type that it was published with."
  type: String!
  "Its payload."
  data: JSON!
  "Context that the publisher set. Null unless the server shows it for this channel."
  metadata: JSON
  "Tenant that owns it."
  tenantId: String
  "User that owns it."
  userId: String
  "When it was stored."
  createdAt: Datetime!
}

"About this server."
type ServerInfo {
  "Version of the server."
  version: String!
  "Number of the schema; it grows with every change of the attached tables."
  schemaVersion: BigInt!
}

type Query {
  "About this server."
  tidings: ServerInfo!
}

"#;

const SUBSCRIPTION: &str = r#"type Subscription {
  "Every event on a channel that is not fed by a table."
  events("The channel." channel: String! "Only events of these types. Null: all." types: [String!]): Event!
"#;
