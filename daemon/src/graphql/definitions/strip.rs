//! Takes out of a schema what tells how it is served: names of channels, functions and roles are nobody's
//! business but the operator's.

use apollo_compiler::Schema;
use apollo_compiler::ast::{DirectiveList, FieldDefinition};
use apollo_compiler::schema::{Component, ExtendedType};

use super::directives;

/// Removes the directives of custom SDL, applied and declared.
pub(super) fn strip(schema: &mut Schema) {
    for definition in schema.types.values_mut() {
        let fields = match definition {
            ExtendedType::Object(it) if it.fields.values().any(|field| has_ours(field)) => {
                &mut it.make_mut().fields
            }
            ExtendedType::Interface(it) if it.fields.values().any(|field| has_ours(field)) => {
                &mut it.make_mut().fields
            }
            _ => continue,
        };
        fields.values_mut().for_each(strip_field);
    }
    for name in directives::NAMES {
        schema.directive_definitions.shift_remove(name);
    }
    schema.types.shift_remove(directives::SCOPE);
}

fn has_ours(field: &FieldDefinition) -> bool {
    let is_in = |list: &DirectiveList| list.iter().any(|it| directives::NAMES.contains(&it.name.as_str()));
    is_in(&field.directives) || field.arguments.iter().any(|argument| is_in(&argument.directives))
}

fn strip_field(field: &mut Component<FieldDefinition>) {
    let keep = |list: &mut DirectiveList| {
        list.0.retain(|directive| !directives::NAMES.contains(&directive.name.as_str()));
    };
    let field = field.make_mut();
    keep(&mut field.directives);
    for argument in &mut field.arguments {
        keep(&mut argument.make_mut().directives);
    }
}
