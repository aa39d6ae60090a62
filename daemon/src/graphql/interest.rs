//! From a plan and its arguments to what the router looks up.

use std::collections::HashSet;

use serde_json::Value;

use crate::graphql::bindings::{Bindings, Root, RowRoot};
use crate::graphql::coerce::Values;
use crate::graphql::error::GraphQLError;
use crate::graphql::limits::Limits;
use crate::graphql::places::Places;
use crate::graphql::plan::Plan;
use crate::graphql::scalar;
use crate::hub::project::{Constraint, Interest, Topic};

/// Longest channel name, in bytes, as in the extension.
const CHANNEL_BYTES: usize = 63;

/// Routes a subscription. `row_events`: whether the subscriber may read tables through `events`.
pub(super) fn interest(
    plan: &Plan,
    arguments: &Values,
    bindings: &Bindings,
    limits: &Limits,
    row_events: bool,
) -> Result<Interest, (&'static str, String)> {
    let (topics, constraints) = match &*plan.root {
        Root::Events => (channel_topics(arguments, bindings, limits, row_events)?, Vec::new()),
        Root::Rows(rows) => (row_topics(rows), constraints(rows, arguments)?),
    };
    Ok(Interest { topics, constraints, projection: plan.result.clone() })
}

fn channel_topics(
    arguments: &Values,
    bindings: &Bindings,
    limits: &Limits,
    row_events: bool,
) -> Result<Vec<Topic>, (&'static str, String)> {
    let refused = |message: String| Err(("BAD_USER_INPUT", message));
    let channel = arguments.get("channel").and_then(Value::as_str).unwrap_or_default();
    if channel.is_empty() || channel.len() > CHANNEL_BYTES {
        return refused(format!("Argument channel: a channel has 1 to {CHANNEL_BYTES} bytes"));
    }
    if bindings.row_channels.contains(channel) && !row_events {
        let message = format!("Channel {channel:?} is fed by a table; subscribe to the table's own fields");
        return Err(("FORBIDDEN", message));
    }
    let types = match arguments.get("types") {
        None | Some(Value::Null) => return Ok(vec![Topic::Channel(channel.into())]),
        Some(types) => types.as_array().map(Vec::as_slice).unwrap_or_default(),
    };
    if types.is_empty() {
        return refused(
            "Argument types: an empty list matches no event; leave it out for all types".to_owned(),
        );
    }
    if types.len() > limits.list_items {
        return refused(format!("Argument types: at most {} types are allowed", limits.list_items));
    }
    let mut seen = HashSet::new();
    let types = types.iter().filter_map(Value::as_str).filter(|it| seen.insert(*it));
    Ok(types.map(|it| Topic::ChannelType(channel.into(), it.into())).collect())
}

fn row_topics(rows: &RowRoot) -> Vec<Topic> {
    rows.operations.iter().map(|operation| Topic::Row(rows.type_name.clone(), *operation)).collect()
}

/// An argument that is null or absent is no constraint: a client's optional variable asks for all.
fn constraints(rows: &RowRoot, arguments: &Values) -> Result<Vec<Constraint>, (&'static str, String)> {
    let mut constraints = Vec::new();
    for key in &rows.keys {
        let value = match arguments.get(&*key.argument) {
            None | Some(Value::Null) => continue,
            Some(value) => scalar::equality_text(&key.typname, value),
        };
        let value =
            value.map_err(|message| ("BAD_USER_INPUT", format!("Argument {}: {message}", key.argument)))?;
        constraints.push(Constraint { field: key.column.clone(), value });
    }
    constraints.sort_unstable_by(|one, other| one.field.cmp(&other.field));
    Ok(constraints)
}

/// Gives an error of routing its place: the root field.
pub(super) fn at_root((code, message): (&'static str, String), plan: &Plan, places: &Places) -> GraphQLError {
    let locations = places.at(plan.field.location());
    let path = vec![plan.field.response_key().as_str().into()];
    GraphQLError { locations, path, ..GraphQLError::new(code, message) }
}
