//! The directives, and whether they are used as they are meant.

use std::collections::HashMap;

use graphql_parser::schema::DirectiveLocation;

use super::compose::find_repeated;
use super::graph::{Graph, Kind, Placed};
use super::parse::{Definition, Directive, DirectiveDefinition, Document, Type, TypeDefinition, Value};
use super::problem::{Place, Problems};
use super::values::mismatch;

pub(super) const DEFINITIONS_OF_DIRECTIVES: &str =
    "@event, @match, @visibleTo, @resolve, @authorize, @deprecated, @specifiedBy, @oneOf";

/// What documents may use. None of them is repeatable.
pub(super) const KNOWN: &str = r#"
directive @event(channel: String!, type: String, types: [String!]) on FIELD_DEFINITION
directive @match(field: String) on ARGUMENT_DEFINITION
directive @visibleTo(roles: [String!]!) on FIELD_DEFINITION
enum ResolveScope { EVENT TENANT USER }
directive @resolve(function: String!, scope: ResolveScope! = USER) on FIELD_DEFINITION
directive @authorize(function: String!) on FIELD_DEFINITION
directive @deprecated(reason: String! = "No longer supported")
  on FIELD_DEFINITION | ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION | ENUM_VALUE
directive @specifiedBy(url: String!) on SCALAR
directive @oneOf on INPUT_OBJECT
"#;

/// Directives by name.
pub(super) type Known<'k> = HashMap<&'k str, &'k DirectiveDefinition>;

/// Takes the directives out of the parsed text, and gives their enums to the graph.
pub(super) fn known<'k>(parsed: &'k Document, graph: &mut Graph<'k>) -> Known<'k> {
    let mut known = Known::new();
    for definition in &parsed.definitions {
        match definition {
            Definition::DirectiveDefinition(directive) => {
                known.insert(&directive.name, directive);
            }
            Definition::TypeDefinition(TypeDefinition::Enum(values)) => {
                if let Some(entry) = graph.get_mut(&values.name) {
                    let nowhere = Place { document: 0, line: 0, column: 0 };
                    entry.values.extend(values.values.iter().map(|value| (nowhere, value)));
                }
            }
            _ => {}
        }
    }
    known
}

/// Checks the directives of one place in a document by their definitions.
pub(super) fn check<'a>(
    graph: &Graph<'a>,
    known: &Known<'_>,
    used: &[Placed<&'a Directive>],
    location: &DirectiveLocation,
    problems: &mut Problems,
) {
    for (place, directive) in used {
        let name = directive.name.as_str();
        let Some(definition) = known.get(name) else {
            problems.add(*place, format!("unknown directive @{name}; there are {DEFINITIONS_OF_DIRECTIVES}"));
            continue;
        };
        if !definition.locations.contains(location) {
            let allowed: Vec<&str> = definition.locations.iter().map(|it| in_words(it)).collect();
            let allowed = allowed.join(", ");
            problems
                .add(*place, format!("@{name} cannot stand on {}, only on {allowed}", in_words(location)));
            continue;
        }
        check_arguments(graph, definition, *place, directive, problems);
    }
    find_repeated(used.iter().map(|(place, directive)| (*place, directive.name.as_str())), |place, name| {
        problems.add(place, format!("@{name} is there twice"));
    });
}

fn check_arguments(
    graph: &Graph<'_>,
    definition: &DirectiveDefinition,
    place: Place,
    directive: &Directive,
    problems: &mut Problems,
) {
    let name = directive.name.as_str();
    for (argument, value) in &directive.arguments {
        match definition.arguments.iter().find(|known| known.name == *argument) {
            None => problems.add(place, format!("@{name} has no argument {argument:?}")),
            Some(known) => {
                if let Some(reason) = mismatch(graph, &known.value_type, value) {
                    problems.add(place, format!("argument {argument:?} of @{name}: {reason}"));
                }
            }
        }
    }
    find_repeated(directive.arguments.iter().map(|(argument, _)| ((), argument.as_str())), |(), argument| {
        problems.add(place, format!("argument {argument:?} of @{name} is there twice"));
    });
    for known in &definition.arguments {
        let is_required = matches!(known.value_type, Type::NonNullType(_)) && known.default_value.is_none();
        if is_required && argument(directive, &known.name).is_none() {
            problems.add(place, format!("@{name} needs the argument {:?}", known.name));
        }
    }
}

/// The value that a directive was given.
pub(super) fn argument<'d>(directive: &'d Directive, name: &str) -> Option<&'d Value> {
    directive.arguments.iter().find(|(argument, _)| *argument == name).map(|(_, value)| value)
}

/// The directive of that name, if it is used here.
pub(super) fn find<'d>(directives: &'d [Directive], name: &str) -> Option<&'d Directive> {
    directives.iter().find(|directive| directive.name == name)
}

/// Where the definition of a type stands.
pub(super) const fn location_of(kind: Kind) -> DirectiveLocation {
    match kind {
        Kind::Scalar => DirectiveLocation::Scalar,
        Kind::Object => DirectiveLocation::Object,
        Kind::Interface => DirectiveLocation::Interface,
        Kind::Union => DirectiveLocation::Union,
        Kind::Enum => DirectiveLocation::Enum,
        Kind::Input => DirectiveLocation::InputObject,
    }
}

const fn in_words(location: &DirectiveLocation) -> &'static str {
    match location {
        DirectiveLocation::Scalar => "scalars",
        DirectiveLocation::Object => "object types",
        DirectiveLocation::Interface => "interfaces",
        DirectiveLocation::Union => "unions",
        DirectiveLocation::Enum => "enums",
        DirectiveLocation::EnumValue => "enum values",
        DirectiveLocation::InputObject => "input types",
        DirectiveLocation::InputFieldDefinition => "fields of input types",
        DirectiveLocation::ArgumentDefinition => "arguments",
        DirectiveLocation::FieldDefinition => "fields",
        _ => "something else",
    }
}
