//! What a document would cost with its fragments followed: a few lines can spread to billions of
//! fields, so this is known before validation and planning walk them.

use std::collections::HashMap;

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, Definition, Directive, Document, Selection, Value};
use apollo_compiler::parser::SourceSpan;

use crate::graphql::limits::Limits;

/// Values in arguments, fragments followed: each operation has those of its fragments checked anew.
const VALUES_MAX: usize = 100_000;

/// A limit that a document exceeds: code, message, place.
pub(super) type Excess = (&'static str, String, Option<SourceSpan>);

/// Fields, values and depth of a selection set.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    fields: usize,
    /// Fields at its top level.
    top: usize,
    values: usize,
    depth: usize,
}

struct Walk<'a> {
    fragments: HashMap<&'a str, &'a [Selection]>,
    /// `None` while the walk is inside the fragment: a cycle costs nothing, validation refuses it.
    known: HashMap<&'a str, Option<Cost>>,
    depth_max: usize,
}

/// Checks every operation and every fragment of a document.
pub(super) fn check(document: &Document, limits: &Limits) -> Result<(), Excess> {
    let fragments = document.definitions.iter().filter_map(|definition| match definition {
        Definition::FragmentDefinition(it) => Some((it.name.as_str(), it.selection_set.as_slice())),
        _ => None,
    });
    let mut walk = Walk { fragments: fragments.collect(), known: HashMap::new(), depth_max: limits.depth() };
    // Validation walks each definition by itself, so it is their sum that counts.
    let (mut fields, mut values) = (0_usize, 0_usize);
    for definition in &document.definitions {
        let (selections, is_operation) = match definition {
            Definition::OperationDefinition(it) => (&it.selection_set, true),
            Definition::FragmentDefinition(it) => (&it.selection_set, false),
            _ => continue,
        };
        let too_deep = || {
            let message = format!("The document is nested more than {} levels deep", limits.depth());
            ("TOO_DEEP", message, definition.location())
        };
        let cost = walk.selections(selections, 0).ok_or_else(too_deep)?;
        fields = fields.saturating_add(cost.fields);
        values = values.saturating_add(cost.values);
        if values > VALUES_MAX {
            let message =
                format!("The document has more than {VALUES_MAX} values in arguments, fragments followed");
            return Err(("TOO_MANY_VALUES", message, definition.location()));
        }
        if fields > limits.fields {
            let message =
                format!("The document selects more than {} fields, fragments followed", limits.fields);
            return Err(("TOO_MANY_FIELDS", message, definition.location()));
        }
        if is_operation && cost.top > limits.root_fields {
            let message = format!("The operation has more than {} root fields", limits.root_fields);
            return Err(("TOO_MANY_ROOT_FIELDS", message, definition.location()));
        }
    }
    Ok(())
}

impl<'a> Walk<'a> {
    /// `None` if it is too deep. Recursion ends at the depth limit, cycles included.
    fn selections(&mut self, selections: &'a [Selection], depth: usize) -> Option<Cost> {
        if depth >= self.depth_max {
            return None;
        }
        let mut sum = Cost { depth: 1, ..Cost::default() };
        for selection in selections {
            sum.values = sum.values.saturating_add(values(selection));
            let (inner, is_field) = match selection {
                Selection::Field(field) if field.selection_set.is_empty() => (Cost::default(), true),
                Selection::Field(field) => (self.selections(&field.selection_set, depth + 1)?, true),
                Selection::InlineFragment(it) => (self.selections(&it.selection_set, depth + 1)?, false),
                Selection::FragmentSpread(spread) => {
                    (self.fragment(&spread.fragment_name, depth + 1)?, false)
                }
            };
            sum.fields = sum.fields.saturating_add(inner.fields).saturating_add(is_field.into());
            sum.values = sum.values.saturating_add(inner.values);
            sum.top = sum.top.saturating_add(if is_field { 1 } else { inner.top });
            sum.depth = sum.depth.max(inner.depth + 1);
        }
        Some(sum)
    }

    fn fragment(&mut self, name: &'a str, depth: usize) -> Option<Cost> {
        let Some(selections) = self.fragments.get(name).copied() else { return Some(Cost::default()) };
        let cost = match self.known.get(name) {
            Some(cost) => cost.unwrap_or_default(),
            None => {
                self.known.insert(name, None);
                let cost = self.selections(selections, depth)?;
                self.known.insert(name, Some(cost));
                cost
            }
        };
        // Known from a shallower place, the fragment may be too deep here.
        (depth + cost.depth <= self.depth_max).then_some(cost)
    }
}

/// The values in the arguments of a selection and its directives, with those within them.
fn values(selection: &Selection) -> usize {
    fn within(value: &Value) -> usize {
        1 + match value {
            Value::List(items) => items.iter().map(|item| within(item)).sum(),
            Value::Object(fields) => fields.iter().map(|(_, value)| within(value)).sum::<usize>(),
            _ => 0,
        }
    }
    let of = |arguments: &[Node<Argument>]| -> usize { arguments.iter().map(|it| within(&it.value)).sum() };
    let (arguments, directives): (&[Node<Argument>], &[Node<Directive>]) = match selection {
        Selection::Field(field) => (&field.arguments, &field.directives),
        Selection::InlineFragment(inline) => (&[], &inline.directives),
        Selection::FragmentSpread(spread) => (&[], &spread.directives),
    };
    of(arguments) + directives.iter().map(|directive| of(&directive.arguments)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<&'static str> {
        let limits = Limits { depth: 8, fields: 1_000, root_fields: 3, ..Limits::default() };
        let document = Document::parse(text, "test").ok()?;
        check(&document, &limits).err().map(|(code, ..)| code)
    }

    #[test]
    fn fragments_are_followed() {
        let mut bomb = "{ a { ...f0 } }".to_owned();
        for number in 0..6 {
            let next = number + 1;
            bomb += &format!(" fragment f{number} on T {{ a {{ ...f{next} }} b {{ ...f{next} }} }}");
        }
        assert_eq!(code(&bomb), Some("TOO_DEEP"));
        let mut wide = "{ ...f0 }".to_owned();
        for number in 0..4 {
            wide += &format!(" fragment f{number} on T {{ {} }}", format!("...f{} ", number + 1).repeat(9));
        }
        assert_eq!(code(&format!("{wide} fragment f4 on T {{ a }}")), Some("TOO_MANY_FIELDS"));
        assert_eq!(code("{ ...f } fragment f on T { a b c d }"), Some("TOO_MANY_ROOT_FIELDS"));
        assert_eq!(code("{ ...f } fragment f on T { a { b c d e } }"), None);
        assert_eq!(code("{ ...f } fragment f on T { ...g } fragment g on T { ...f }"), None);
        assert_eq!(code("{ ...missing }"), None);
        let used = format!("fragment f on T {{ a(b: [{}]) }}", "$c ".repeat(1_000));
        let operations = |count: usize| "query($c: C) { ...f } ".repeat(count);
        assert_eq!(code(&format!("{used} {}", operations(100))), Some("TOO_MANY_VALUES"));
        assert_eq!(code(&format!("{used} {}", operations(90))), None);
    }
}
