//! `__Schema` and `__Type` (sections 4.2.1 and 4.2.2).

use apollo_compiler::Name;
use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::schema::{ComponentName, ExtendedType, Type};

use super::members::{Member, MetaDirective, list};
use crate::graphql::faces::Face;

/// `Query.__schema`.
pub(in crate::graphql) fn schema(face: &Face) -> ResolvedValue<'_> {
    ResolvedValue::object(MetaSchema(face))
}

/// `Query.__type`: null where there is no such type.
pub(in crate::graphql) fn named<'a>(face: &'a Face, name: &str) -> ResolvedValue<'a> {
    let definition = face.compiled.types.get(name);
    ResolvedValue::nullable_object(definition.map(|definition| NamedType { face, definition }))
}

fn all_named<'a>(face: &'a Face, names: impl Iterator<Item = &'a Name> + 'a) -> ResolvedValue<'a> {
    ResolvedValue::list(names.map(|name| named(face, name)))
}

/// The type of a field or an argument.
pub(super) fn reference<'a>(face: &'a Face, reference: &'a Type) -> ResolvedValue<'a> {
    match reference {
        Type::Named(name) => named(face, name),
        Type::List(item) => ResolvedValue::object(WrappingType { face, kind: "LIST", of: Of::Type(item) }),
        Type::NonNullNamed(name) => {
            ResolvedValue::object(WrappingType { face, kind: "NON_NULL", of: Of::Named(name) })
        }
        Type::NonNullList(item) => {
            ResolvedValue::object(WrappingType { face, kind: "NON_NULL", of: Of::List(item) })
        }
    }
}

struct MetaSchema<'s>(&'s Face);

impl ObjectValue for MetaSchema<'_> {
    fn type_name(&self) -> &str {
        "__Schema"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let face = self.0;
        let definition = &face.compiled.schema_definition;
        let root = |name: &'a Option<ComponentName>| {
            name.as_ref().map_or(ResolvedValue::null(), |name| named(face, name))
        };
        Ok(match info.field_name() {
            "description" => ResolvedValue::leaf(definition.description.as_deref()),
            "types" => all_named(face, face.compiled.types.keys()),
            "queryType" => root(&definition.query),
            "mutationType" => root(&definition.mutation),
            "subscriptionType" => root(&definition.subscription),
            "directives" => {
                let definitions = face.compiled.directive_definitions.values();
                ResolvedValue::list(
                    definitions
                        .map(move |definition| ResolvedValue::object(MetaDirective { face, definition })),
                )
            }
            _ => return Err(self.unknown_field_error(info)),
        })
    }
}

/// A type that has a name.
struct NamedType<'s> {
    face: &'s Face,
    definition: &'s ExtendedType,
}

impl ObjectValue for NamedType<'_> {
    fn type_name(&self) -> &str {
        "__Type"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        use ExtendedType::{Enum, InputObject, Interface, Object, Scalar, Union};
        let face = self.face;
        Ok(match (info.field_name(), self.definition) {
            ("kind", Scalar(_)) => ResolvedValue::leaf("SCALAR"),
            ("kind", Object(_)) => ResolvedValue::leaf("OBJECT"),
            ("kind", Interface(_)) => ResolvedValue::leaf("INTERFACE"),
            ("kind", Union(_)) => ResolvedValue::leaf("UNION"),
            ("kind", Enum(_)) => ResolvedValue::leaf("ENUM"),
            ("kind", InputObject(_)) => ResolvedValue::leaf("INPUT_OBJECT"),
            ("name", definition) => ResolvedValue::leaf(definition.name().as_str()),
            ("description", definition) => {
                ResolvedValue::leaf(definition.description().map(|text| text.as_str()))
            }
            ("fields", Object(it)) => list(face, info, it.fields.values().map(|it| Member::Field(it))),
            ("fields", Interface(it)) => list(face, info, it.fields.values().map(|it| Member::Field(it))),
            ("interfaces", Object(it)) => all_named(face, it.implements_interfaces.iter().map(|it| &it.name)),
            ("interfaces", Interface(it)) => {
                all_named(face, it.implements_interfaces.iter().map(|it| &it.name))
            }
            ("possibleTypes", Interface(it)) => {
                let implementers = face.implementers.get(&it.name);
                all_named(face, implementers.into_iter().flat_map(|it| &it.objects))
            }
            ("possibleTypes", Union(it)) => all_named(face, it.members.iter().map(|it| &it.name)),
            ("enumValues", Enum(it)) => list(face, info, it.values.values().map(|it| Member::EnumValue(it))),
            ("inputFields", InputObject(it)) => {
                list(face, info, it.fields.values().map(|it| Member::InputValue(it)))
            }
            ("specifiedByURL", Scalar(it)) => {
                let directive = it.directives.get("specifiedBy");
                let url = directive.and_then(|it| it.specified_argument_by_name("url"));
                ResolvedValue::leaf(url.and_then(|url| url.as_str()))
            }
            ("isOneOf", InputObject(it)) => ResolvedValue::leaf(it.directives.has("oneOf")),
            (name, _) if PARTIAL.contains(&name) => ResolvedValue::null(),
            _ => return Err(self.unknown_field_error(info)),
        })
    }
}

/// Fields that only some kinds of types have; they are null for the others.
const PARTIAL: [&str; 10] = [
    "name",
    "description",
    "fields",
    "interfaces",
    "possibleTypes",
    "enumValues",
    "inputFields",
    "ofType",
    "specifiedByURL",
    "isOneOf",
];

/// A list, or a type that is never null.
struct WrappingType<'s> {
    face: &'s Face,
    kind: &'static str,
    of: Of<'s>,
}

/// What is wrapped.
#[derive(Clone, Copy)]
enum Of<'s> {
    Type(&'s Type),
    Named(&'s Name),
    /// A list of these.
    List(&'s Type),
}

impl ObjectValue for WrappingType<'_> {
    fn type_name(&self) -> &str {
        "__Type"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        Ok(match (info.field_name(), self.of) {
            ("kind", _) => ResolvedValue::leaf(self.kind),
            ("ofType", Of::Type(item)) => reference(self.face, item),
            ("ofType", Of::Named(name)) => named(self.face, name),
            ("ofType", Of::List(item)) => {
                ResolvedValue::object(WrappingType { face: self.face, kind: "LIST", of: Of::Type(item) })
            }
            (name, _) if PARTIAL.contains(&name) => ResolvedValue::null(),
            _ => return Err(self.unknown_field_error(info)),
        })
    }
}
