//! Puts the documents together: what each defines, what each extends, and where names meet.

use std::collections::HashMap;

use graphql_parser::Pos;

use super::directives::DEFINITIONS_OF_DIRECTIVES;
use super::graph::{Entry, Graph, Kind, Origin};
use super::parse::{Definition, Document};
use super::parts::Parts;
use super::problem::{Place, Problems};
use super::scan::At;
use super::world::World;

/// Names longer than this make no index entry in the database.
const NAME_BYTES_MAX: usize = 255;

/// An enum that only a directive has.
const RESOLVE_SCOPE: &str = "ResolveScope";
const SCALARS: [&str; 12] = [
    "Int", "Float", "String", "Boolean", "ID", "BigInt", "BigFloat", "UUID", "Datetime", "Date", "Time",
    "JSON",
];
pub(super) const SUBSCRIPTION: &str = "Subscription";

/// A document that could be read.
#[derive(Debug)]
pub(super) struct Readable<'a> {
    pub(super) name: &'a str,
    /// See [`super::scan::Scanned`].
    pub(super) described: HashMap<At, At>,
    pub(super) definitions: Document,
}

impl Readable<'_> {
    /// Where something stands that the parser found; a description is stepped over.
    pub(super) fn place(&self, document: usize, position: Pos) -> Place {
        let at = (position.line, position.column);
        let (line, column) = self.described.get(&at).copied().unwrap_or(at);
        Place { document, line, column }
    }
}

pub(super) fn compose<'a>(
    documents: &'a [Readable<'a>],
    world: &'a World,
    problems: &mut Problems,
) -> Graph<'a> {
    let mut composer = Composer { graph: built_in(world), documents, problems };
    for (index, document) in documents.iter().enumerate() {
        for definition in &document.definitions.definitions {
            composer.definition(index, definition);
        }
    }
    for (index, document) in documents.iter().enumerate() {
        for definition in &document.definitions.definitions {
            if let Definition::TypeExtension(extension) = definition {
                composer.extension(index, &Parts::of_extension(extension));
            }
        }
    }
    composer.graph
}

fn built_in(world: &World) -> Graph<'_> {
    let mut graph = Graph::default();
    let internal = ["Query", "Mutation", SUBSCRIPTION];
    internal.into_iter().for_each(|name| graph.add(Entry::new(name, Kind::Object, Origin::Internal)));
    graph.add(Entry::new(RESOLVE_SCOPE, Kind::Enum, Origin::Internal));
    SCALARS.into_iter().for_each(|name| graph.add(Entry::new(name, Kind::Scalar, Origin::BuiltIn)));
    for name in ["Event", "ServerInfo"] {
        graph.add(Entry::new(name, Kind::Object, Origin::BuiltIn));
    }
    graph.add(Entry::new("Operation", Kind::Enum, Origin::BuiltIn));
    for table in &world.tables {
        let [row, change, filter] = &table.types;
        graph.add(Entry::new(filter, Kind::Input, Origin::Kept(&table.table)));
        graph.add(Entry::new(row, Kind::Object, Origin::Derived(&table.table)));
        graph.add(Entry::new(change, Kind::Object, Origin::Derived(&table.table)));
    }
    for column_type in &world.types {
        let kind = if column_type.is_enum { Kind::Enum } else { Kind::Object };
        graph.add(Entry::new(&column_type.name, kind, Origin::Derived(&column_type.postgres)));
        for filter in &column_type.filters {
            graph.add(Entry::new(filter, Kind::Input, Origin::Kept(&column_type.postgres)));
        }
    }
    for name in &world.reserved {
        graph.add(Entry::new(name, Kind::Input, Origin::Internal));
    }
    graph
}

struct Composer<'a, 'p> {
    graph: Graph<'a>,
    documents: &'a [Readable<'a>],
    problems: &'p mut Problems,
}

impl<'a> Composer<'a, '_> {
    fn place(&self, document: usize, position: Pos) -> Place {
        self.documents[document].place(document, position)
    }

    fn definition(&mut self, document: usize, definition: &'a Definition) {
        match definition {
            Definition::SchemaDefinition(schema) => {
                let place = self.place(document, schema.position);
                self.problems.add(
                    place,
                    "schema cannot be defined, the root types are given; write extend type Subscription { ... }",
                );
            }
            Definition::DirectiveDefinition(directive) => {
                let place = self.place(document, directive.position);
                self.problems.add(
                    place,
                    format!(
                        "directive @{} cannot be defined; these are there: {DEFINITIONS_OF_DIRECTIVES}",
                        directive.name
                    ),
                );
            }
            Definition::TypeDefinition(definition) => {
                let parts = Parts::of_definition(definition);
                let place = self.place(document, parts.position);
                if self.may_define(place, &parts) {
                    let mut entry = Entry::new(parts.name, parts.kind, Origin::Document(place));
                    self.fill(&mut entry, document, &parts);
                    self.graph.add(entry);
                }
            }
            Definition::TypeExtension(_) => {}
        }
    }

    /// Says what is wrong with the name of a definition; false if it is not even worth a look inside.
    fn may_define(&mut self, place: Place, parts: &Parts<'a>) -> bool {
        let name = parts.name;
        check_name(place, "type", name, self.problems);
        if matches!(name, "Query" | "Mutation" | SUBSCRIPTION) {
            let advice = match name {
                SUBSCRIPTION => "write extend type Subscription { ... }",
                "Query" => "only subscriptions are served; write extend type Subscription { ... }",
                _ => "write to the database instead; only subscriptions are served",
            };
            self.problems.add(place, format!("type {name:?} cannot be defined; {advice}"));
            return false;
        }
        let taken = self.graph.get(name);
        let clash = match taken.map(|taken| taken.origin) {
            Some(Origin::Document(other)) if other.document == place.document => {
                format!("is already defined in line {}", other.line)
            }
            Some(Origin::Document(other)) => {
                format!("is already defined in document {:?}", self.documents[other.document].name)
            }
            Some(Origin::Derived(source) | Origin::Kept(source)) => {
                format!("is the name of a type made from {source}")
            }
            Some(Origin::BuiltIn | Origin::Internal) => "is a built-in type".to_owned(),
            None => return true,
        };
        self.problems.add(place, format!("type {name:?} {clash}; choose another name"));
        true
    }

    fn extension(&mut self, document: usize, parts: &Parts<'a>) {
        let (name, place) = (parts.name, self.place(document, parts.position));
        let refusal = match self.graph.get(name) {
            None => format!("type {name:?} is extended, but not defined"),
            Some(_) if name == SUBSCRIPTION && parts.kind == Kind::Object => String::new(),
            Some(_) if matches!(name, "Query" | "Mutation") => {
                format!("type {name:?} cannot be extended; only subscriptions are served")
            }
            Some(Entry { origin: Origin::Derived(source) | Origin::Kept(source), .. }) => {
                format!(
                    "type {name:?} is made from {source} and cannot be extended; define a type of your own"
                )
            }
            Some(Entry { origin: Origin::BuiltIn | Origin::Internal, .. }) => {
                format!("type {name:?} is built in and cannot be extended as {}", parts.kind.keyword())
            }
            Some(entry) if entry.kind != parts.kind => format!(
                "{} cannot be extended as {}; write extend {} {name}",
                entry.described(),
                parts.kind.keyword(),
                entry.kind.keyword()
            ),
            Some(_) => String::new(),
        };
        if !refusal.is_empty() {
            return self.problems.add(place, refusal);
        }
        // Filled apart: the graph cannot change while it is read.
        let mut added = Entry::new(name, parts.kind, Origin::Document(place));
        self.fill(&mut added, document, parts);
        if let Some(entry) = self.graph.get_mut(name) {
            entry.interfaces.append(&mut added.interfaces);
            entry.fields.append(&mut added.fields);
            entry.inputs.append(&mut added.inputs);
            entry.members.append(&mut added.members);
            entry.values.append(&mut added.values);
            entry.directives.append(&mut added.directives);
        }
    }

    fn fill(&self, entry: &mut Entry<'a>, document: usize, parts: &Parts<'a>) {
        let place = |position| self.place(document, position);
        // The parser keeps no place for single names.
        let whole = place(parts.position);
        entry.interfaces.extend(parts.interfaces.iter().map(|name| (whole, name.as_str())));
        entry.members.extend(parts.members.iter().map(|name| (whole, name.as_str())));
        entry.fields.extend(parts.fields.iter().map(|field| (place(field.position), field)));
        entry.inputs.extend(parts.inputs.iter().map(|input| (place(input.position), input)));
        entry.values.extend(parts.values.iter().map(|value| (place(value.position), value)));
        entry.directives.extend(parts.directives.iter().map(|used| (place(used.position), used)));
    }
}

/// Names that are legal to the parser and still not possible.
pub(super) fn check_name(place: Place, what: &str, name: &str, problems: &mut Problems) {
    if name.starts_with("__") {
        problems.add(
            place,
            format!("{what} {name:?} begins with two underscores, which GraphQL keeps for itself"),
        );
    }
    if name.len() > NAME_BYTES_MAX {
        problems.add(place, format!("the name of this {what} is longer than {NAME_BYTES_MAX} bytes"));
    }
}

/// Calls back for every name that has been there before.
pub(super) fn find_repeated<'n, T>(
    items: impl Iterator<Item = (T, &'n str)>,
    mut repeated: impl FnMut(T, &'n str),
) {
    let mut seen: HashMap<&str, ()> = HashMap::new();
    for (item, name) in items {
        if seen.insert(name, ()).is_some() {
            repeated(item, name);
        }
    }
}
