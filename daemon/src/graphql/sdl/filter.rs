//! The input types of filters.

use std::fmt::Write;

use super::{Drafting, quoted};
use crate::graphql::filter::comparable::Comparable;
use crate::graphql::filter::operators::{NULLNESS, SCOPE, SCOPE_EITHER, SCOPE_RECORD, Takes};
use crate::graphql::filter::{FilterField, FilterType, Subject};
use crate::graphql::names;
use crate::source::catalog::{AttachedTable, ColumnType};

impl Drafting {
    /// The filter type of a table, called `name`.
    pub(super) fn filter_type(&mut self, name: &str, table: &AttachedTable, fields: &[String]) -> FilterType {
        let mut filter = FilterType::default();
        let mut body = String::new();
        for (column, field) in table.columns.iter().zip(fields) {
            let subject = self.subject(&column.column_type);
            let input = self.operators(&subject, &column.column_type);
            let _ = writeln!(body, "  {}\n  {field}: {input}", quoted(&format!("By {}.", column.name)));
            let column = column.name.as_str().into();
            filter.fields.insert(field.as_str().into(), FilterField { column, subject });
        }
        // A column that is called like one of these keeps its name.
        let free = |name: &str| !fields.iter().any(|field| field == name);
        let [and, or, not] = ["and", "or", "not"].map(|name| names::unique(name, free));
        for (field, field_type, text) in [
            (&and, format!("[{name}!]"), "All of these."),
            (&or, format!("[{name}!]"), "At least one of these."),
            (&not, name.to_owned(), "Not this."),
        ] {
            let _ = writeln!(body, "  {}\n  {field}: {field_type}", quoted(text));
        }
        (filter.and, filter.or, filter.not) = (and.into(), or.into(), not.into());
        let description = quoted(&format!("Which rows of {}; all that is given must hold.", table.table));
        let _ = writeln!(self.types, "{description}\ninput {name} {{\n{body}}}\n");
        filter
    }

    /// The type that says which records a filter looks at.
    pub(super) fn filter_scope(&mut self) -> &'static str {
        if self.filters.insert(SCOPE.to_owned(), SCOPE.to_owned()).is_none() {
            let _ = writeln!(
                self.types,
                "\"Which records a filter looks at.\"\nenum {SCOPE} {{\n  \
                 \"The record alone: after an update, the row as it is now.\"\n  {SCOPE_RECORD}\n  \
                 \"The record, or the one before the update: a row that leaves the filter is told, too.\"\n  \
                 {SCOPE_EITHER}\n}}\n"
            );
        }
        SCOPE
    }

    /// How the values of a type compare.
    pub(super) fn comparable(&mut self, column_type: &ColumnType) -> Option<Comparable> {
        match column_type {
            ColumnType::Base(typname) => Comparable::of_base(typname),
            ColumnType::Enum { .. } => {
                let name = self.type_of(column_type);
                self.bindings.labels(&name).cloned().map(Comparable::Enum)
            }
            ColumnType::Array(_) | ColumnType::Composite { .. } => None,
        }
    }

    fn subject(&mut self, column_type: &ColumnType) -> Subject {
        let subject = match column_type {
            ColumnType::Array(element) => self.comparable(element).map(Subject::List),
            _ => self.comparable(column_type).map(Subject::Value),
        };
        subject.unwrap_or(Subject::Opaque)
    }

    /// The input type with the operators for a subject; made when it is met first.
    fn operators(&mut self, subject: &Subject, column_type: &ColumnType) -> String {
        let leaf = match column_type {
            ColumnType::Array(element) => self.type_of(element),
            _ => self.type_of(column_type),
        };
        let asked = subject.input_type(&leaf);
        if let Some(name) = self.filters.get(&asked) {
            return name.clone();
        }
        if self.filters.insert(NULLNESS.to_owned(), NULLNESS.to_owned()).is_none() {
            let _ = writeln!(
                self.types,
                "\"Whether a value is there.\"\nenum {NULLNESS} {{\n  NULL\n  NOT_NULL\n}}\n"
            );
        }
        let name = self.take_type(&asked);
        let text = match subject {
            Subject::Value(_) => format!("Operators for {leaf}."),
            Subject::List(_) => format!("Operators for lists of {leaf}."),
            Subject::Opaque => "Operators for values that do not compare.".to_owned(),
        };
        let _ = writeln!(self.types, "{}\ninput {name} {{", quoted(&text));
        for operator in subject.operators() {
            let operand = match operator.takes(matches!(subject, Subject::List(_))) {
                Takes::Value => leaf.clone(),
                Takes::List => format!("[{leaf}!]"),
                Takes::Nullness => NULLNESS.to_owned(),
            };
            let _ = writeln!(
                self.types,
                "  {}\n  {}: {operand}",
                quoted(operator.description()),
                operator.name()
            );
        }
        self.types.push_str("}\n\n");
        self.filters.insert(asked, name.clone());
        name
    }
}
