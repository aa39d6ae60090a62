//! The types of columns: scalars, and a type of its own for each enum and composite.

use std::fmt::Write;
use std::sync::Arc;

use super::{Drafting, quoted};
use crate::graphql::bindings::Source;
use crate::graphql::labels::Labels;
use crate::graphql::names;
use crate::graphql::scalar::Scalar;
use crate::source::catalog::{Column, ColumnType};

impl Drafting {
    /// The type of a column's field.
    pub(super) fn output_type(&mut self, column: &Column) -> String {
        let name = self.type_of(&column.column_type);
        // A json column that is NOT NULL still holds JSON's own null, so it promises nothing.
        if column.not_null && name != Scalar::Json.name() { format!("{name}!") } else { name }
    }

    /// The GraphQL type of a PostgreSQL type; made when it is met first.
    pub(super) fn type_of(&mut self, column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Base(typname) => Scalar::from_postgres(typname).name().to_owned(),
            ColumnType::Array(element) => format!("[{}]", self.type_of(element)),
            // GraphQL has no enum without values and no object without fields.
            ColumnType::Enum { labels, .. } if labels.is_empty() => Scalar::String.name().to_owned(),
            ColumnType::Composite { attributes, .. } if attributes.is_empty() => {
                Scalar::Json.name().to_owned()
            }
            ColumnType::Enum { name, labels } => {
                self.once(column_type, |draft| draft.enum_type(name, labels))
            }
            ColumnType::Composite { name, attributes } => {
                self.once(column_type, |draft| draft.composite_type(name, attributes))
            }
        }
    }

    /// One type for equal definitions: the catalog does not say which schema they come from.
    fn once(&mut self, column_type: &ColumnType, make: impl FnOnce(&mut Self) -> String) -> String {
        if let Some((_, name)) = self.named.iter().find(|(known, _)| known == column_type) {
            return name.clone();
        }
        let name = make(self);
        self.named.push((column_type.clone(), name.clone()));
        name
    }

    fn enum_type(&mut self, typname: &str, labels: &[String]) -> String {
        let name = self.take_type(&names::pascal(typname));
        let labels = Labels::of_type(labels);
        let _ = writeln!(self.types, "{}\nenum {name} {{", quoted(&format!("The enum {typname}.")));
        for (label, value) in labels.iter() {
            if label != value {
                let _ = writeln!(self.types, "  {}", quoted(&format!("The label {label:?}.")));
            }
            let _ = writeln!(self.types, "  {value}");
        }
        self.types.push_str("}\n\n");
        self.bindings.enum_type(&name, Arc::new(labels));
        name
    }

    fn composite_type(&mut self, typname: &str, attributes: &[(String, ColumnType)]) -> String {
        // Types of attributes come first: they write into the same text.
        let types: Vec<String> = attributes.iter().map(|(_, attribute)| self.type_of(attribute)).collect();
        let name = self.take_type(&names::pascal(typname));
        let fields = names::fields(attributes.iter().map(|(attribute, _)| attribute.as_str()));
        let _ = writeln!(self.types, "{}\ntype {name} {{", quoted(&format!("The composite type {typname}.")));
        for (((attribute, _), field), field_type) in attributes.iter().zip(fields).zip(types) {
            let _ = writeln!(self.types, "  {field}: {field_type}");
            if field != *attribute {
                self.bindings.field(&name, &field, Source::Member(attribute.as_str().into()));
            }
        }
        self.types.push_str("}\n\n");
        name
    }
}
