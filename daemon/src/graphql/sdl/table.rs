//! What an attached table adds: its record, its change, its filter and its root fields.

use std::fmt::Write;
use std::sync::Arc;

use super::{Drafting, quoted};
use crate::event::Operation;
use crate::graphql::bindings::{FilterArgument, KeyArgument, Owner, OwnerColumn, Root, RowRoot, Source};
use crate::graphql::filter::operators::{SCOPE_EITHER, SCOPE_RECORD};
use crate::graphql::names;
use crate::source::catalog::{AttachedTable, RowSecurity};

/// The arguments that the root fields of a table share.
struct Arguments {
    keys: Vec<KeyArgument>,
    filter: FilterArgument,
    row_security: Option<Arc<RowSecurity>>,
    owner: Arc<Owner>,
    sdl: String,
}

impl Drafting {
    /// The type name of a table, which is taken now; nothing if the table is left out.
    pub(super) fn name(&mut self, table: &AttachedTable) -> Option<String> {
        let problem = |reason: &str| format!("table {} (type {:?}) {reason}", table.table, table.type_name);
        if table.columns.is_empty() {
            self.problems.push(problem("has no captured column"));
            return None;
        }
        if table.row_security.is_some() && !self.row_security {
            self.problems.push(problem(
                "is attached with row_security, and subscribers have no role of the database to evaluate its \
                 policies as: name their roles in the setting resolve.roles or resolve.anonymous_role",
            ));
            return None;
        }
        // Events name their type, not their table: two tables of one type could not be told apart.
        if !self.taken_topics.insert(table.type_name.clone()) {
            self.problems.push(problem("has the type name of another table"));
            return None;
        }
        let name = names::unique(&names::legal(&table.type_name), |name| self.is_free(name));
        self.taken_types.extend(type_names(&name));
        self.taken_roots.extend(root_names(&name));
        Some(name)
    }

    fn is_free(&self, name: &str) -> bool {
        type_names(name).iter().all(|name| !self.taken_types.contains(name))
            && root_names(name).iter().all(|name| !self.taken_roots.contains(name))
    }

    /// Adds a table under its name.
    pub(super) fn table(&mut self, table: &AttachedTable, name: &str) {
        let fields = names::fields(table.columns.iter().map(|column| column.name.as_str()));
        self.record_type(name, table, &fields);
        self.change_type(name, table);
        self.roots(name, table, &fields);
    }

    fn record_type(&mut self, name: &str, table: &AttachedTable, fields: &[String]) {
        let comment = table.comment.clone().unwrap_or_else(|| format!("A row of {}.", table.table));
        let mut body = String::new();
        for (column, field) in table.columns.iter().zip(fields) {
            if let Some(comment) = &column.comment {
                let _ = writeln!(body, "  {}", quoted(comment));
            }
            let _ = writeln!(body, "  {field}: {}", self.output_type(column));
            if *field != column.name {
                self.bindings.field(name, field, Source::Member(column.name.as_str().into()));
            }
        }
        for (role, hidden) in table.row_security.iter().flat_map(|security| &security.hidden) {
            let all = table.columns.iter().zip(fields);
            for (_, field) in all.filter(|(column, _)| hidden.contains(&column.name)) {
                self.bindings.deny(name, role, field);
            }
        }
        let _ = writeln!(self.types, "{}\ntype {name} {{\n{body}}}\n", quoted(&comment));
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
            (
                "eventId",
                "BigInt!",
                "Id of the event; 0 for a row that was there when the subscription began.",
                Source::EventId,
            ),
            (
                "metadata",
                "JSON",
                "Context that the publisher set. Null unless the server shows it for this channel.",
                Source::Metadata(self.metadata.clone()),
            ),
            ("createdAt", "Datetime!", "When the event was stored, or the row was read.", Source::CreatedAt),
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
        let arguments = self.arguments(name, table, fields);
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
            let root = RowRoot {
                type_name: table.type_name.as_str().into(),
                operations,
                keys: arguments.keys.clone(),
                filter: arguments.filter.clone(),
                value: Source::Row,
                row_security: arguments.row_security.clone(),
                owner: arguments.owner.clone(),
            };
            let signature = format!("{prefix}{suffix}({}): {name}!", arguments.sdl);
            self.root(&signature, &format!("{text} {}.", table.table), root);
        }
        // All of them, whatever is captured: a row that changes its tenant is recorded as a DELETE for
        // the old audience and an INSERT for the new, also where only UPDATE is captured.
        let all = vec![Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];
        let (scope, scope_sdl) = self.scope_argument(table, fields);
        let root = RowRoot {
            type_name: table.type_name.as_str().into(),
            operations: all,
            keys: arguments.keys,
            filter: FilterArgument { scope, ..arguments.filter },
            value: Source::Event,
            row_security: arguments.row_security,
            owner: arguments.owner,
        };
        let signature = format!("{prefix}Changed({}{scope_sdl}): {name}Change!", arguments.sdl);
        let description = format!("A row of {} changed, or the table was truncated.", table.table);
        self.root(&signature, &description, root);
    }

    /// Adds a root field; the signature begins with its name.
    fn root(&mut self, signature: &str, description: &str, root: RowRoot) {
        let _ = writeln!(self.subscription, "  {}\n  {signature}", quoted(description));
        let name = signature.split('(').next().unwrap_or(signature);
        self.bindings.root_field(name, Root::Rows(root));
    }

    fn arguments(&mut self, name: &str, table: &AttachedTable, fields: &[String]) -> Arguments {
        let (keys, mut sdl) = self.key_arguments(table, fields);
        let filter_type = format!("{name}Filter");
        let filter = FilterArgument {
            argument: free_argument("filter", table, fields),
            scope: None,
            filter_type: Arc::new(self.filter_type(&filter_type, table, fields)),
        };
        let description = "Only rows that this holds for, as they are after the change (before it, for a \
                           deletion). Null: all rows.";
        let _ = write!(sdl, "{} {}: {filter_type}", quoted(description), filter.argument);
        let owner = Arc::new(self.owner(table));
        Arguments { keys, filter, row_security: table.row_security.clone().map(Arc::new), owner, sdl }
    }

    fn owner(&mut self, table: &AttachedTable) -> Owner {
        let mut part = |column: &Option<String>| {
            let column = column.as_ref()?;
            let captured = table.columns.iter().find(|captured| captured.name == *column);
            let comparable = captured.and_then(|captured| self.comparable(&captured.column_type));
            Some(OwnerColumn { column: column.as_str().into(), comparable })
        };
        let (tenant, user) = (part(&table.tenant_column), part(&table.user_column));
        Owner { table: table.oid, tenant, user }
    }

    /// The arguments for the columns of the primary key, and their SDL.
    fn key_arguments(&mut self, table: &AttachedTable, fields: &[String]) -> (Vec<KeyArgument>, String) {
        let mut keys = Vec::new();
        let mut sdl = String::new();
        for (column, field) in table.columns.iter().zip(fields).filter(|(column, _)| column.primary_key) {
            // An argument that is accepted and never matches would be silence.
            let comparable = self.comparable(&column.column_type);
            let Some(comparable) = comparable.filter(|it| it.has_lookup()) else { continue };
            let description = quoted(&format!(
                "Only rows with this {}, as they are after the change (before it, for a deletion). Null: all rows.",
                column.name
            ));
            let _ = write!(sdl, "{description} {field}: {} ", self.type_of(&column.column_type));
            keys.push(KeyArgument {
                argument: field.as_str().into(),
                column: column.name.as_str().into(),
                comparable,
            });
        }
        (keys, sdl)
    }

    /// The argument that lets a filter look at the old record, where there is one.
    fn scope_argument(&mut self, table: &AttachedTable, fields: &[String]) -> (Option<Box<str>>, String) {
        if !table.include_old {
            return (None, String::new());
        }
        let argument = free_argument("filterScope", table, fields);
        let description = format!(
            "Which records the filter looks at. {SCOPE_EITHER} tells of a row that leaves it, too; keys are \
             always those of the record."
        );
        let scope = self.filter_scope();
        let sdl = format!(" {} {argument}: {scope}! = {SCOPE_RECORD}", quoted(&description));
        (Some(argument), sdl)
    }
}

/// The name of an argument that is not a column of the key.
fn free_argument(name: &str, table: &AttachedTable, fields: &[String]) -> Box<str> {
    let keys = || table.columns.iter().zip(fields).filter(|(column, _)| column.primary_key);
    names::unique(name, |name| !keys().any(|(_, field)| field == name)).into()
}

/// The types that a table with type `name` takes.
fn type_names(name: &str) -> [String; 3] {
    [name.to_owned(), format!("{name}Change"), format!("{name}Filter")]
}

/// The root fields that a table with type `name` takes, whether or not it captures the operation.
fn root_names(name: &str) -> [String; 4] {
    let prefix = names::prefix(name);
    ["Inserted", "Updated", "Deleted", "Changed"].map(|suffix| format!("{prefix}{suffix}"))
}
