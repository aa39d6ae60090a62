//! All documents as one: types with their extensions, by name.

use std::collections::{HashMap, HashSet};

use super::parse::{Directive, EnumValue, Field, InputValue, Type};
use super::problem::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Object,
    Interface,
    Union,
    Enum,
    Input,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Object => "object type",
            Self::Interface => "interface",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Input => "input type",
        }
    }

    pub(super) const fn with_article(self) -> &'static str {
        match self {
            Self::Scalar => "a scalar",
            Self::Object => "an object type",
            Self::Interface => "an interface",
            Self::Union => "a union",
            Self::Enum => "an enum",
            Self::Input => "an input type",
        }
    }

    /// The word that defines and extends it.
    pub(super) const fn keyword(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Object => "type",
            Self::Interface => "interface",
            Self::Union => "union",
            Self::Enum => "enum",
            Self::Input => "input",
        }
    }
}

/// Who made a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// Always there.
    BuiltIn,
    /// Always there or kept, and no field can have it: root types, enums of directives.
    Internal,
    /// Kept for the input types of what is named here.
    Kept(&'a str),
    /// Made from something in the database, named here.
    Derived(&'a str),
    Document(Place),
}

/// A part of a type, and where it stands.
pub(super) type Placed<T> = (Place, T);

#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) origin: Origin<'a>,
    pub(super) interfaces: Vec<Placed<&'a str>>,
    pub(super) fields: Vec<Placed<&'a Field>>,
    pub(super) inputs: Vec<Placed<&'a InputValue>>,
    pub(super) members: Vec<Placed<&'a str>>,
    pub(super) values: Vec<Placed<&'a EnumValue>>,
    pub(super) directives: Vec<Placed<&'a Directive>>,
}

impl<'a> Entry<'a> {
    pub(super) const fn new(name: &'a str, kind: Kind, origin: Origin<'a>) -> Self {
        Self {
            name,
            kind,
            origin,
            interfaces: Vec::new(),
            fields: Vec::new(),
            inputs: Vec::new(),
            members: Vec::new(),
            values: Vec::new(),
            directives: Vec::new(),
        }
    }

    /// What a message calls it.
    pub(super) fn described(&self) -> String {
        format!("{} {:?}", self.kind.name(), self.name)
    }
}

#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    /// Every definition, also a second one of the same name: its inside is checked all the same.
    pub(super) entries: Vec<Entry<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// Types with their interfaces, and members with their unions, for questions of "is a".
    parents: HashSet<(&'a str, &'a str)>,
    /// Enums with their values.
    values: HashSet<(&'a str, &'a str)>,
    /// Fields of input types.
    inputs: HashMap<(&'a str, &'a str), &'a InputValue>,
    /// Fields of input types that a value must have.
    required: HashMap<&'a str, Vec<&'a str>>,
}

impl<'a> Graph<'a> {
    /// Adds a type; the first of a name is the one that counts.
    pub(super) fn add(&mut self, entry: Entry<'a>) {
        self.by_name.entry(entry.name).or_insert(self.entries.len());
        self.entries.push(entry);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.by_name.get(name).map(|index| &self.entries[*index])
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Entry<'a>> {
        self.by_name.get(name).map(|index| &mut self.entries[*index])
    }

    /// A type that a field or argument can have.
    pub(super) fn usable(&self, name: &str) -> Option<&Entry<'a>> {
        self.get(name).filter(|entry| !matches!(entry.origin, Origin::Internal | Origin::Kept(_)))
    }

    /// Names of the types that a document defines.
    pub(super) fn defined_in(&self, document: usize) -> impl Iterator<Item = &'a str> {
        self.entries
            .iter()
            .filter(
                move |entry| matches!(entry.origin, Origin::Document(place) if place.document == document),
            )
            .map(|entry| entry.name)
    }

    /// After all types are complete: look-ups that must not depend on how large a type is.
    pub(super) fn index(&mut self) {
        for entry in &self.entries {
            let name = entry.name;
            self.parents.extend(entry.interfaces.iter().map(|(_, interface)| (name, *interface)));
            self.parents.extend(entry.members.iter().map(|(_, member)| (*member, name)));
            self.values.extend(entry.values.iter().map(|(_, value)| (name, value.name.as_str())));
            self.inputs.extend(entry.inputs.iter().map(|(_, input)| ((name, input.name.as_str()), *input)));
            let required = entry.inputs.iter().filter(|(_, input)| is_required(input));
            self.required.insert(name, required.map(|(_, input)| input.name.as_str()).collect());
        }
    }

    pub(super) fn has_value(&self, name: &str, value: &str) -> bool {
        self.values.contains(&(name, value))
    }

    pub(super) fn input(&self, name: &str, field: &str) -> Option<&InputValue> {
        self.inputs.get(&(name, field)).copied()
    }

    pub(super) fn required(&self, name: &str) -> &[&'a str] {
        self.required.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a field of type `inner` can stand for one of type `outer` (section 3.6.2, covariance).
    pub(super) fn is_subtype(&self, inner: &Type, outer: &Type) -> bool {
        match (inner, outer) {
            (Type::NonNullType(inner), Type::NonNullType(outer)) => self.is_subtype(inner, outer),
            (Type::NonNullType(inner), outer) => self.is_subtype(inner, outer),
            (Type::ListType(inner), Type::ListType(outer)) => self.is_subtype(inner, outer),
            (Type::NamedType(inner), Type::NamedType(outer)) => {
                inner == outer || self.parents.contains(&(inner.as_str(), outer.as_str()))
            }
            _ => false,
        }
    }
}

/// Whether it must be given: not null, and without a default.
pub(super) fn is_required(input: &InputValue) -> bool {
    matches!(input.value_type, Type::NonNullType(_)) && input.default_value.is_none()
}

/// The name inside of lists and `!`.
pub(super) fn innermost(written: &Type) -> &str {
    match written {
        Type::NamedType(name) => name,
        Type::ListType(inner) | Type::NonNullType(inner) => innermost(inner),
    }
}

/// A type as it is written.
pub(super) fn written(written_type: &Type) -> String {
    match written_type {
        Type::NamedType(name) => name.clone(),
        Type::ListType(inner) => format!("[{}]", written(inner)),
        Type::NonNullType(inner) => format!("{}!", written(inner)),
    }
}
