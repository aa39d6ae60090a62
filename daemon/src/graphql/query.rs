//! Execution of queries: introspection, and what the server says about itself.

use apollo_compiler::executable::{ExecutableDocument, Operation};
use apollo_compiler::introspection::check_max_depth;
use apollo_compiler::request::RequestError;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use bytes::Bytes;

use crate::graphql::coerce::Values;
use crate::graphql::document::locations;
use crate::graphql::error::GraphQLError;
use crate::graphql::schema::Schema;

/// Executes a validated query; the result is complete.
pub(super) fn execute(
    schema: &Schema,
    document: &Valid<ExecutableDocument>,
    operation: &Operation,
    variables: Values,
) -> Result<Bytes, GraphQLError> {
    if !schema.options.introspection
        && let Some(field) = operation.root_fields(document).find(|field| is_introspection(&field.name))
    {
        let message = "Introspection is switched off on this server";
        let locations = locations(field.location(), &document.sources);
        return Err(GraphQLError { locations, ..GraphQLError::new("INTROSPECTION_DISABLED", message) });
    }
    let refused = |code: &'static str| {
        move |error: RequestError| GraphQLError {
            locations: locations(error.location(), &document.sources),
            ..GraphQLError::new(code, error.message().to_string())
        }
    };
    check_max_depth(document, operation).map_err(refused("INTROSPECTION_TOO_DEEP"))?;
    let variables: JsonMap = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let response = Execution::new(&schema.compiled, document)
        .operation(operation)
        .implementers_map(&schema.implementers)
        // Coerced by this module's own rules, which are at least as strict.
        .coerced_variable_values(&Valid::assume_valid(variables))
        .enable_schema_introspection(true)
        .execute_sync(&Query(schema))
        .map_err(refused("BAD_USER_INPUT"))?;
    let internal =
        |error| GraphQLError::new("INTERNAL_SERVER_ERROR", format!("The result has no JSON: {error}"));
    serde_json::to_vec(&response).map(Bytes::from).map_err(internal)
}

fn is_introspection(field: &str) -> bool {
    matches!(field, "__schema" | "__type")
}

/// The root of queries.
struct Query<'a>(&'a Schema);

/// `Query.tidings`.
struct ServerInfo<'a>(&'a Schema);

impl ObjectValue for Query<'_> {
    fn type_name(&self) -> &str {
        "Query"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "tidings" => Ok(ResolvedValue::object(ServerInfo(self.0))),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}

impl ObjectValue for ServerInfo<'_> {
    fn type_name(&self) -> &str {
        "ServerInfo"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "version" => Ok(ResolvedValue::leaf(env!("CARGO_PKG_VERSION"))),
            "schemaVersion" => Ok(ResolvedValue::leaf(self.0.version().to_string())),
            _ => Err(self.unknown_field_error(info)),
        }
    }
}
