//! From the catalog to SDL and bindings.
//!
//! A [`Drafting`] grows table by table (`table`), which asks it for the types of enums and composites
//! (`named`) and for filters (`filter`) as it meets them. Tables get their names first, so that no type
//! of a column takes one.

mod base;

mod filter;

mod named;

mod table;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;

use crate::graphql::bindings::{Bindings, MetadataChannels, Root, Source};
use crate::graphql::names;
use crate::graphql::scalar::Scalar;
use crate::source::catalog::{AttachedTable, ColumnType};

/// Type names that no table can have; one that asks for it gets a number (see [`names`]).
pub(super) const RESERVED: [&str; 9] = [
    "Query",
    "Mutation",
    "Subscription",
    "Event",
    "Operation",
    "ServerInfo",
    "FilterIs",
    "FilterScope",
    "ResolveScope",
];

/// What the tables give.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) bindings: Bindings,
    /// Tables that were left out, and why.
    pub(super) problems: Vec<String>,
    pub(super) sdl: String,
}

impl Draft {
    /// A draft of these tables.
    pub(super) fn of(tables: &[AttachedTable], metadata: &Arc<MetadataChannels>, row_security: bool) -> Self {
        let mut drafting = Drafting::new(metadata, row_security);
        let named: Vec<(&AttachedTable, String)> =
            tables.iter().filter_map(|table| Some((table, drafting.name(table)?))).collect();
        for (table, name) in named {
            drafting.table(table, &name);
        }
        Self { sdl: drafting.sdl(), bindings: drafting.bindings, problems: drafting.problems }
    }
}

/// A draft in the making.
#[derive(Debug)]
struct Drafting {
    bindings: Bindings,
    problems: Vec<String>,
    /// Types of the tables and of their columns, and filters.
    types: String,
    /// Fields of `Subscription`.
    subscription: String,
    taken_types: HashSet<String>,
    taken_roots: HashSet<String>,
    taken_topics: HashSet<String>,
    /// Enums and composites that have a type already.
    named: Vec<(ColumnType, String)>,
    /// Input types of operators that are there already, by the name that they ask for.
    filters: HashMap<String, String>,
    metadata: Arc<MetadataChannels>,
    /// Whether policies can be evaluated.
    row_security: bool,
}

impl Drafting {
    /// What every schema has.
    fn new(metadata: &Arc<MetadataChannels>, row_security: bool) -> Self {
        let scalars = Scalar::BUILT_IN.into_iter().chain(Scalar::CUSTOM).map(Scalar::name);
        let mut draft = Self {
            bindings: Bindings::default(),
            problems: Vec::new(),
            types: String::new(),
            subscription: String::new(),
            taken_types: RESERVED.into_iter().chain(scalars).map(str::to_owned).collect(),
            taken_roots: HashSet::from(["events".to_owned()]),
            taken_topics: HashSet::new(),
            named: Vec::new(),
            filters: HashMap::new(),
            metadata: metadata.clone(),
            row_security,
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
    fn sdl(&self) -> String {
        let mut sdl = String::with_capacity(2_048 + self.types.len() + self.subscription.len());
        for scalar in Scalar::CUSTOM {
            let _ = writeln!(sdl, "{}\nscalar {}\n", quoted(scalar.description()), scalar.name());
        }
        sdl.push_str(base::BASE);
        let _ = writeln!(sdl, "{}{}}}\n", base::SUBSCRIPTION, self.subscription);
        sdl.push_str(&self.types);
        sdl
    }

    /// A type name that is free, as near to `text` as the rule of [`names`] allows. It is taken now.
    fn take_type(&mut self, text: &str) -> String {
        let name = names::unique(&names::legal(text), |name| !self.taken_types.contains(name));
        self.taken_types.insert(name.clone());
        name
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
