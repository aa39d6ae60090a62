//! Whether each type is sound in itself and refers to types that are there.

use std::collections::HashMap;

use graphql_parser::schema::DirectiveLocation;

use super::compose::{Readable, SUBSCRIPTION, check_name, find_repeated};
use super::directives::{self, Known, find};
use super::graph::{Entry, Graph, Kind, Origin, Placed, innermost, is_required};
use super::interfaces;
use super::parse::{Directive, Field, InputValue, Type};
use super::problem::{Place, Problems};
use super::values::mismatch;

pub(super) struct Checker<'a, 'c> {
    pub(super) graph: &'c Graph<'a>,
    pub(super) known: &'c Known<'c>,
    pub(super) documents: &'c [Readable<'a>],
    pub(super) problems: &'c mut Problems,
}

impl<'a> Checker<'a, '_> {
    pub(super) fn types(&mut self) {
        let graph = self.graph;
        for entry in &graph.entries {
            if let Origin::Document(place) = entry.origin
                && !self.problems.is_full(place.document)
            {
                self.entry(entry, place);
            }
        }
        if let Some(subscription) = graph.get(SUBSCRIPTION) {
            self.root(subscription);
        }
        self.endless_inputs();
    }

    fn entry(&mut self, entry: &Entry<'a>, place: Place) {
        self.directives(&entry.directives, &directives::location_of(entry.kind));
        let is_empty = match entry.kind {
            Kind::Scalar => false,
            Kind::Object | Kind::Interface => entry.fields.is_empty(),
            Kind::Input => entry.inputs.is_empty(),
            Kind::Enum => entry.values.is_empty(),
            Kind::Union => entry.members.is_empty(),
        };
        if is_empty {
            let lacking = match entry.kind {
                Kind::Enum => "value",
                Kind::Union => "member",
                _ => "field",
            };
            self.problems.add(place, format!("{} has no {lacking}", entry.described()));
        }
        self.fields(entry);
        self.values(entry);
        self.members(entry);
        self.input_fields(entry);
        interfaces::check(self.graph, entry, self.problems);
    }

    /// What documents add to a root type.
    fn root(&mut self, entry: &Entry<'a>) {
        self.directives(&entry.directives, &DirectiveLocation::Object);
        for (place, field) in &entry.fields {
            self.field(*place, field);
        }
    }

    fn fields(&mut self, entry: &Entry<'a>) {
        for (place, field) in &entry.fields {
            self.field(*place, field);
        }
        find_repeated(
            entry.fields.iter().map(|(place, field)| (*place, field.name.as_str())),
            |place, name| {
                self.problems.add(place, format!("field {name:?} is defined twice in {}", entry.described()));
            },
        );
    }

    fn field(&mut self, place: Place, field: &'a Field) {
        check_name(place, "field", &field.name, self.problems);
        self.result_type(place, field);
        self.directives(&self.placed(place, &field.directives), &DirectiveLocation::FieldDefinition);
        self.arguments(place, field);
    }

    fn result_type(&mut self, place: Place, field: &Field) {
        let (name, type_name) = (&field.name, innermost(&field.field_type));
        let problem = match self.graph.usable(type_name) {
            None if self.graph.get(type_name).is_some() => "which no field can have",
            None => "which is unknown",
            Some(entry) if entry.kind == Kind::Input => "which is an input type: only arguments can have it",
            Some(_) => return,
        };
        self.problems.add(place, format!("field {name:?} has type {type_name:?}, {problem}"));
    }

    fn arguments(&mut self, place: Place, field: &'a Field) {
        let document = place.document;
        let arguments: Vec<Placed<&InputValue>> =
            field.arguments.iter().map(|it| (self.place(document, it.position), it)).collect();
        for (place, argument) in &arguments {
            self.input(*place, "argument", argument, &DirectiveLocation::ArgumentDefinition);
        }
        find_repeated(
            arguments.iter().map(|(place, argument)| (*place, argument.name.as_str())),
            |place, name| {
                self.problems.add(place, format!("argument {name:?} is there twice"));
            },
        );
    }

    fn input_fields(&mut self, entry: &Entry<'a>) {
        let is_one_of = entry.directives.iter().any(|(_, used)| used.name == "oneOf");
        for (place, input) in &entry.inputs {
            self.input(*place, "field", input, &DirectiveLocation::InputFieldDefinition);
            if is_one_of
                && (matches!(input.value_type, Type::NonNullType(_)) || input.default_value.is_some())
            {
                let name = &input.name;
                let message =
                    format!("field {name:?} of a @oneOf input type must be nullable and have no default");
                self.problems.add(*place, message);
            }
        }
        find_repeated(
            entry.inputs.iter().map(|(place, input)| (*place, input.name.as_str())),
            |place, name| {
                self.problems.add(place, format!("field {name:?} is defined twice in {}", entry.described()));
            },
        );
    }

    /// An argument or a field of an input type.
    fn input(&mut self, place: Place, what: &str, input: &'a InputValue, location: &DirectiveLocation) {
        let name = input.name.as_str();
        check_name(place, what, name, self.problems);
        let type_name = innermost(&input.value_type);
        let problem = match self.graph.usable(type_name).map(|entry| entry.kind) {
            None if self.graph.get(type_name).is_some() => Some("which no argument can have"),
            None => Some("which is unknown"),
            Some(Kind::Object | Kind::Interface | Kind::Union) => {
                Some("which is for results; use a scalar, an enum or an input type")
            }
            Some(Kind::Scalar | Kind::Enum | Kind::Input) => None,
        };
        if let Some(problem) = problem {
            self.problems.add(place, format!("{what} {name:?} has type {type_name:?}, {problem}"));
        } else if let Some(reason) =
            input.default_value.as_ref().and_then(|value| mismatch(self.graph, &input.value_type, value))
        {
            self.problems.add(place, format!("default of {what} {name:?}: {reason}"));
        }
        self.directives(&self.placed(place, &input.directives), location);
        if is_required(input) && find(&input.directives, "deprecated").is_some() {
            self.problems.add(place, format!("{what} {name:?} is required, so it cannot be deprecated"));
        }
    }

    fn values(&mut self, entry: &Entry<'a>) {
        for (place, value) in &entry.values {
            check_name(*place, "enum value", &value.name, self.problems);
            if matches!(value.name.as_str(), "true" | "false" | "null") {
                self.problems
                    .add(*place, format!("enum value {:?} means something else in GraphQL", value.name));
            }
            self.directives(&self.placed(*place, &value.directives), &DirectiveLocation::EnumValue);
        }
        find_repeated(
            entry.values.iter().map(|(place, value)| (*place, value.name.as_str())),
            |place, name| {
                self.problems.add(place, format!("value {name:?} is there twice in {}", entry.described()));
            },
        );
    }

    fn members(&mut self, entry: &Entry<'a>) {
        for (place, name) in &entry.members {
            let problem = match self.graph.usable(name) {
                Some(member) if member.kind == Kind::Object => continue,
                Some(member) => {
                    format!("is {}; only object types can be members", member.kind.with_article())
                }
                None => "is unknown".to_owned(),
            };
            self.problems.add(*place, format!("member {name:?} of {} {problem}", entry.described()));
        }
        find_repeated(entry.members.iter().map(|(place, name)| (*place, *name)), |place, name| {
            self.problems.add(place, format!("member {name:?} is there twice in {}", entry.described()));
        });
    }

    /// Input types of which no value could ever be written, because each needs another inside.
    fn endless_inputs(&mut self) {
        // A type is possible once all the types that it needs are; what is left in the end is endless.
        let mut needed_by: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut waiting: Vec<usize> = vec![0; self.graph.entries.len()];
        let mut possible = Vec::new();
        for (index, entry) in self.graph.entries.iter().enumerate().filter(|(_, it)| it.kind == Kind::Input) {
            let is_one_of = entry.directives.iter().any(|(_, used)| used.name == "oneOf");
            for (_, input) in &entry.inputs {
                let Type::NonNullType(inner) = &input.value_type else { continue };
                let Type::NamedType(name) = inner.as_ref() else { continue };
                let is_input = self.graph.get(name).is_some_and(|it| it.kind == Kind::Input);
                if is_input && input.default_value.is_none() && !is_one_of {
                    needed_by.entry(name).or_default().push(index);
                    waiting[index] += 1;
                }
            }
            if waiting[index] == 0 {
                possible.push(entry.name);
            }
        }
        while let Some(name) = possible.pop() {
            for index in needed_by.remove(name).unwrap_or_default() {
                waiting[index] -= 1;
                if waiting[index] == 0 {
                    possible.push(self.graph.entries[index].name);
                }
            }
        }
        for (entry, _) in self.graph.entries.iter().zip(&waiting).filter(|(_, waiting)| **waiting > 0) {
            if let Origin::Document(place) = entry.origin {
                let message =
                    format!("{} needs itself inside, without end; make a field nullable", entry.described());
                self.problems.add(place, message);
            }
        }
    }

    fn directives(&mut self, used: &[Placed<&'a Directive>], location: &DirectiveLocation) {
        directives::check(self.graph, self.known, used, location, self.problems);
    }

    fn placed(&self, near: Place, used: &'a [Directive]) -> Vec<Placed<&'a Directive>> {
        used.iter().map(|directive| (self.place(near.document, directive.position), directive)).collect()
    }

    pub(super) fn place(&self, document: usize, position: graphql_parser::Pos) -> Place {
        self.documents[document].place(document, position)
    }
}
