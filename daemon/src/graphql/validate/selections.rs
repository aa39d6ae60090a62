//! Sections 5.3.1 and 5.3.3: fields exist, leaves have no selection and everything else has one.

use apollo_compiler::ast::{Field, FieldDefinition};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::{Name, Node};

use super::{Context, Finding, Place};

/// The definition of a field; nothing if its parent is not known, or has no such field.
pub(super) fn definition<'a>(
    context: &Context<'a>,
    parent: Option<&Name>,
    field: &Field,
) -> Option<&'a Node<FieldDefinition>> {
    context.schema.type_field(parent?, &field.name).ok().map(|definition| &definition.node)
}

/// Section 5.3.1.
pub(super) fn unknown(
    parent: Option<&Name>,
    field: &Node<Field>,
    definition: Option<&Node<FieldDefinition>>,
) -> Option<Finding> {
    let parent = parent.filter(|_| definition.is_none())?;
    let message = format!("{parent} has no field {}", field.name);
    Some(Finding::new(message, [field.location()]))
}

/// Section 5.3.3.
pub(super) fn leaf(
    context: &Context<'_>,
    field: &Node<Field>,
    definition: Option<&Node<FieldDefinition>>,
) -> Option<Finding> {
    let ty = &definition?.ty;
    let name = &field.name;
    let named = context.type_named(ty.inner_named_type())?;
    let is_leaf = matches!(named, ExtendedType::Scalar(_) | ExtendedType::Enum(_));
    match (is_leaf, field.selection_set.is_empty()) {
        (true, false) => Some(Finding {
            message: format!("Field {name} is of type {ty}, of which nothing can be selected"),
            places: vec![Place::SelectionOf(field.location())],
        }),
        (false, true) => {
            let message = format!("Field {name} is of type {ty}; say what of it: {name} {{ … }}");
            Some(Finding::new(message, [field.location()]))
        }
        _ => None,
    }
}
