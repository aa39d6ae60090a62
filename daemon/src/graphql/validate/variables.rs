//! Section 5.8: variables.

use std::collections::{HashMap, HashSet};

use apollo_compiler::ast::{OperationDefinition, Type, Value, VariableDefinition};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::{Name, Node};

use super::values::{Slot, is_one_of};
use super::walk::shown;
use super::{Context, Finding, fragments};

/// A variable in a value.
#[derive(Debug)]
pub(super) struct Usage<'a> {
    name: &'a Name,
    place: Option<SourceSpan>,
    slot: Slot<'a>,
}

/// Finds the variables of a value.
pub(super) fn collect<'a>(
    context: &Context<'a>,
    value: &'a Node<Value>,
    slot: Slot<'a>,
    usages: &mut Vec<Usage<'a>>,
) {
    match &**value {
        Value::Variable(name) => usages.push(Usage { name, place: value.location(), slot }),
        Value::List(items) => {
            items.iter().for_each(|item| collect(context, item, slot.item(), usages));
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(context, value, slot.field(context, name), usages);
            }
        }
        _ => {}
    }
}

/// The usages of an operation, fragments followed.
pub(super) fn used_by<'a, 'u>(
    context: &Context<'a>,
    operation: &'a OperationDefinition,
    own: &'u [Usage<'a>],
    of_fragments: &HashMap<&'a Name, &'u [Usage<'a>]>,
) -> Vec<&'u Usage<'a>> {
    let reached = fragments::reached(context, [operation]);
    let followed = reached.iter().filter_map(|name| of_fragments.get(*name));
    own.iter().chain(followed.flat_map(|usages| usages.iter())).collect()
}

/// Section 5.8.1.
pub(super) fn unique(operation: &OperationDefinition) -> Vec<Finding> {
    let mut by_name: IndexMap<&Name, Vec<_>> = IndexMap::default();
    for variable in &operation.variables {
        by_name.entry(&variable.name).or_default().push(variable.name.location());
    }
    let repeated = by_name.into_iter().filter(|(_, places)| places.len() > 1);
    repeated
        .map(|(name, places)| Finding::new(format!("There is more than one variable ${name}"), places))
        .collect()
}

/// Section 5.8.2.
pub(super) fn not_input(context: &Context<'_>, variable: &VariableDefinition) -> Option<Finding> {
    let ty = &variable.ty;
    context.type_named(ty.inner_named_type())?;
    if context.is_input(ty) {
        return None;
    }
    let message = format!("Variable ${} is of type {ty}, which is no input type", variable.name);
    Some(Finding::new(message, [ty.location()]))
}

/// Section 5.8.3.
pub(super) fn undefined(operation: &Node<OperationDefinition>, used: &[&Usage<'_>]) -> Vec<Finding> {
    let defined: HashSet<&Name> = operation.variables.iter().map(|variable| &variable.name).collect();
    let undefined = used.iter().filter(|usage| !defined.contains(usage.name));
    undefined
        .map(|usage| {
            let message = format!("Variable ${} is not defined by the operation", usage.name);
            Finding::new(message, [usage.place, operation.location()])
        })
        .collect()
}

/// Section 5.8.4.
pub(super) fn unused(operation: &OperationDefinition, used: &[&Usage<'_>]) -> Vec<Finding> {
    let used: HashSet<&Name> = used.iter().map(|usage| usage.name).collect();
    let unused = operation.variables.iter().filter(|variable| !used.contains(&variable.name));
    unused
        .map(|variable| {
            Finding::new(format!("Variable ${} is never used", variable.name), [variable.location()])
        })
        .collect()
}

/// Section 5.8.5.
pub(super) fn misplaced(
    context: &Context<'_>,
    operation: &OperationDefinition,
    used: &[&Usage<'_>],
) -> Vec<Finding> {
    // The last definition of a name counts; that there are two is reported elsewhere.
    let defined: HashMap<&Name, &Node<VariableDefinition>> =
        operation.variables.iter().map(|variable| (&variable.name, variable)).collect();
    let mut findings = Vec::new();
    for usage in used {
        let (Some(variable), Some(wanted)) = (defined.get(usage.name), usage.slot.ty) else { continue };
        if context.type_named(variable.ty.inner_named_type()).is_none() {
            continue;
        }
        let places = [variable.location(), usage.place];
        if !is_allowed(variable, wanted, usage.slot.has_default) {
            let message = format!(
                "Variable ${} is of type {} and stands where {} is wanted",
                usage.name,
                variable.ty,
                shown(Some(wanted))
            );
            findings.push(Finding::new(message, places));
        }
        if let Some(object) = usage.slot.object.filter(|it| is_one_of(it))
            && !variable.ty.is_non_null()
        {
            let message = format!("Variable ${} must not be nullable in {}", usage.name, object.name);
            findings.push(Finding::new(message, places));
        }
    }
    findings
}

/// IsVariableUsageAllowed.
fn is_allowed(variable: &VariableDefinition, wanted: &Type, has_default: bool) -> bool {
    if !wanted.is_non_null() || variable.ty.is_non_null() {
        return variable.ty.is_assignable_to(wanted);
    }
    let never_null = variable.default_value.as_ref().is_some_and(|default| !default.is_null());
    (never_null || has_default) && variable.ty.is_assignable_to(&wanted.clone().nullable())
}
