//! From a plan to the calls that a subscription needs: arguments coerced, callers known.

use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::executable::Field;
use serde_json::Value;

use crate::graphql::bindings::Scope;
use crate::graphql::coerce::{self, Values};
use crate::graphql::error::GraphQLError;
use crate::graphql::faces::Face;
use crate::graphql::places::Places;
use crate::graphql::plan::Plan;
use crate::graphql::resolve::Resolution;
use crate::graphql::schema::Schema;
use crate::hub::audience::Identity;
use crate::hub::promise::Deferral;
use crate::source::functions::{Call, FunctionName, Functions};

/// Different calls that one event may need for one subscription.
const CALLS_MAX: usize = 32;

/// What the calls of a subscription are made from.
#[derive(Clone, Copy)]
pub(super) struct Calls<'a> {
    pub(super) schema: &'a Schema,
    pub(super) face: &'a Face,
    pub(super) places: &'a Places,
    pub(super) variables: &'a Values,
    pub(super) identity: &'a Identity,
}

impl Calls<'_> {
    /// What makes the results in place of the plan alone, if functions take part.
    pub(super) fn deferral(self, plan: &Plan) -> Result<Option<Arc<dyn Deferral>>, GraphQLError> {
        let Some(first) = plan.calls.first() else { return Ok(None) };
        let functions = self.functions(&first.field)?.clone();
        let mut calls: Vec<Call> = Vec::new();
        let mut sites = Vec::with_capacity(plan.calls.len());
        for site in &plan.calls {
            let call = self.call(&site.field, &site.resolver.function, site.resolver.scope)?;
            let place = calls.iter().position(|known| *known == call).unwrap_or(calls.len());
            if place == calls.len() {
                calls.push(call);
            }
            if calls.len() > CALLS_MAX {
                let message = format!("More than {CALLS_MAX} different calls of functions for one event");
                return Err(self.refused(&site.field, ("TOO_MANY_CALLS", message)));
            }
            sites.push(place);
        }
        let shared = &self.schema.shared;
        let resolution = Resolution {
            result: plan.result.clone(),
            sites: sites.into(),
            calls: calls.into(),
            functions,
            answers: shared.answers.clone(),
        };
        Ok(Some(shared.resolutions.intern(Arc::new(resolution))))
    }

    /// The call that decides whether the subscription may begin.
    pub(super) fn authorization(self, plan: &Plan) -> Result<Option<Call>, GraphQLError> {
        let Some(function) = self.schema.bindings.authorizer(&plan.field.name) else { return Ok(None) };
        self.functions(&plan.field)?;
        self.call(&plan.field, function, Scope::User).map(Some)
    }

    fn functions(&self, field: &Node<Field>) -> Result<&Arc<dyn Functions>, GraphQLError> {
        self.schema.options.functions.as_ref().ok_or_else(|| {
            let message = "This server calls no functions, and this field needs one".to_owned();
            self.refused(field, ("RESOLVER_UNAVAILABLE", message))
        })
    }

    fn call(
        self,
        field: &Node<Field>,
        function: &Arc<FunctionName>,
        scope: Scope,
    ) -> Result<Call, GraphQLError> {
        let arguments = coerce::arguments(&self.face.compiled, self.places, field, self.variables)?;
        let caller = self.schema.options.callers.caller(scope, self.identity);
        Ok(Call {
            function: function.clone(),
            caller: caller.map_err(|error| self.refused(field, error))?,
            arguments: Value::Object(arguments).to_string().into(),
        })
    }

    fn refused(self, field: &Node<Field>, (code, message): (&'static str, String)) -> GraphQLError {
        let locations = self.places.at(field.location());
        GraphQLError { locations, ..GraphQLError::new(code, message) }
    }
}
