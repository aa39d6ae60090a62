//! Section 5.8: variables.

use std::collections::{HashMap, HashSet};

use apollo_compiler::ast::{OperationDefinition, Type, Value, VariableDefinition};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::{Name, Node};

use super::values::{Slot, is_one_of};
use super::{Context, FINDINGS_MAX, Finding, fragments};

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

/// The variables of a definition.
#[derive(Debug, Default)]
pub(super) struct Usages<'a> {
    all: Vec<Usage<'a>>,
    /// Indexes of the first of each variable in each kind of place. One fragment with thousands of
    /// usages, spread by thousands of operations, must not cost their product.
    distinct: Vec<usize>,
}

impl<'a> Usages<'a> {
    pub(super) fn new(all: Vec<Usage<'a>>) -> Self {
        let mut seen = HashSet::new();
        let distinct = (0..all.len()).filter(|index| {
            let Usage { name, slot, .. } = &all[*index];
            let ty = slot.ty.map(std::ptr::from_ref);
            seen.insert((*name, ty, slot.has_default, slot.object.map(std::ptr::from_ref)))
        });
        Self { distinct: distinct.collect(), all }
    }
}

/// The usages of an operation, fragments followed.
pub(super) fn used_by<'a, 'u>(
    context: &Context<'a>,
    operation: &'a OperationDefinition,
    own: &'u Usages<'a>,
    of_fragments: &HashMap<&'a Name, &'u Usages<'a>>,
) -> Used<'a, 'u> {
    let reached = fragments::reached(context, [operation]);
    let followed = reached.iter().filter_map(|name| of_fragments.get(*name).copied());
    Used(std::iter::once(own).chain(followed).collect())
}

/// What an operation uses: its own and those of the fragments that it reaches.
pub(super) struct Used<'a, 'u>(Vec<&'u Usages<'a>>);

impl<'a, 'u> Used<'a, 'u> {
    fn distinct(&self) -> impl Iterator<Item = &'u Usage<'a>> {
        self.0.iter().flat_map(|usages| usages.distinct.iter().map(|index| &usages.all[*index]))
    }

    /// All usages, if a distinct one is wrong.
    fn if_any(&self, is_wrong: impl Fn(&Usage<'a>) -> bool) -> impl Iterator<Item = &'u Usage<'a>> {
        let any = self.distinct().any(is_wrong);
        self.0.iter().filter(move |_| any).flat_map(|usages| &usages.all)
    }
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
pub(super) fn undefined(operation: &Node<OperationDefinition>, used: &Used<'_, '_>) -> Vec<Finding> {
    let defined: HashSet<&Name> = operation.variables.iter().map(|variable| &variable.name).collect();
    let is_undefined = |usage: &Usage<'_>| !defined.contains(usage.name);
    let undefined = used.if_any(is_undefined).filter(|usage| is_undefined(usage));
    undefined
        .take(FINDINGS_MAX)
        .map(|usage| {
            let message = format!("Variable ${} is not defined by the operation", usage.name);
            Finding::new(message, [usage.place, operation.location()])
        })
        .collect()
}

/// Section 5.8.4.
pub(super) fn unused(operation: &OperationDefinition, used: &Used<'_, '_>) -> Vec<Finding> {
    let used: HashSet<&Name> = used.distinct().map(|usage| usage.name).collect();
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
    used: &Used<'_, '_>,
) -> Vec<Finding> {
    // The last definition of a name counts; that there are two is reported elsewhere.
    let defined: HashMap<&Name, &Node<VariableDefinition>> =
        operation.variables.iter().map(|variable| (&variable.name, variable)).collect();
    let findings = |usage: &Usage<'_>| match defined.get(usage.name) {
        Some(variable) if context.type_named(variable.ty.inner_named_type()).is_some() => {
            misplaced_at(variable, usage)
        }
        _ => Vec::new(),
    };
    used.if_any(|usage| !findings(usage).is_empty()).flat_map(findings).take(FINDINGS_MAX).collect()
}

fn misplaced_at(variable: &Node<VariableDefinition>, usage: &Usage<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(wanted) = usage.slot.ty else { return findings };
    let places = [variable.location(), usage.place];
    if !is_allowed(variable, wanted, usage.slot.has_default) {
        let message = format!(
            "Variable ${} is of type {} and stands where {wanted} is wanted",
            usage.name, variable.ty
        );
        findings.push(Finding::new(message, places));
    }
    if let Some(object) = usage.slot.object.filter(|it| is_one_of(it))
        && !variable.ty.is_non_null()
    {
        let message = format!("Variable ${} must not be nullable in {}", usage.name, object.name);
        findings.push(Finding::new(message, places));
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
