//! Which columns a result shows.

use std::collections::BTreeSet;

use crate::graphql::bindings::Source;
use crate::graphql::plan::{Content, Field, Kind};

/// The columns of the table that a result shows, whichever record they come from.
pub(in crate::graphql) fn of(field: &Field, columns: &mut BTreeSet<Box<str>>) {
    let Content::Value(source, shape) = &field.content else { return };
    let Kind::Object(below) = &shape.kind else { return };
    match source {
        Source::Row | Source::Record | Source::Old { .. } => {
            let shown = below.iter().filter_map(|field| match &field.content {
                Content::Value(Source::Member(column), _) => Some(column.clone()),
                _ => None,
            });
            columns.extend(shown);
        }
        Source::Event => below.iter().for_each(|field| of(field, columns)),
        _ => {}
    }
}

/// Whether a result shows the record before an UPDATE.
pub(super) fn show_old(field: &Field) -> bool {
    let Content::Value(source, shape) = &field.content else { return false };
    match (source, &shape.kind) {
        (Source::Old { .. }, _) => true,
        (Source::Event, Kind::Object(below)) => below.iter().any(show_old),
        _ => false,
    }
}
