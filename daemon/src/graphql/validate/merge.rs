//! Section 5.3.2: fields with one response name are one field.
//!
//! Pairs of fields are compared, and pairs that were compared once are not compared again: fields with
//! fragments, and fragments with fragments. What that costs is still quadratic in an attacker's hands,
//! so it ends with a budget; then apollo-compiler's check, which is linear and knows fewer places, has
//! the last word alone.

use std::collections::HashMap;
use std::rc::Rc;

use apollo_compiler::ast::{Argument, Field, FieldDefinition, Selection, Type, Value};
use apollo_compiler::collections::{IndexMap, IndexSet};
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name, Node};

use super::walk::KEPT_MAX;
use super::{Context, Finding, selections};

/// Comparisons per document.
const BUDGET: usize = 100_000;

/// Places of one side of a conflict that are reported.
const PLACES_MAX: usize = 20;

/// What has been compared so far.
#[derive(Debug)]
pub(super) struct Merge<'a> {
    /// By the address of the selection set.
    collected: HashMap<*const Selection, Rc<Collected<'a>>>,
    /// Fields with a fragment; whether only as fields of objects that exclude each other.
    fields_and_fragment: HashMap<(*const Selection, &'a Name), bool>,
    fragments: HashMap<(&'a Name, &'a Name), bool>,
    budget: usize,
}

impl Default for Merge<'_> {
    fn default() -> Self {
        Self {
            collected: HashMap::new(),
            fields_and_fragment: HashMap::new(),
            fragments: HashMap::new(),
            budget: BUDGET,
        }
    }
}

/// The fields of a selection set by response name, inline fragments followed, and the fragments that
/// it spreads.
#[derive(Debug)]
struct Collected<'a> {
    set: *const Selection,
    fields: IndexMap<&'a Name, Vec<Selected<'a>>>,
    spreads: IndexSet<&'a Name>,
}

/// A field with what is known of it.
#[derive(Debug, Clone, Copy)]
struct Selected<'a> {
    parent: Option<&'a Name>,
    field: &'a Node<Field>,
    definition: Option<&'a FieldDefinition>,
}

/// Two fields that cannot be one.
#[derive(Debug)]
struct Conflict {
    reason: String,
    one: Vec<Option<SourceSpan>>,
    other: Vec<Option<SourceSpan>>,
}

/// The budget is spent.
#[derive(Debug)]
struct Spent;

type Compared = Result<(), Spent>;

type Set<'a> = (Option<&'a Name>, &'a [Selection]);

impl<'a> Merge<'a> {
    /// The conflicts in a selection set.
    pub(super) fn conflicts(
        &mut self,
        context: &Context<'a>,
        parent: Option<&'a Name>,
        set: &'a [Selection],
    ) -> Vec<Finding> {
        if matches!(set, [] | [Selection::Field(_) | Selection::FragmentSpread(_)]) {
            return Vec::new();
        }
        let mut conflicts = Vec::new();
        // What was found before the budget was spent is true all the same.
        let _ = self.within(context, (parent, set), &mut conflicts);
        conflicts.into_iter().map(|it| Finding::new(it.reason, it.one.into_iter().chain(it.other))).collect()
    }

    fn within(&mut self, context: &Context<'a>, set: Set<'a>, conflicts: &mut Vec<Conflict>) -> Compared {
        let own = self.collect(context, set);
        for fields in own.fields.values() {
            for (index, one) in fields.iter().enumerate() {
                for other in &fields[index + 1..] {
                    conflicts.extend(self.compare(context, false, *one, *other)?);
                    // More would not be kept.
                    if conflicts.len() >= KEPT_MAX {
                        return Ok(());
                    }
                }
            }
        }
        for (index, spread) in own.spreads.iter().enumerate() {
            self.with_fragment(context, false, &own, spread, conflicts)?;
            for other in own.spreads.iter().skip(index + 1) {
                self.between_fragments(context, false, spread, other, conflicts)?;
            }
        }
        Ok(())
    }

    fn spend(&mut self) -> Compared {
        self.budget = self.budget.checked_sub(1).ok_or(Spent)?;
        Ok(())
    }

    fn collect(&mut self, context: &Context<'a>, (parent, set): Set<'a>) -> Rc<Collected<'a>> {
        if let Some(known) = self.collected.get(&set.as_ptr()) {
            return known.clone();
        }
        let mut collected =
            Collected { set: set.as_ptr(), fields: IndexMap::default(), spreads: IndexSet::default() };
        collect_into(context, (parent, set), &mut collected);
        let collected = Rc::new(collected);
        self.collected.insert(set.as_ptr(), collected.clone());
        collected
    }

    fn collect_fragment(&mut self, context: &Context<'a>, name: &Name) -> Option<Rc<Collected<'a>>> {
        let fragment = context.fragments.get(name)?;
        let parent = context.composite(&fragment.type_condition);
        Some(self.collect(context, (parent, &fragment.selection_set)))
    }

    fn with_fragment(
        &mut self,
        context: &Context<'a>,
        exclusive: bool,
        fields: &Collected<'a>,
        name: &'a Name,
        conflicts: &mut Vec<Conflict>,
    ) -> Compared {
        self.spend()?;
        let is_new = is_new(&mut self.fields_and_fragment, (fields.set, name), exclusive);
        if fields.fields.is_empty() || !is_new {
            return Ok(());
        }
        let Some(fragment) = self.collect_fragment(context, name) else { return Ok(()) };
        if fragment.set == fields.set {
            return Ok(());
        }
        self.between(context, exclusive, fields, &fragment, conflicts)?;
        fragment
            .spreads
            .iter()
            .try_for_each(|spread| self.with_fragment(context, exclusive, fields, spread, conflicts))
    }

    fn between_fragments(
        &mut self,
        context: &Context<'a>,
        exclusive: bool,
        one: &'a Name,
        other: &'a Name,
        conflicts: &mut Vec<Conflict>,
    ) -> Compared {
        self.spend()?;
        let pair = if one < other { (one, other) } else { (other, one) };
        if one == other || !is_new(&mut self.fragments, pair, exclusive) {
            return Ok(());
        }
        let (Some(first), Some(second)) =
            (self.collect_fragment(context, one), self.collect_fragment(context, other))
        else {
            return Ok(());
        };
        self.between(context, exclusive, &first, &second, conflicts)?;
        for spread in &second.spreads {
            self.between_fragments(context, exclusive, one, spread, conflicts)?;
        }
        for spread in &first.spreads {
            self.between_fragments(context, exclusive, spread, other, conflicts)?;
        }
        Ok(())
    }

    fn between(
        &mut self,
        context: &Context<'a>,
        exclusive: bool,
        one: &Collected<'a>,
        other: &Collected<'a>,
        conflicts: &mut Vec<Conflict>,
    ) -> Compared {
        for (name, fields) in &one.fields {
            self.spend()?;
            let Some(others) = other.fields.get(name) else { continue };
            for field in fields {
                for other in others {
                    conflicts.extend(self.compare(context, exclusive, *field, *other)?);
                }
            }
        }
        Ok(())
    }

    /// FieldsInSetCanMerge for two fields, and SameResponseShape where they exclude each other.
    fn compare(
        &mut self,
        context: &Context<'a>,
        exclusive: bool,
        one: Selected<'a>,
        other: Selected<'a>,
    ) -> Result<Option<Conflict>, Spent> {
        self.spend()?;
        let name = one.field.response_name();
        let conflict = |reason: String| {
            let [one, other] = [one, other].map(|it| vec![it.field.location()]);
            Ok(Some(Conflict { reason, one, other }))
        };
        let exclusive = exclusive || context.exclude_each_other(one.parent, other.parent);
        if !exclusive {
            if one.field.name != other.field.name {
                let message = format!("{name} cannot be both {} and {}", one.field.name, other.field.name);
                return conflict(message);
            }
            if !same_arguments(&one.field.arguments, &other.field.arguments) {
                return conflict(format!("{name} is asked for with different arguments"));
            }
        }
        if let (Some(first), Some(second)) = (one.definition, other.definition)
            && !same_shape(context, &first.ty, &second.ty)
        {
            return conflict(format!("{name} cannot be of type {} and {}", first.ty, second.ty));
        }
        let sets = [one, other].map(|it| (&it.field.selection_set, it.definition));
        if sets.iter().any(|(set, _)| set.is_empty()) {
            return Ok(None);
        }
        let [first, second] = sets.map(|(set, definition)| {
            let ty = definition.map(|definition| definition.ty.inner_named_type());
            (ty.and_then(|ty| context.composite(ty)), set.as_slice())
        });
        let below = self.below(context, exclusive, first, second)?;
        let Some(reason) = below.first().map(|conflict| conflict.reason.clone()) else { return Ok(None) };
        let side = |field: &Node<Field>, side: fn(&Conflict) -> &[Option<SourceSpan>]| {
            let places = below.iter().flat_map(|conflict| side(conflict).iter().copied());
            std::iter::once(field.location()).chain(places).take(PLACES_MAX).collect()
        };
        Ok(Some(Conflict {
            reason,
            one: side(one.field, |conflict| &conflict.one),
            other: side(other.field, |conflict| &conflict.other),
        }))
    }

    /// The conflicts between the selections of two fields.
    fn below(
        &mut self,
        context: &Context<'a>,
        exclusive: bool,
        one: Set<'a>,
        other: Set<'a>,
    ) -> Result<Vec<Conflict>, Spent> {
        let (one, other) = (self.collect(context, one), self.collect(context, other));
        let mut conflicts = Vec::new();
        self.between(context, exclusive, &one, &other, &mut conflicts)?;
        for spread in &other.spreads {
            self.with_fragment(context, exclusive, &one, spread, &mut conflicts)?;
        }
        for spread in &one.spreads {
            self.with_fragment(context, exclusive, &other, spread, &mut conflicts)?;
        }
        for first in &one.spreads {
            for second in &other.spreads {
                self.between_fragments(context, exclusive, first, second, &mut conflicts)?;
            }
        }
        Ok(conflicts)
    }
}

fn collect_into<'a>(context: &Context<'a>, (parent, set): Set<'a>, collected: &mut Collected<'a>) {
    for selection in set {
        match selection {
            Selection::Field(field) => {
                let definition = selections::definition(context, parent, field).map(|it| &**it);
                let selected = Selected { parent, field, definition };
                collected.fields.entry(field.response_name()).or_default().push(selected);
            }
            Selection::FragmentSpread(spread) => {
                collected.spreads.insert(&spread.fragment_name);
            }
            Selection::InlineFragment(inline) => {
                let inner = inline.type_condition.as_ref().map_or(parent, |it| context.composite(it));
                collect_into(context, (inner, &inline.selection_set), collected);
            }
        }
    }
}

/// Notes a comparison. One that was made without exclusion says all that one with it could.
fn is_new<K: Eq + std::hash::Hash>(compared: &mut HashMap<K, bool>, key: K, exclusive: bool) -> bool {
    match compared.get(&key) {
        Some(known) if !*known || exclusive => false,
        _ => {
            compared.insert(key, exclusive);
            true
        }
    }
}

fn same_arguments(one: &[Node<Argument>], other: &[Node<Argument>]) -> bool {
    let pairs = |arguments: &'_ [Node<Argument>]| -> Vec<(Name, Node<Value>)> {
        arguments.iter().map(|argument| (argument.name.clone(), argument.value.clone())).collect()
    };
    one.len() == other.len() && (one.is_empty() || same_members(&pairs(one), &pairs(other)))
}

fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => same_members(one, other),
        _ => one == other,
    }
}

/// Arguments have no order, nor have the fields of an object (sections 2.6 and 2.9.8).
fn same_members(one: &[(Name, Node<Value>)], other: &[(Name, Node<Value>)]) -> bool {
    let in_order = |members: &'_ [(Name, Node<Value>)]| {
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|a, b| members[*a].0.cmp(&members[*b].0));
        order
    };
    one.len() == other.len()
        && in_order(one).into_iter().zip(in_order(other)).all(|(first, second)| {
            one[first].0 == other[second].0 && same_value(&one[first].1, &other[second].1)
        })
}

/// SameResponseShape as far as the types go; composite types differ in their selections.
fn same_shape(context: &Context<'_>, one: &Type, other: &Type) -> bool {
    match (one, other) {
        (Type::List(one), Type::List(other)) | (Type::NonNullList(one), Type::NonNullList(other)) => {
            same_shape(context, one, other)
        }
        (Type::Named(one), Type::Named(other)) | (Type::NonNullNamed(one), Type::NonNullNamed(other)) => {
            let is_leaf = |name: &Name| {
                matches!(context.type_named(name), Some(ExtendedType::Scalar(_) | ExtendedType::Enum(_)))
            };
            one == other || !(is_leaf(one) || is_leaf(other))
        }
        _ => false,
    }
}
