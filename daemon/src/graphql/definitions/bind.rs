//! From directives to bindings: what each custom root field listens to, what its arguments compare, and
//! who may see which field.

use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::{FieldDefinition, InputValueDefinition};
use apollo_compiler::schema::ExtendedType;

use super::directives::{Match, OnEvent, visible_to};
use super::reach::reachable;
use crate::graphql::bindings::{Bindings, MatchArgument, PublishedRoot, Root, Source};
use crate::graphql::filter::comparable::Comparable;
use crate::graphql::labels::Labels;

/// Binds every field of a schema that custom SDL has defined.
///
/// # Errors
///
/// What cannot be served, for people.
pub(super) fn bind(schema: &Schema, bindings: &mut Bindings) -> Result<(), String> {
    for (name, definition) in schema.types.iter().filter(|(_, definition)| !definition.is_built_in()) {
        match definition {
            ExtendedType::Enum(it) if bindings.labels(name).is_none() => {
                let labels = Labels::of_names(it.values.keys().map(|value| value.as_str()));
                bindings.enum_type(name, Arc::new(labels));
            }
            ExtendedType::Object(it) => {
                for (field, definition) in &it.fields {
                    refuse_functions(&format!("{name}.{field}"), definition)?;
                    if let Some(roles) = visible_to(&definition.directives) {
                        bindings.hide(name, field, roles);
                    }
                }
            }
            _ => {}
        }
    }
    let Some(subscription) = schema.get_object("Subscription") else { return Ok(()) };
    let implementers = schema.implementers_map();
    for (name, field) in &subscription.fields {
        match OnEvent::of(&field.directives) {
            Some(event) => {
                let reached = reachable(schema, &implementers, field.ty.inner_named_type());
                let redacted = bindings.hides_from_some("Subscription", name)
                    || reached.into_iter().any(|it| bindings.hides_any_of(it));
                if redacted {
                    bindings.redacted_channels.insert(event.channel.clone());
                }
                let root = published(schema, bindings, name, field, event)?;
                bindings.root_field(name, Root::Published(root));
            }
            None if bindings.root(name).is_some() => {}
            None => return Err(format!("Subscription.{name} has no @event, so it has nothing to listen to")),
        }
    }
    Ok(())
}

/// Fields that a function of the database would serve.
fn refuse_functions(coordinate: &str, field: &FieldDefinition) -> Result<(), String> {
    for directive in ["resolve", "authorize"] {
        if field.directives.has(directive) {
            return Err(format!("{coordinate} has @{directive}, which this version does not serve"));
        }
    }
    Ok(())
}

fn published(
    schema: &Schema,
    bindings: &Bindings,
    name: &str,
    field: &FieldDefinition,
    event: OnEvent,
) -> Result<PublishedRoot, String> {
    if bindings.row_channels.contains(&event.channel) {
        return Err(format!(
            "Subscription.{name} listens to channel {:?}, which a table feeds: it would bypass the table's columns",
            event.channel
        ));
    }
    let return_type = field.ty.inner_named_type();
    let objects = schema.types.keys().filter(|name| {
        *name == return_type || schema.is_subtype(return_type, name) && schema.get_object(name).is_some()
    });
    let is_object = schema.get_object(return_type).is_some() && !field.ty.is_list();
    Ok(PublishedRoot {
        channel: event.channel,
        types: event.types,
        matches: field.arguments.iter().filter_map(|argument| match_argument(argument)).collect(),
        objects: objects.map(|object| object.as_str().into()).collect(),
        value: if is_object { Source::Payload } else { Source::Data },
    })
}

fn match_argument(argument: &InputValueDefinition) -> Option<MatchArgument> {
    let Match::Member(field) = Match::of(&argument.name, &argument.directives) else { return None };
    // By the text that the publisher wrote, numbers by their value. BigFloat is a text in GraphQL and
    // usually a number in a payload.
    let comparable = match argument.ty.inner_named_type().as_str() {
        "BigFloat" => Comparable::Decimal,
        _ => Comparable::Text,
    };
    Some(MatchArgument { argument: argument.name.as_str().into(), field, comparable })
}
