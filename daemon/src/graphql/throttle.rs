//! `@throttle` on the root field of a subscription.

use std::time::Duration;

use apollo_compiler::ast::Directive;
use apollo_compiler::executable::{ExecutableDocument, Field};
use apollo_compiler::{Node, Schema};

use crate::graphql::coerce::{self, Values};
use crate::graphql::error::GraphQLError;
use crate::graphql::places::Places;
use crate::graphql::plan::{self, Content, Kind};
use crate::graphql::scalar::Scalar;
use crate::hub::project::Throttle;

/// Longest interval.
const INTERVAL_MS_MAX: i64 = 3_600_000;
/// Longest key: more names than a document nests.
const KEY_NAMES_MAX: usize = 64;

/// The throttle that a root field asks for.
pub(super) fn of(
    schema: &Schema,
    document: &ExecutableDocument,
    places: &Places,
    field: &Node<Field>,
    variables: &Values,
    result: &plan::Field,
) -> Result<Option<Throttle>, GraphQLError> {
    let refused = |directive: &Node<Directive>, message: String| GraphQLError {
        locations: places.at(directive.location()),
        path: vec![field.response_key().as_str().into()],
        ..GraphQLError::new("BAD_USER_INPUT", message)
    };
    let mut below = field.selection_set.all_fields(document);
    if let Some(directive) = below.find_map(|below| below.directives.get("throttle")) {
        let message =
            "@throttle conflates the results of a subscription, so it stands on its root field only";
        return Err(refused(directive, message.to_owned()));
    }
    let Some(directive) = field.directives.get("throttle") else { return Ok(None) };
    let Some(definition) = schema.directive_definitions.get("throttle") else { return Ok(None) };
    let values = coerce::directive(schema, places, (field, directive), definition, variables)?;
    let interval = values.get("ms").and_then(serde_json::Value::as_i64).unwrap_or_default();
    if !(1..=INTERVAL_MS_MAX).contains(&interval) {
        return Err(refused(directive, format!("@throttle(ms:) is 1 to {INTERVAL_MS_MAX} milliseconds")));
    }
    let key = values.get("key").and_then(serde_json::Value::as_str);
    let key: Vec<Box<str>> = key.into_iter().flat_map(|key| key.split('.')).map(Into::into).collect();
    if key.len() > KEY_NAMES_MAX || key.iter().any(|name| name.is_empty()) {
        let message = "@throttle(key:) is a path of names in the response, such as \"record.id\"";
        return Err(refused(directive, message.to_owned()));
    }
    if !key.is_empty() && !leads_to_a_value(result, &key) {
        let message = "@throttle(key:) names no value of this selection: it is a path below the field, in the names of \
                       the response";
        return Err(refused(directive, message.to_owned()));
    }
    Ok(Some(Throttle { interval: Duration::from_millis(interval.unsigned_abs()), key }))
}

/// Whether a path below a field ends at a value. Below an interface or a union, of one of its types.
fn leads_to_a_value(field: &plan::Field, path: &[Box<str>]) -> bool {
    let Content::Value(_, shape) = &field.content else { return path.is_empty() };
    let Some((name, rest)) = path.split_first() else {
        return !matches!(shape.kind, Kind::Object(_) | Kind::Abstract(_));
    };
    let key = format!("{}:", serde_json::Value::from(&**name));
    let found = |fields: &[plan::Field]| {
        fields.iter().any(|below| *below.key == *key.as_bytes() && leads_to_a_value(below, rest))
    };
    match &shape.kind {
        Kind::Object(fields) => found(fields),
        Kind::Abstract(variants) => variants.iter().any(|variant| found(&variant.fields)),
        // Whatever JSON has below that name is not known before it is there.
        Kind::Leaf(scalar) => *scalar == Scalar::Json,
        Kind::Enum(_) | Kind::List(_) => false,
    }
}
