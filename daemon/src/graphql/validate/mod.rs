//! Section 5: which documents mean something in this schema.
//!
//! apollo-compiler checks most of it too. It stops at the first kind of mistake, names other places
//! than clients know from GraphQL's reference implementation, and leaves a few rules out; so the rules
//! stand here, in the order of the specification, and its check comes last (see `document`).
//!
//! # Layout
//!
//! `walk` goes through a document once and asks the rules: `operations`, `selections`, `arguments`
//! (directives too), `values`, `variables`, `fragments`, `merge`. Each answers with [`Finding`]s.

use std::collections::HashMap;

use apollo_compiler::Schema;
use apollo_compiler::ast::{Definition, Document, FragmentDefinition, Type};
use apollo_compiler::collections::HashMap as CompilerMap;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{ExtendedType, Implementers};
use apollo_compiler::{Name, Node};

use crate::graphql::error::GraphQLError;
use crate::graphql::places::Places;

mod walk;

mod operations;

mod selections;

mod arguments;

mod values;

mod variables;

mod fragments;

mod merge;

/// Findings that are reported; one mistake tends to have many.
const FINDINGS_MAX: usize = 20;

/// A place in the document.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Where a part begins.
    Part(Option<SourceSpan>),
    /// Where the selection of this field or operation begins.
    SelectionOf(Option<SourceSpan>),
}

/// What is wrong, and where.
#[derive(Debug)]
struct Finding {
    message: String,
    places: Vec<Place>,
}

impl Finding {
    fn new(message: impl Into<String>, places: impl IntoIterator<Item = Option<SourceSpan>>) -> Self {
        Self { message: message.into(), places: places.into_iter().map(Place::Part).collect() }
    }

    fn into_error(self, places: &Places) -> GraphQLError {
        let at = self.places.iter().flat_map(|place| match place {
            Place::Part(part) => places.at(*part),
            Place::SelectionOf(field) => places.selection(*field),
        });
        GraphQLError {
            locations: at.collect(),
            ..GraphQLError::new("GRAPHQL_VALIDATION_FAILED", self.message)
        }
    }
}

/// What the rules look things up in.
#[derive(Debug)]
struct Context<'a> {
    schema: &'a Schema,
    implementers: &'a CompilerMap<Name, Implementers>,
    document: &'a Document,
    /// The last one of each name.
    fragments: HashMap<&'a Name, &'a Node<FragmentDefinition>>,
}

impl<'a> Context<'a> {
    fn type_named(&self, name: &str) -> Option<&'a ExtendedType> {
        self.schema.types.get(name)
    }

    /// The type, if fields can be selected of it.
    fn composite(&self, name: &'a Name) -> Option<&'a Name> {
        match self.type_named(name)? {
            ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_) => Some(name),
            _ => None,
        }
    }

    fn is_input(&self, ty: &Type) -> bool {
        self.type_named(ty.inner_named_type()).is_some_and(ExtendedType::is_input_type)
    }

    /// DoesFragmentTypeApply.
    fn applies(&self, condition: &Name, object: &Name) -> bool {
        condition == object || self.schema.is_subtype(condition, object)
    }

    /// Whether some object is of both types.
    fn overlap(&self, one: &'a Name, other: &'a Name) -> bool {
        one == other || {
            let others = self.possible_objects(other);
            self.possible_objects(one).iter().any(|object| others.contains(object))
        }
    }

    fn possible_objects(&self, name: &'a Name) -> Vec<&'a Name> {
        match self.type_named(name) {
            Some(ExtendedType::Union(it)) => it.members.iter().map(|member| &member.name).collect(),
            Some(ExtendedType::Interface(_)) => {
                self.implementers.get(name).map(|it| it.objects.iter().collect()).unwrap_or_default()
            }
            _ => vec![name],
        }
    }

    /// Whether no object can be of both types because both are object types.
    fn exclude_each_other(&self, one: Option<&Name>, other: Option<&Name>) -> bool {
        let is_object = |name: Option<&Name>| {
            name.is_some_and(|name| matches!(self.type_named(name), Some(ExtendedType::Object(_))))
        };
        one != other && is_object(one) && is_object(other)
    }
}

/// Checks a document against a schema. The errors stand in the order in which a reader meets them,
/// [`FINDINGS_MAX`] at most.
pub(super) fn check(
    document: &Document,
    schema: &Schema,
    implementers: &CompilerMap<Name, Implementers>,
    places: &Places,
) -> Vec<GraphQLError> {
    let fragments = document.definitions.iter().filter_map(Definition::as_fragment_definition);
    let fragments = fragments.map(|fragment| (&fragment.name, fragment)).collect();
    let context = Context { schema, implementers, document, fragments };
    let findings = walk::document(&context).into_iter();
    findings.take(FINDINGS_MAX).map(|finding| finding.into_error(places)).collect()
}
