//! Which operators a filter offers for a type: those of pg_graphql, where both mean the same.

use super::Subject;
use super::comparable::Comparable;

/// An operator of a filter's input type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graphql) enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Is,
    Like,
    Ilike,
    StartsWith,
    Contains,
    ContainedBy,
    Overlaps,
}

/// What an operator is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::graphql) enum Takes {
    /// A value of the type.
    Value,
    /// A list of such values.
    List,
    /// `NULL` or `NOT_NULL`.
    Nullness,
}

use Operator::{
    ContainedBy, Contains, Eq as Equal, Gt, Gte, Ilike, In, Is, Like, Lt, Lte, Neq, Overlaps, StartsWith,
};

impl Operator {
    const ALL: [Self; 14] =
        [Equal, Neq, Gt, Gte, Lt, Lte, In, Is, Like, Ilike, StartsWith, Contains, ContainedBy, Overlaps];

    /// Its name in the input type.
    pub(in crate::graphql) const fn name(self) -> &'static str {
        match self {
            Equal => "eq",
            Neq => "neq",
            Gt => "gt",
            Gte => "gte",
            Lt => "lt",
            Lte => "lte",
            In => "in",
            Is => "is",
            Like => "like",
            Ilike => "ilike",
            StartsWith => "startsWith",
            Contains => "contains",
            ContainedBy => "containedBy",
            Overlaps => "overlaps",
        }
    }

    pub(in crate::graphql) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operator| operator.name() == name)
    }

    /// What the SDL says about it.
    pub(in crate::graphql) const fn description(self) -> &'static str {
        match self {
            Equal => "Equal.",
            Neq => "Not equal, and not null.",
            Gt => "Greater.",
            Gte => "Greater or equal.",
            Lt => "Less.",
            Lte => "Less or equal.",
            In => "Equal to one of these.",
            Is => "Null or not.",
            Like => "Matches an SQL pattern: % is any text, _ any character, \\ takes the next as it stands.",
            Ilike => "The same, whatever the case.",
            StartsWith => "Begins with this text.",
            Contains => "Has all of these items.",
            ContainedBy => "Has no other items than these.",
            Overlaps => "Has at least one of these items.",
        }
    }

    /// What it is given when the subject is a value, or a list.
    pub(in crate::graphql) const fn takes(self, of_list: bool) -> Takes {
        match self {
            Is => Takes::Nullness,
            In | Contains | ContainedBy | Overlaps => Takes::List,
            _ if of_list => Takes::List,
            _ => Takes::Value,
        }
    }
}

impl Subject {
    /// The operators that a filter has for it.
    pub(in crate::graphql) const fn operators(&self) -> &'static [Operator] {
        const ORDERED: &[Operator] = &[Equal, Neq, Gt, Gte, Lt, Lte, In, Is];
        match self {
            Self::Value(Comparable::Boolean) => &[Equal, Neq, Is],
            Self::Value(Comparable::Uuid) => &[Equal, Neq, In, Is],
            Self::Value(Comparable::Text | Comparable::PaddedText) => {
                &[Equal, Neq, Gt, Gte, Lt, Lte, In, Is, Like, Ilike, StartsWith]
            }
            Self::Value(_) => ORDERED,
            Self::List(_) => &[Equal, Contains, ContainedBy, Overlaps, Is],
            Self::Opaque => &[Is],
        }
    }

    /// The name of its input type, where values have the GraphQL type `leaf`.
    pub(in crate::graphql) fn input_type(&self, leaf: &str) -> String {
        match self {
            Self::Value(_) => format!("{leaf}Filter"),
            Self::List(_) => format!("{leaf}ListFilter"),
            Self::Opaque => OPAQUE.to_owned(),
        }
    }
}

/// The input type for what only is null or is not.
pub(in crate::graphql) const OPAQUE: &str = "OpaqueFilter";

/// The enum of the operator `is`.
pub(in crate::graphql) const NULLNESS: &str = "FilterIs";

/// The enum that says which records a filter looks at, and its two values.
pub(in crate::graphql) const SCOPE: &str = "FilterScope";
pub(in crate::graphql) const SCOPE_RECORD: &str = "RECORD";
pub(in crate::graphql) const SCOPE_EITHER: &str = "RECORD_OR_OLD";
