//! Execution of queries: introspection, and what the server says about itself.

use apollo_compiler::Node;
use apollo_compiler::collections::HashSet;
use apollo_compiler::executable::{ExecutableDocument, Field, Operation};
use apollo_compiler::introspection::check_max_depth;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::request::RequestError;
use apollo_compiler::resolvers::{Execution, FieldError, ObjectValue, ResolveInfo, ResolvedValue};
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::Valid;
use bytes::Bytes;

use crate::graphql::coerce::Values;
use crate::graphql::document::Document;
use crate::graphql::error::GraphQLError;
use crate::graphql::faces::Face;
use crate::graphql::introspect;
use crate::graphql::places::Places;
use crate::graphql::schema::Schema;

/// Executes a query that was validated for this face; the result is complete.
pub(super) fn execute(
    schema: &Schema,
    face: &Face,
    document: &Document,
    executable: &Valid<ExecutableDocument>,
    operation: &Operation,
    variables: Values,
) -> Result<Bytes, GraphQLError> {
    let internal =
        |error| GraphQLError::new("INTERNAL_SERVER_ERROR", format!("The result has no JSON: {error}"));
    let key = (document.id, operation.name.clone(), serde_json::to_string(&variables).map_err(internal)?);
    if let Some(result) = schema.results.get(&key) {
        return Ok(result);
    }
    let refused = |code, place: Option<SourceSpan>, error: RequestError| GraphQLError {
        locations: document.places.at(place.or(error.location())),
        ..GraphQLError::new(code, error.message().to_string())
    };
    check_introspection(schema, &document.places, executable, operation)?;
    let asking = operation.root_fields(executable).find(|field| is_introspection(&field.name));
    let asking = asking.and_then(|field| field.location());
    check_max_depth(executable, operation)
        .map_err(|error| refused("INTROSPECTION_TOO_DEEP", asking, error))?;
    let variables: JsonMap = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let response = Execution::new(&face.opened, executable)
        .operation(operation)
        .implementers_map(&face.implementers)
        // Coerced by this module's own rules, which are at least as strict.
        .coerced_variable_values(&Valid::assume_valid(variables))
        .execute_sync(&Query { schema, face })
        .map_err(|error| refused("BAD_USER_INPUT", None, error))?;
    let result = Bytes::from(serde_json::to_vec(&response).map_err(internal)?);
    let bytes = key.2.len() + result.len();
    Ok(schema.results.insert(key, result, bytes))
}

/// Whether introspection is on, and in what measure.
fn check_introspection(
    schema: &Schema,
    places: &Places,
    document: &ExecutableDocument,
    operation: &Operation,
) -> Result<(), GraphQLError> {
    let refused = |field: &Node<Field>, code, message: String| {
        let locations = places.at(field.location());
        Err(GraphQLError { locations, ..GraphQLError::new(code, message) })
    };
    let aliases_max = schema.options.limits.introspection_aliases;
    let mut aliases = 0;
    let mut names = HashSet::default();
    for field in operation.root_fields(document).filter(|field| is_introspection(&field.name)) {
        if !schema.options.introspection {
            let message = "Introspection is switched off on this server".to_owned();
            return refused(field, "INTROSPECTION_DISABLED", message);
        }
        // The first of each name repeats nothing.
        aliases += usize::from(!names.insert(&field.name));
        aliases += field.selection_set.all_fields(document).filter(|below| below.alias.is_some()).count();
        if aliases > aliases_max {
            let message = format!("Introspection with more than {aliases_max} aliases is refused");
            return refused(field, "TOO_MANY_ALIASES", message);
        }
    }
    Ok(())
}

fn is_introspection(field: &str) -> bool {
    matches!(field, "__schema" | "__type")
}

/// The root of queries.
struct Query<'s> {
    schema: &'s Schema,
    face: &'s Face,
}

/// `Query.tidings`.
struct ServerInfo<'a>(&'a Schema);

impl ObjectValue for Query<'_> {
    fn type_name(&self) -> &str {
        "Query"
    }

    fn resolve_field<'a>(&'a self, info: &'a ResolveInfo<'a>) -> Result<ResolvedValue<'a>, FieldError> {
        match info.field_name() {
            "tidings" => Ok(ResolvedValue::object(ServerInfo(self.schema))),
            "__schema" => Ok(introspect::schema(self.face)),
            "__type" => {
                let name = info.arguments().get("name").and_then(|name| name.as_str());
                Ok(introspect::named(self.face, name.unwrap_or_default()))
            }
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
