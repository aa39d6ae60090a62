//! `__Field`, `__InputValue`, `__EnumValue` and `__Directive` (sections 4.2.3 to 4.2.6).

use apollo_compiler::Name;
use apollo_compiler::ast::DirectiveList;
use apollo_compiler::resolvers::{FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::schema::{
    DirectiveDefinition, EnumValueDefinition, FieldDefinition, InputValueDefinition,
};

use super::types::reference;
use crate::graphql::faces::Face;

/// What a type consists of, or a directive.
#[derive(Clone, Copy)]
pub(super) enum Member<'s> {
    Field(&'s FieldDefinition),
    InputValue(&'s InputValueDefinition),
    EnumValue(&'s EnumValueDefinition),
}

impl<'s> Member<'s> {
    fn parts(self) -> (&'s Name, Option<&'s str>, &'s DirectiveList) {
        match self {
            Self::Field(it) => (&it.name, it.description.as_deref(), &it.directives),
            Self::InputValue(it) => (&it.name, it.description.as_deref(), &it.directives),
            Self::EnumValue(it) => (&it.value, it.description.as_deref(), &it.directives),
        }
    }

    fn is_deprecated(self) -> bool {
        self.parts().2.has("deprecated")
    }
}

/// Those that are not deprecated; `includeDeprecated` asks for the rest, too.
pub(super) fn list<'a>(
    face: &'a Face,
    info: &ResolveInfo<'_>,
    members: impl Iterator<Item = Member<'a>> + 'a,
) -> ResolvedValue<'a> {
    let all = info.arguments().get("includeDeprecated").and_then(|all| all.as_bool()) == Some(true);
    let members = members.filter(move |it| all || !it.is_deprecated());
    ResolvedValue::list(members.map(move |of| ResolvedValue::object(MetaMember { face, of })))
}

struct MetaMember<'s> {
    face: &'s Face,
    of: Member<'s>,
}

impl ObjectValue for MetaMember<'_> {
    fn type_name(&self) -> &str {
        match self.of {
            Member::Field(_) => "__Field",
            Member::InputValue(_) => "__InputValue",
            Member::EnumValue(_) => "__EnumValue",
        }
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let (name, description, directives) = self.of.parts();
        Ok(match (info.field_name(), self.of) {
            ("name", _) => ResolvedValue::leaf(name.as_str()),
            ("description", _) => ResolvedValue::leaf(description),
            ("isDeprecated", _) => ResolvedValue::leaf(self.of.is_deprecated()),
            ("deprecationReason", _) => {
                let directive = directives.get("deprecated");
                let reason = directive.and_then(|it| it.argument_by_name("reason", &self.face.compiled).ok());
                ResolvedValue::leaf(reason.and_then(|reason| reason.as_str()))
            }
            ("args", Member::Field(it)) => {
                list(self.face, info, it.arguments.iter().map(|it| Member::InputValue(it)))
            }
            ("type", Member::Field(it)) => reference(self.face, &it.ty),
            ("type", Member::InputValue(it)) => reference(self.face, &it.ty),
            ("defaultValue", Member::InputValue(it)) => {
                let printed = it.default_value.as_ref().map(|it| it.serialize().no_indent().to_string());
                ResolvedValue::leaf(printed)
            }
            _ => return Err(self.unknown_field_error(info)),
        })
    }
}

/// A directive of the schema.
pub(super) struct MetaDirective<'s> {
    pub(super) face: &'s Face,
    pub(super) definition: &'s DirectiveDefinition,
}

impl ObjectValue for MetaDirective<'_> {
    fn type_name(&self) -> &str {
        "__Directive"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        let definition = self.definition;
        Ok(match info.field_name() {
            "name" => ResolvedValue::leaf(definition.name.as_str()),
            "description" => ResolvedValue::leaf(definition.description.as_deref()),
            "isRepeatable" => ResolvedValue::leaf(definition.repeatable),
            "locations" => {
                ResolvedValue::list(definition.locations.iter().map(|it| ResolvedValue::leaf(it.name())))
            }
            "args" => list(self.face, info, definition.arguments.iter().map(|it| Member::InputValue(it))),
            _ => return Err(self.unknown_field_error(info)),
        })
    }
}
