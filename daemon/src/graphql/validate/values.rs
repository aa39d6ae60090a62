//! Section 5.6: literals are of the type that their place asks for. Variables within them are the
//! concern of `variables`.

use std::collections::HashMap;

use apollo_compiler::ast::{InputValueDefinition, Type, Value};
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use apollo_compiler::{Name, Node};

use super::{Context, Finding};
use crate::graphql::coerce;

/// What the place of a value asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slot<'a> {
    /// Nothing if that is not known; then the value is not checked.
    pub(super) ty: Option<&'a Type>,
    /// Whether the place has a default value.
    pub(super) has_default: bool,
    /// The input object that it belongs to, if any.
    pub(super) object: Option<&'a InputObjectType>,
}

impl<'a> Slot<'a> {
    pub(super) fn of(definition: Option<&'a InputValueDefinition>) -> Self {
        Self {
            ty: definition.map(|it| &*it.ty),
            has_default: definition.is_some_and(|it| it.default_value.is_some()),
            object: None,
        }
    }

    /// The place of an item of a list at this place.
    pub(super) fn item(self) -> Self {
        let item = self.ty.and_then(|ty| match ty {
            Type::List(item) | Type::NonNullList(item) => Some(&**item),
            Type::Named(_) | Type::NonNullNamed(_) => None,
        });
        Self { ty: item, ..Self::default() }
    }

    /// The place of a field of an object at this place.
    pub(super) fn field(self, context: &Context<'a>, name: &Name) -> Self {
        match self.ty.and_then(|ty| context.type_named(ty.inner_named_type())) {
            Some(ExtendedType::InputObject(object)) => {
                let field = object.fields.get(name).map(|field| &***field);
                Self { object: Some(object), ..Self::of(field) }
            }
            _ => Self::default(),
        }
    }
}

/// Checks a literal: fields given twice in any object, and its type if that is known.
pub(super) fn check<'a>(context: &Context<'a>, value: &'a Node<Value>, slot: Slot<'a>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(ty) = slot.ty.filter(|ty| context.is_input(ty)) {
        typed(context, value, ty, &mut findings);
    }
    repeated_fields(value, &mut findings);
    findings
}

fn wrong(message: String, value: &Node<Value>, findings: &mut Vec<Finding>) {
    findings.push(Finding::new(message, [value.location()]));
}

/// Section 5.6.1.
fn typed<'a>(context: &Context<'a>, value: &'a Node<Value>, ty: &Type, findings: &mut Vec<Finding>) {
    match (&**value, ty) {
        (Value::Variable(_), _) => {}
        (Value::Null, _) if ty.is_non_null() => {
            wrong(format!("A value of type {ty} must not be null"), value, findings);
        }
        (Value::Null, _) => {}
        (Value::List(items), Type::List(item) | Type::NonNullList(item)) => {
            items.iter().for_each(|value| typed(context, value, item, findings));
        }
        // Section 3.12: a value that is no list counts as a list of one.
        (_, Type::List(item) | Type::NonNullList(item)) => typed(context, value, item, findings),
        (_, Type::Named(name) | Type::NonNullNamed(name)) => match context.type_named(name) {
            Some(ExtendedType::InputObject(definition)) => match &**value {
                Value::Object(fields) => object(context, definition, value, fields, findings),
                _ => wrong(format!("{name} is an input object, not {value}"), value, findings),
            },
            Some(ExtendedType::Enum(definition)) => {
                let is_label = value.as_enum().is_some_and(|label| definition.values.contains_key(label));
                if !is_label {
                    wrong(format!("{name} has no value {value}"), value, findings);
                }
            }
            _ => {
                if let Err(message) = coerce::constant(name, value) {
                    wrong(message, value, findings);
                }
            }
        },
    }
}

/// Sections 5.6.2 and 5.6.4, and `@oneOf` (section 3.10.1).
fn object<'a>(
    context: &Context<'a>,
    definition: &'a InputObjectType,
    value: &Node<Value>,
    fields: &'a [(Name, Node<Value>)],
    findings: &mut Vec<Finding>,
) {
    let ty = &definition.name;
    // Of a field that is given twice the last counts, as in the tables of graphql-js.
    let given: HashMap<&Name, &'a Node<Value>> = fields.iter().map(|(name, value)| (name, value)).collect();
    for (name, field) in &definition.fields {
        match given.get(name) {
            Some(value) => typed(context, value, &field.ty, findings),
            None if field.is_required() => {
                wrong(format!("{ty} needs its field {name} of type {}", field.ty), value, findings);
            }
            None => {}
        }
    }
    let unknown = fields.iter().filter(|(name, _)| !definition.fields.contains_key(name));
    findings.extend(
        unknown.map(|(name, _)| Finding::new(format!("{ty} has no field {name}"), [name.location()])),
    );
    if !is_one_of(definition) {
        return;
    }
    let known: Vec<_> = fields.iter().filter(|(name, _)| definition.fields.contains_key(name)).collect();
    let is_one = matches!(known.as_slice(), [(_, value)] if !value.is_null());
    if !is_one {
        wrong(format!("{ty} takes exactly one field, and not null"), value, findings);
    }
}

/// Whether exactly one field of the input object must be given.
pub(super) fn is_one_of(definition: &InputObjectType) -> bool {
    definition.directives.has("oneOf")
}

/// Section 5.6.3.
fn repeated_fields(value: &Node<Value>, findings: &mut Vec<Finding>) {
    match &**value {
        Value::List(items) => items.iter().for_each(|item| repeated_fields(item, findings)),
        Value::Object(fields) => {
            let mut first: HashMap<&Name, &Name> = HashMap::new();
            for (name, value) in fields {
                match first.get(name) {
                    Some(first) => {
                        let message = format!("There is more than one field named {name}");
                        findings.push(Finding::new(message, [first.location(), name.location()]));
                    }
                    None => {
                        first.insert(name, name);
                    }
                }
                repeated_fields(value, findings);
            }
        }
        _ => {}
    }
}
