//! What definitions and extensions of all kinds have in common.

use graphql_parser::Pos;

use super::graph::Kind;
use super::parse::{Directive, EnumValue, Field, InputValue, TypeDefinition, TypeExtension};

/// The parts that a definition and an extension have in common.
pub(super) struct Parts<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
    pub(super) position: Pos,
    pub(super) interfaces: &'a [String],
    pub(super) fields: &'a [Field],
    pub(super) inputs: &'a [InputValue],
    pub(super) members: &'a [String],
    pub(super) values: &'a [EnumValue],
    pub(super) directives: &'a [Directive],
}

impl<'a> Parts<'a> {
    fn empty(kind: Kind, name: &'a str, position: Pos, directives: &'a [Directive]) -> Self {
        Self {
            kind,
            name,
            position,
            interfaces: &[],
            fields: &[],
            inputs: &[],
            members: &[],
            values: &[],
            directives,
        }
    }

    pub(super) fn of_definition(definition: &'a TypeDefinition) -> Self {
        match definition {
            TypeDefinition::Scalar(it) => Self::empty(Kind::Scalar, &it.name, it.position, &it.directives),
            TypeDefinition::Object(it) => Self {
                interfaces: &it.implements_interfaces,
                fields: &it.fields,
                ..Self::empty(Kind::Object, &it.name, it.position, &it.directives)
            },
            TypeDefinition::Interface(it) => Self {
                interfaces: &it.implements_interfaces,
                fields: &it.fields,
                ..Self::empty(Kind::Interface, &it.name, it.position, &it.directives)
            },
            TypeDefinition::Union(it) => {
                Self { members: &it.types, ..Self::empty(Kind::Union, &it.name, it.position, &it.directives) }
            }
            TypeDefinition::Enum(it) => {
                Self { values: &it.values, ..Self::empty(Kind::Enum, &it.name, it.position, &it.directives) }
            }
            TypeDefinition::InputObject(it) => {
                Self { inputs: &it.fields, ..Self::empty(Kind::Input, &it.name, it.position, &it.directives) }
            }
        }
    }

    pub(super) fn of_extension(extension: &'a TypeExtension) -> Self {
        match extension {
            TypeExtension::Scalar(it) => Self::empty(Kind::Scalar, &it.name, it.position, &it.directives),
            TypeExtension::Object(it) => Self {
                interfaces: &it.implements_interfaces,
                fields: &it.fields,
                ..Self::empty(Kind::Object, &it.name, it.position, &it.directives)
            },
            TypeExtension::Interface(it) => Self {
                interfaces: &it.implements_interfaces,
                fields: &it.fields,
                ..Self::empty(Kind::Interface, &it.name, it.position, &it.directives)
            },
            TypeExtension::Union(it) => {
                Self { members: &it.types, ..Self::empty(Kind::Union, &it.name, it.position, &it.directives) }
            }
            TypeExtension::Enum(it) => {
                Self { values: &it.values, ..Self::empty(Kind::Enum, &it.name, it.position, &it.directives) }
            }
            TypeExtension::InputObject(it) => {
                Self { inputs: &it.fields, ..Self::empty(Kind::Input, &it.name, it.position, &it.directives) }
            }
        }
    }
}
