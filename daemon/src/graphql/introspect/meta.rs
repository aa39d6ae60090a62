//! The meta types, the directives that every schema has, and the fields that lead to them.

use apollo_compiler::ast::DirectiveLocation;
use apollo_compiler::schema::{Component, ExtendedType, FieldDefinition};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Schema, name, ty};

/// Adds what September 2025 has, and the compiler has not: `__Type.isOneOf` and `@oneOf` (section 3.13.5),
/// and that `includeDeprecated` and the reason of `@deprecated` are never null.
///
/// It stays out of the schema's SDL, as everything does that is built in.
pub(in crate::graphql) fn complete(schema: &mut Schema) {
    for meta in ["__Type", "__Field", "__Directive"] {
        let Some(ExtendedType::Object(object)) = schema.types.get_mut(meta) else { continue };
        let fields = &mut object.make_mut().fields;
        for field in fields.values_mut() {
            for argument in &mut field.make_mut().arguments {
                argument.make_mut().ty = ty!(Boolean!).into();
            }
        }
        if meta == "__Type" {
            fields.insert(name!("isOneOf"), Component::new(is_one_of()));
        }
    }
    let built_in = &mut schema.directive_definitions;
    if let Some(deprecated) = built_in.get_mut("deprecated") {
        for argument in &mut deprecated.make_mut().arguments {
            argument.make_mut().ty = ty!(String!).into();
        }
    }
    if let Some(mut one_of) = built_in.get("specifiedBy").cloned().filter(|_| !built_in.contains_key("oneOf"))
    {
        // The copy stays at its built-in place.
        let definition = one_of.make_mut();
        let description = "Indicates exactly one field must be supplied and this field must not be `null`.";
        definition.name = name!("oneOf");
        definition.description = Some(description.into());
        definition.arguments.clear();
        definition.locations = vec![DirectiveLocation::InputObject];
        built_in.insert(name!("oneOf"), one_of);
    }
}

fn is_one_of() -> FieldDefinition {
    FieldDefinition {
        description: None,
        name: name!("isOneOf"),
        arguments: Vec::new(),
        ty: ty!(Boolean),
        directives: Default::default(),
    }
}

/// The schema as documents are executed on it: `__schema` and `__type` are fields like others, so that the
/// compiler asks for their values, too, instead of answering itself.
pub(in crate::graphql) fn opened(schema: &Schema) -> Valid<Schema> {
    let mut opened = schema.clone();
    if let Some(query) = opened.schema_definition.make_mut().query.take() {
        let fields = [name!("__schema"), name!("__type")].into_iter().filter_map(|name| {
            let field = schema.type_field(&query, &name).ok()?.clone();
            Some((name, field))
        });
        if let Some(ExtendedType::Object(root)) = opened.types.get_mut(query.as_str()) {
            root.make_mut().fields.extend(fields);
        }
    }
    Valid::assume_valid(opened)
}
