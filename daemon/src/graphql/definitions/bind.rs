//! From directives to bindings: what each custom root field listens to, what its arguments compare, and
//! who may see which field.

use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::ast::{FieldDefinition, InputValueDefinition};
use apollo_compiler::schema::ExtendedType;

use super::directives::{self, Match, OnEvent, visible_to};
use super::reach::reachable;
use crate::graphql::bindings::{Bindings, MatchArgument, PublishedRoot, Resolver, Root, Scope, Source};
use crate::graphql::filter::comparable::Comparable;
use crate::graphql::labels::Labels;
use crate::source::functions::FunctionName;

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
                    functions(name, field, definition, bindings)?;
                    if let Some(roles) = visible_to(&definition.directives) {
                        bindings.hide(name, field, roles);
                    }
                }
            }
            ExtendedType::Interface(it) => {
                let served = |field: &&FieldDefinition| {
                    field.directives.has("resolve") || field.directives.has("authorize")
                };
                if let Some(field) = it.fields.values().map(|field| &***field).find(served) {
                    return Err(format!(
                        "{name}.{} belongs to an interface: a function serves the fields of object types",
                        field.name
                    ));
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
                let redacted = bindings.authorizer(name).is_some()
                    || bindings.hides_from_some("Subscription", name)
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

/// The functions that serve a field.
fn functions(
    type_name: &str,
    field: &str,
    definition: &FieldDefinition,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let named = |name: &str| {
        FunctionName::parse(name).ok_or_else(|| {
            format!("{type_name}.{field} names the function {name:?}: write its schema and its name, schema.function")
        })
    };
    if let Some((function, scope)) = directives::resolve(&definition.directives) {
        let scope = match &*scope {
            "EVENT" => Scope::Event,
            "TENANT" => Scope::Tenant,
            _ => Scope::User,
        };
        bindings.resolve(type_name, field, Resolver { function: Arc::new(named(&function)?), scope });
    }
    if let Some(function) = directives::authorize(&definition.directives) {
        if type_name != "Subscription" {
            return Err(format!("{type_name}.{field} has @authorize, which is for fields of Subscription"));
        }
        bindings.authorize(field, named(&function)?);
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
