//! Sections 5.4 and 5.7: arguments, and directives with theirs.

use std::collections::HashMap;

use apollo_compiler::Node;
use apollo_compiler::ast::{
    Argument, Directive, DirectiveDefinition, DirectiveLocation, FieldDefinition, InputValueDefinition,
    OperationType,
};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::parser::SourceSpan;

use super::{Context, Finding};

/// What a directive stands on.
pub(super) type Position = DirectiveLocation;

/// Where the directives of an operation stand.
pub(super) fn of_operation(kind: OperationType) -> Position {
    match kind {
        OperationType::Query => Position::Query,
        OperationType::Mutation => Position::Mutation,
        OperationType::Subscription => Position::Subscription,
    }
}

/// Section 5.4.1.
pub(super) fn unknown(argument: &Node<Argument>, definition: &FieldDefinition) -> Option<Finding> {
    if definition.argument_by_name(&argument.name).is_some() {
        return None;
    }
    let message = format!("Field {} has no argument {}", definition.name, argument.name);
    Some(Finding::new(message, [argument.location()]))
}

/// The same of a directive.
pub(super) fn unknown_of_directive(directive: &Directive, definition: &DirectiveDefinition) -> Vec<Finding> {
    let unknown = directive.arguments.iter().filter(|it| definition.argument_by_name(&it.name).is_none());
    let finding = |argument: &Node<Argument>| {
        let message = format!("Directive @{} has no argument {}", directive.name, argument.name);
        Finding::new(message, [argument.location()])
    };
    unknown.map(finding).collect()
}

/// Section 5.4.2.
pub(super) fn repeated(arguments: &[Node<Argument>]) -> Vec<Finding> {
    if arguments.len() < 2 {
        return Vec::new();
    }
    let mut by_name: IndexMap<_, Vec<_>> = IndexMap::default();
    for argument in arguments {
        by_name.entry(&argument.name).or_default().push(argument.name.location());
    }
    let repeated = by_name.into_iter().filter(|(_, places)| places.len() > 1);
    repeated
        .map(|(name, places)| Finding::new(format!("There is more than one argument named {name}"), places))
        .collect()
}

/// Section 5.4.3.
pub(super) fn missing(
    required: &[Node<InputValueDefinition>],
    given: &[Node<Argument>],
    coordinate: &str,
    place: Option<SourceSpan>,
) -> Vec<Finding> {
    let is_missing = |definition: &&Node<InputValueDefinition>| {
        definition.is_required() && given.iter().all(|argument| argument.name != definition.name)
    };
    let missing = required.iter().filter(is_missing);
    missing
        .map(|it| {
            let message = format!("Argument {} of type {} is required by {coordinate}", it.name, it.ty);
            Finding::new(message, [place])
        })
        .collect()
}

/// Sections 5.7.1 and 5.7.2.
pub(super) fn misplaced_directive(
    directive: &Node<Directive>,
    definition: Option<&Node<DirectiveDefinition>>,
    position: Position,
) -> Option<Finding> {
    let message = match definition {
        None => format!("There is no directive @{}", directive.name),
        Some(definition) if definition.locations.contains(&position) => return None,
        Some(_) => format!("Directive @{} cannot stand on {}", directive.name, position.name()),
    };
    Some(Finding::new(message, [directive.location()]))
}

/// Section 5.7.3.
pub(super) fn repeated_directives(context: &Context<'_>, directives: &[Node<Directive>]) -> Vec<Finding> {
    if directives.len() < 2 {
        return Vec::new();
    }
    let mut first = HashMap::new();
    let mut findings = Vec::new();
    for directive in directives {
        let definition = context.schema.directive_definitions.get(&directive.name);
        if definition.is_none_or(|definition| definition.repeatable) {
            continue;
        }
        match first.get(&directive.name) {
            Some(place) => {
                let message = format!("Directive @{} can stand here only once", directive.name);
                findings.push(Finding::new(message, [*place, directive.location()]));
            }
            None => {
                first.insert(&directive.name, directive.location());
            }
        }
    }
    findings
}
