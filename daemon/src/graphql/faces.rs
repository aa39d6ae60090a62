//! The schema as each role sees it, made when the first of that role asks.

use std::collections::HashMap;
use std::sync::OnceLock;

use apollo_compiler::Name;
use apollo_compiler::collections::HashMap as NameMap;
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::Valid;

use crate::graphql::bindings::Bindings;
use crate::graphql::definitions::redact;
use crate::graphql::introspect::opened;
use crate::graphql::schema::SchemaError;

/// A schema that documents are validated for and executed on.
#[derive(Debug)]
pub(super) struct Face {
    pub(super) compiled: Valid<apollo_compiler::Schema>,
    /// The form of it that queries are executed on.
    pub(super) opened: Valid<apollo_compiler::Schema>,
    pub(super) implementers: NameMap<Name, Implementers>,
}

impl Face {
    pub(super) fn new(compiled: Valid<apollo_compiler::Schema>) -> Self {
        Self { opened: opened(&compiled), implementers: compiled.implementers_map(), compiled }
    }
}

/// One face for each role that any `@visibleTo` names, and one for everybody else: no more, whatever
/// roles tokens bring.
#[derive(Debug)]
pub(super) struct Faces(HashMap<Option<Box<str>>, OnceLock<Result<Face, String>>>);

impl Faces {
    pub(super) fn new(bindings: &Bindings) -> Self {
        let roles = bindings.roles().map(|role| Some(role.into())).chain([None]);
        Self(roles.map(|role| (role, OnceLock::new())).collect())
    }

    /// What a role sees of a schema.
    ///
    /// # Errors
    ///
    /// If that is no valid schema; the role then gets nothing rather than too much.
    pub(super) fn of(
        &self,
        role: &Option<Box<str>>,
        full: &Face,
        bindings: &Bindings,
    ) -> Result<&Face, SchemaError> {
        let slot = self.0.get(role).or_else(|| self.0.get(&None));
        let slot = slot.ok_or_else(|| SchemaError::Invalid("there is none for other roles".into()))?;
        let made = slot.get_or_init(|| {
            let redacted = redact(&full.compiled, bindings, role.as_deref());
            redacted.map(Face::new).map_err(|error| {
                tracing::error!(%error, ?role, "the schema has no valid form for a role, which is refused");
                error.to_string()
            })
        });
        made.as_ref().map_err(|message| SchemaError::Invalid(message.clone()))
    }
}
