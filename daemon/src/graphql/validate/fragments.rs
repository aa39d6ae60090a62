//! Section 5.5: fragments and the types that they apply to.

use std::collections::{HashMap, HashSet};

use apollo_compiler::ast::{
    FragmentDefinition, FragmentSpread, InlineFragment, OperationDefinition, Selection,
};
use apollo_compiler::collections::IndexSet;
use apollo_compiler::{Name, Node};

use super::{Context, Finding};

/// Section 5.5.1.1.
pub(super) fn unique<'a>(
    fragment: &'a FragmentDefinition,
    known: &mut HashMap<&'a Name, &'a Name>,
) -> Option<Finding> {
    let name = &fragment.name;
    let first = *known.entry(name).or_insert(name);
    if std::ptr::eq(first, name) {
        return None;
    }
    let message = format!("There is more than one fragment named {name}");
    Some(Finding::new(message, [first.location(), name.location()]))
}

/// Section 5.5.1.2, and of the types of variables.
pub(super) fn unknown_type(context: &Context<'_>, name: &Name) -> Option<Finding> {
    let is_unknown = context.type_named(name).is_none();
    is_unknown.then(|| Finding::new(format!("There is no type {name}"), [name.location()]))
}

/// Section 5.5.1.3.
pub(super) fn not_composite<'a>(context: &Context<'a>, fragment: &'a FragmentDefinition) -> Option<Finding> {
    is_not_composite(context, &fragment.type_condition)
}

fn is_not_composite<'a>(context: &Context<'a>, condition: &'a Name) -> Option<Finding> {
    context.type_named(condition)?;
    if context.composite(condition).is_some() {
        return None;
    }
    let message = format!("A fragment cannot be on {condition}, which has no fields");
    Some(Finding::new(message, [condition.location()]))
}

/// Section 5.5.1.4.
pub(super) fn unused(context: &Context<'_>) -> Vec<Finding> {
    let definitions = &context.document.definitions;
    let operations = definitions.iter().filter_map(|it| it.as_operation_definition()).map(|it| &**it);
    let reached = reached(context, operations);
    let fragments = definitions.iter().filter_map(|it| it.as_fragment_definition());
    fragments
        .filter(|fragment| !reached.contains(&fragment.name))
        .map(|it| Finding::new(format!("Fragment {} is never used", it.name), [it.location()]))
        .collect()
}

/// The fragments that operations spread, and those that these spread.
pub(super) fn reached<'a>(
    context: &Context<'a>,
    operations: impl IntoIterator<Item = &'a OperationDefinition>,
) -> IndexSet<&'a Name> {
    let mut reached = IndexSet::default();
    for operation in operations {
        reached.extend(spreads(&operation.selection_set).iter().map(|spread| &spread.fragment_name));
    }
    let mut next = 0;
    while let Some(name) = reached.get_index(next) {
        next += 1;
        if let Some(fragment) = context.fragments.get(*name) {
            reached.extend(spreads(&fragment.selection_set).iter().map(|spread| &spread.fragment_name));
        }
    }
    reached.retain(|name| context.fragments.contains_key(*name));
    reached
}

/// The spreads of a selection set, fields followed and fragments not.
fn spreads(set: &[Selection]) -> Vec<&Node<FragmentSpread>> {
    let mut found = Vec::new();
    let mut open = vec![set];
    while let Some(set) = open.pop() {
        for selection in set {
            match selection {
                Selection::FragmentSpread(spread) => found.push(spread),
                Selection::Field(field) => open.push(&field.selection_set),
                Selection::InlineFragment(inline) => open.push(&inline.selection_set),
            }
        }
    }
    found
}

/// Section 5.5.2.1.
pub(super) fn unknown(context: &Context<'_>, spread: &FragmentSpread) -> Option<Finding> {
    let name = &spread.fragment_name;
    let is_unknown = !context.fragments.contains_key(name);
    is_unknown.then(|| Finding::new(format!("There is no fragment {name}"), [name.location()]))
}

/// Section 5.5.2.2: the cycles, by the fragment at which a reader of the document meets them.
pub(super) fn cycles<'a>(context: &Context<'a>) -> HashMap<&'a Name, Vec<Finding>> {
    let mut search = CycleSearch { context, visited: HashSet::new(), open: HashMap::new(), path: Vec::new() };
    let mut cycles = HashMap::new();
    let definitions = context.document.definitions.iter();
    for fragment in definitions.filter_map(|it| it.as_fragment_definition()) {
        let mut findings = Vec::new();
        search.follow(fragment, &mut findings);
        cycles.entry(&fragment.name).or_insert(findings);
    }
    cycles
}

struct CycleSearch<'a, 'c> {
    context: &'c Context<'a>,
    visited: HashSet<&'a Name>,
    /// Fragments that the path leads through, with their places on it.
    open: HashMap<&'a Name, usize>,
    path: Vec<&'a Node<FragmentSpread>>,
}

impl<'a> CycleSearch<'a, '_> {
    /// The depth limit, which follows fragments, bounds the recursion.
    fn follow(&mut self, fragment: &'a FragmentDefinition, findings: &mut Vec<Finding>) {
        if !self.visited.insert(&fragment.name) {
            return;
        }
        self.open.insert(&fragment.name, self.path.len());
        for spread in spreads(&fragment.selection_set) {
            self.path.push(spread);
            match self.open.get(&spread.fragment_name) {
                Some(start) => {
                    let message = format!("Fragment {} spreads itself", spread.fragment_name);
                    let cycle = self.path[*start..].iter().map(|spread| spread.location());
                    findings.push(Finding::new(message, cycle));
                }
                None => {
                    if let Some(next) = self.context.fragments.get(&spread.fragment_name) {
                        self.follow(next, findings);
                    }
                }
            }
            self.path.pop();
        }
        self.open.remove(&fragment.name);
    }
}

/// Sections 5.5.1.3 and 5.5.2.3 of an inline fragment.
pub(super) fn impossible_inline<'a>(
    context: &Context<'a>,
    parent: Option<&'a Name>,
    inline: &'a Node<InlineFragment>,
) -> Option<Finding> {
    let condition = inline.type_condition.as_ref()?;
    let wrong = is_not_composite(context, condition);
    if wrong.is_some() {
        return wrong;
    }
    let (condition, parent) = (context.composite(condition)?, parent?);
    if context.overlap(condition, parent) {
        return None;
    }
    let message = format!("{parent} can never be {condition}");
    Some(Finding::new(message, [inline.location()]))
}

/// Section 5.5.2.3 of a spread.
pub(super) fn impossible_spread<'a>(
    context: &Context<'a>,
    parent: Option<&'a Name>,
    spread: &'a Node<FragmentSpread>,
) -> Option<Finding> {
    let fragment = context.fragments.get(&spread.fragment_name)?;
    let (condition, parent) = (context.composite(&fragment.type_condition)?, parent?);
    if context.overlap(condition, parent) {
        return None;
    }
    let message = format!("Fragment {} is on {condition}, which {parent} can never be", fragment.name);
    Some(Finding::new(message, [spread.location()]))
}
