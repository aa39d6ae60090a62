//! One walk over a document that asks every rule at the place that it concerns.

use std::collections::{HashMap, HashSet};

use apollo_compiler::Name;
use apollo_compiler::ast::{
    Definition, Field, FieldDefinition, FragmentDefinition, OperationDefinition, Selection,
    VariableDefinition,
};
use apollo_compiler::{Node, ast};

use super::arguments::{self, Position};
use super::merge::Merge;
use super::values::{self, Slot};
use super::variables::{self, Usage, Usages};
use super::{Context, Finding, fragments, operations, selections};

/// What a definition holds: findings within it, and the variables that it uses.
#[derive(Debug, Default)]
pub(super) struct Walked<'a> {
    pub(super) findings: Vec<Finding>,
    pub(super) usages: Vec<Usage<'a>>,
}

/// Findings that are kept while walking. More cost time and are reported to nobody.
pub(super) const KEPT_MAX: usize = 1_000;

/// All findings, in the order of the document.
pub(super) fn document(context: &Context<'_>) -> Vec<Finding> {
    let definitions = &context.document.definitions;
    let cycles = fragments::cycles(context);
    // Merging would follow them for ever.
    let is_acyclic = cycles.values().all(Vec::is_empty);
    let mut merge = Merge::default();
    let walked: Vec<Walked<'_>> = definitions
        .iter()
        .map(|definition| {
            let mut walk =
                Walk { context, merge: is_acyclic.then_some(&mut merge), walked: Walked::default() };
            match definition {
                Definition::OperationDefinition(it) => walk.operation(it),
                Definition::FragmentDefinition(it) => walk.fragment_definition(it),
                _ => {}
            }
            walk.walked
        })
        .collect();
    assemble(context, walked, cycles)
}

/// Puts the findings about whole definitions around those within them.
fn assemble<'a>(
    context: &Context<'a>,
    walked: Vec<Walked<'a>>,
    mut cycles: HashMap<&'a Name, Vec<Finding>>,
) -> Vec<Finding> {
    let definitions = &context.document.definitions;
    let (bodies, usages): (Vec<_>, Vec<_>) =
        walked.into_iter().map(|walked| (walked.findings, Usages::new(walked.usages))).unzip();
    let of_fragments: HashMap<&Name, &Usages<'a>> = definitions
        .iter()
        .zip(&usages)
        .filter_map(|(definition, usages)| Some((&definition.as_fragment_definition()?.name, usages)))
        .collect();
    let mut findings = operations::not_executable(context);
    let mut names = operations::Names::default();
    let mut fragment_names = HashMap::new();
    let mut checked = HashSet::new();
    for ((definition, body), own) in definitions.iter().zip(bodies).zip(&usages) {
        if findings.len() > KEPT_MAX {
            break;
        }
        match definition {
            Definition::OperationDefinition(operation) => {
                let used = variables::used_by(context, operation, own, &of_fragments);
                findings.extend(names.check(context, operation));
                findings.extend(operations::single_field(context, operation));
                findings.extend(variables::unique(operation));
                findings.extend(variables::undefined(operation, &used));
                findings.extend(variables::unused(operation, &used));
                findings.extend(body);
                findings.extend(variables::misplaced(context, operation, &used));
            }
            Definition::FragmentDefinition(fragment) => {
                findings.extend(fragments::not_composite(context, fragment));
                findings.extend(fragments::unique(fragment, &mut fragment_names));
                if checked.insert(&fragment.name) {
                    findings.extend(cycles.remove(&fragment.name).unwrap_or_default());
                }
                findings.extend(body);
            }
            _ => {}
        }
    }
    findings.extend(fragments::unused(context));
    findings
}

struct Walk<'a, 'm> {
    context: &'m Context<'a>,
    /// Nothing if fragments spread themselves.
    merge: Option<&'m mut Merge<'a>>,
    walked: Walked<'a>,
}

impl<'a> Walk<'a, '_> {
    fn report(&mut self, findings: impl IntoIterator<Item = Finding>) {
        let room = KEPT_MAX.saturating_sub(self.walked.findings.len());
        self.walked.findings.extend(findings.into_iter().take(room));
    }

    fn operation(&mut self, operation: &'a Node<OperationDefinition>) {
        let position = arguments::of_operation(operation.operation_type);
        self.report(arguments::repeated_directives(self.context, &operation.directives));
        for variable in &operation.variables {
            self.variable_definition(variable);
        }
        self.directives(&operation.directives, position);
        let root = self.context.schema.root_operation(operation.operation_type);
        self.selection_set(root, &operation.selection_set, false);
    }

    fn fragment_definition(&mut self, fragment: &'a Node<FragmentDefinition>) {
        self.report(arguments::repeated_directives(self.context, &fragment.directives));
        self.report(fragments::unknown_type(self.context, &fragment.type_condition));
        self.directives(&fragment.directives, Position::FragmentDefinition);
        let parent = self.context.composite(&fragment.type_condition);
        self.selection_set(parent, &fragment.selection_set, false);
    }

    fn variable_definition(&mut self, variable: &'a Node<VariableDefinition>) {
        self.report(variables::not_input(self.context, variable));
        self.report(arguments::repeated_directives(self.context, &variable.directives));
        self.report(fragments::unknown_type(self.context, variable.ty.inner_named_type()));
        if let Some(default) = &variable.default_value {
            let slot = Slot { ty: Some(&variable.ty), ..Slot::default() };
            self.report(values::check(self.context, default, slot));
        }
        self.directives(&variable.directives, Position::VariableDefinition);
    }

    /// `inline`: whether it is the selection of an inline fragment, which merges into the one around.
    fn selection_set(&mut self, parent: Option<&'a Name>, set: &'a [Selection], inline: bool) {
        if let Some(merge) = self.merge.as_deref_mut()
            && !inline
        {
            let conflicts = merge.conflicts(self.context, parent, set);
            self.report(conflicts);
        }
        for selection in set {
            match selection {
                Selection::Field(field) => self.field(parent, field),
                Selection::FragmentSpread(spread) => {
                    self.report(fragments::unknown(self.context, spread));
                    self.report(fragments::impossible_spread(self.context, parent, spread));
                    self.report(arguments::repeated_directives(self.context, &spread.directives));
                    self.directives(&spread.directives, Position::FragmentSpread);
                }
                Selection::InlineFragment(inline) => {
                    self.report(fragments::impossible_inline(self.context, parent, inline));
                    self.report(arguments::repeated_directives(self.context, &inline.directives));
                    let condition = inline.type_condition.as_ref();
                    self.report(condition.and_then(|it| fragments::unknown_type(self.context, it)));
                    self.directives(&inline.directives, Position::InlineFragment);
                    let inner = condition.map_or(parent, |it| self.context.composite(it));
                    self.selection_set(inner, &inline.selection_set, true);
                }
            }
        }
    }

    fn field(&mut self, parent: Option<&'a Name>, field: &'a Node<Field>) {
        let definition = selections::definition(self.context, parent, field);
        self.report(selections::leaf(self.context, field, definition));
        self.report(selections::unknown(parent, field, definition));
        self.report(arguments::repeated_directives(self.context, &field.directives));
        self.report(arguments::repeated(&field.arguments));
        for argument in &field.arguments {
            self.report(definition.and_then(|it| arguments::unknown(argument, it)));
            let expected = definition.and_then(|it| it.argument_by_name(&argument.name));
            self.value(&argument.value, Slot::of(expected.map(|it| &**it)));
        }
        self.directives(&field.directives, Position::Field);
        if !field.selection_set.is_empty() {
            let inner = definition.map(|it| it.ty.inner_named_type());
            self.selection_set(inner.and_then(|it| self.context.composite(it)), &field.selection_set, false);
        }
        self.report(definition.map(|it| missing_arguments(field, it)).unwrap_or_default());
    }

    fn directives(&mut self, directives: &'a [Node<ast::Directive>], position: Position) {
        for directive in directives {
            let definition = self.context.schema.directive_definitions.get(&directive.name);
            self.report(arguments::misplaced_directive(directive, definition, position));
            self.report(
                definition.map(|it| arguments::unknown_of_directive(directive, it)).unwrap_or_default(),
            );
            self.report(arguments::repeated(&directive.arguments));
            for argument in &directive.arguments {
                let expected = definition.and_then(|it| it.argument_by_name(&argument.name));
                self.value(&argument.value, Slot::of(expected.map(|it| &**it)));
            }
            let required = definition.map(|it| it.arguments.as_slice()).unwrap_or_default();
            let coordinate = format!("@{}", directive.name);
            self.report(arguments::missing(
                required,
                &directive.arguments,
                &coordinate,
                directive.location(),
            ));
        }
    }

    /// A value that is no constant: its variables are kept for the rules about them.
    fn value(&mut self, value: &'a Node<ast::Value>, slot: Slot<'a>) {
        self.report(values::check(self.context, value, slot));
        variables::collect(self.context, value, slot, &mut self.walked.usages);
    }
}

fn missing_arguments(field: &Node<Field>, definition: &Node<FieldDefinition>) -> Vec<Finding> {
    let coordinate = definition.name.to_string();
    arguments::missing(&definition.arguments, &field.arguments, &coordinate, field.location())
}
