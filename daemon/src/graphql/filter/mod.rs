//! Filters: the argument `filter` of a subscription, from a value to what the router can use.
//!
//! # Layout
//!
//! Per schema: `operators` says which operators a column has, [`FilterType`] what each field of the
//! input type means. Per subscription: `compile` reads the argument, `lookup` takes out what the router
//! can look up, and `narrow` what the database can where a subscription begins with what is there. Per event: `predicate` decides the rest, with `comparable`, `operand`, `decimal`,
//! `moment` and `pattern`.
//!
//! The rule is that of a WHERE clause: a comparison with null is neither true nor false, and only what
//! is true passes.

pub(super) mod comparable;

mod decimal;

mod moment;

mod operand;

mod pattern;

pub(super) mod operators;

mod predicate;

mod compile;

mod lookup;

mod narrow;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use comparable::Comparable;

pub(super) use compile::{compile, one_of};
pub(super) use lookup::split;
pub(super) use narrow::{narrow, owned_by};
pub(super) use predicate::{Filter, RowFilter};

/// What the fields of a table's filter type mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FilterType {
    /// By the name of the input field.
    pub(super) fields: HashMap<Box<str>, FilterField>,
    /// Names of the fields that combine filters: a column may be called `and`.
    pub(super) and: Box<str>,
    pub(super) or: Box<str>,
    pub(super) not: Box<str>,
}

/// A field of a filter: a column and how its values compare.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FilterField {
    pub(super) column: Box<str>,
    pub(super) subject: Subject,
}

/// What a column holds, as far as a filter can tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// A value that compares.
    Value(Comparable),
    /// A list of such values.
    List(Comparable),
    /// Something that only is null or is not.
    Opaque,
}
