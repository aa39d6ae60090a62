//! Sections 5.1 and 5.2: definitions and operations.

use std::collections::{HashMap, HashSet};

use apollo_compiler::ast::{Definition, Directive, Field, OperationDefinition, OperationType, Selection};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::{Name, Node};

use super::{Context, Finding, Place};

/// Section 5.1.1: definitions of types, directives or the schema.
pub(super) fn not_executable(context: &Context<'_>) -> Vec<Finding> {
    let others = context.document.definitions.iter().filter(|it| !it.is_executable_definition());
    others
        .map(|definition| {
            let name = definition.name().map_or("schema", |name| name.as_str());
            let message = format!("The definition of {name} is not executable");
            Finding::new(message, [definition.location()])
        })
        .collect()
}

/// The names of the operations so far.
#[derive(Debug, Default)]
pub(super) struct Names<'a>(HashMap<&'a Name, &'a Name>);

impl<'a> Names<'a> {
    /// Section 5.2.1 to 5.2.3.
    pub(super) fn check(
        &mut self,
        context: &Context<'a>,
        operation: &'a Node<OperationDefinition>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let kind = operation.operation_type;
        if context.schema.root_operation(kind).is_none() {
            let message = match kind {
                OperationType::Mutation => {
                    "Mutations are not offered: write to the database, and subscribers are told".to_owned()
                }
                _ => format!("The schema offers no {kind}"),
            };
            findings.push(Finding::new(message, [operation.location()]));
        }
        let Some(name) = &operation.name else {
            let is_operation = |it: &&Definition| it.as_operation_definition().is_some();
            if context.document.definitions.iter().filter(is_operation).nth(1).is_some() {
                let message = "An operation without a name must be the only one of the document";
                findings.push(Finding::new(message, [operation.location()]));
            }
            return findings;
        };
        if let Some(first) = self.0.get(name) {
            let message = format!("There is more than one operation named {name}");
            findings.push(Finding::new(message, [first.location(), name.location()]));
        } else {
            self.0.insert(name, name);
        }
        findings
    }
}

/// Section 5.2.4.1: a subscription has one root field, by response name, which is no introspection and
/// whose selection depends on nothing.
pub(super) fn single_field(context: &Context<'_>, operation: &Node<OperationDefinition>) -> Vec<Finding> {
    if operation.operation_type != OperationType::Subscription {
        return Vec::new();
    }
    let mut roots = Roots::default();
    roots.collect(context, &operation.selection_set, &mut HashSet::new());
    if !roots.conditions.is_empty() {
        let message = "@skip and @include must not decide about the root field of a subscription";
        return vec![Finding::new(message, roots.conditions.iter().map(|it| it.location()))];
    }
    let mut findings = Vec::new();
    if roots.fields.is_empty() {
        findings.push(Finding {
            message: "A subscription must select a root field".to_owned(),
            places: vec![Place::SelectionOf(operation.location())],
        });
    }
    if roots.fields.len() > 1 {
        let others = roots.fields.values().skip(1).flatten().map(|field| field.location());
        findings.push(Finding::new("A subscription must select one root field", others));
    }
    for (name, fields) in &roots.fields {
        if fields.iter().any(|field| field.name.starts_with("__")) {
            let message = format!("A subscription must not select {name}: it is no event");
            findings.push(Finding::new(message, fields.iter().map(|field| field.location())));
        }
    }
    findings
}

/// The root fields of an operation.
#[derive(Default)]
struct Roots<'a> {
    fields: IndexMap<&'a Name, Vec<&'a Node<Field>>>,
    conditions: Vec<&'a Node<Directive>>,
}

impl<'a> Roots<'a> {
    fn collect(&mut self, context: &Context<'a>, set: &'a [Selection], visited: &mut HashSet<&'a Name>) {
        for selection in set {
            let directives = match selection {
                Selection::Field(it) => &it.directives,
                Selection::FragmentSpread(it) => &it.directives,
                Selection::InlineFragment(it) => &it.directives,
            };
            let condition = ["skip", "include"].into_iter().find_map(|name| directives.get(name));
            if let Some(condition) = condition {
                self.conditions.push(condition);
                continue;
            }
            let (condition, set) = match selection {
                Selection::Field(field) => {
                    self.fields.entry(field.response_name()).or_default().push(field);
                    continue;
                }
                Selection::InlineFragment(inline) => (inline.type_condition.as_ref(), &inline.selection_set),
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = context.fragments.get(&spread.fragment_name) else { continue };
                    if !visited.insert(&spread.fragment_name) {
                        continue;
                    }
                    (Some(&fragment.type_condition), &fragment.selection_set)
                }
            };
            let root = context.schema.root_operation(OperationType::Subscription);
            if condition.is_none_or(|condition| root.is_some_and(|root| context.applies(condition, root))) {
                self.collect(context, set, visited);
            }
        }
    }
}
