//! From a plan and its arguments to what the router looks up.

use std::collections::HashSet;

use serde_json::Value;

use crate::graphql::bindings::{Bindings, FilterArgument, PublishedRoot, Root, RowRoot};
use crate::graphql::coerce::Values;
use crate::graphql::error::GraphQLError;
use crate::graphql::filter::{self, Filter, RowFilter, operators};
use crate::graphql::limits::Limits;
use crate::graphql::places::Places;
use crate::graphql::plan::Plan;
use crate::graphql::viewer::Viewer;
use crate::hub::project::{Constraint, Topic};

/// Longest channel name, in bytes, as in the extension.
const CHANNEL_BYTES: usize = 63;

/// Where a subscription listens and what it asks of an event: an interest without its projection.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) topics: Vec<Topic>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) residual: Option<RowFilter>,
}

/// Routes a subscription.
pub(super) fn route(
    plan: &Plan,
    arguments: &Values,
    bindings: &Bindings,
    limits: &Limits,
    viewer: &Viewer,
) -> Result<Route, (&'static str, String)> {
    match &*plan.root {
        Root::Events => {
            let topics = channel_topics(arguments, bindings, limits, viewer)?;
            Ok(Route { topics, constraints: Vec::new(), residual: None })
        }
        Root::Rows(rows) => {
            let mut constraints = constraints(rows, arguments)?;
            let residual = residual(&rows.filter, arguments, limits, &mut constraints)?;
            Ok(Route { topics: row_topics(rows), constraints, residual })
        }
        Root::Published(published) => {
            let mut constraints = Vec::new();
            let residual = matches(published, arguments, bindings, limits, viewer, &mut constraints)?;
            Ok(Route { topics: published_topics(published), constraints, residual })
        }
    }
}

fn channel_topics(
    arguments: &Values,
    bindings: &Bindings,
    limits: &Limits,
    viewer: &Viewer,
) -> Result<Vec<Topic>, (&'static str, String)> {
    let refused = |message: String| Err(("BAD_USER_INPUT", message));
    let channel = arguments.get("channel").and_then(Value::as_str).unwrap_or_default();
    if channel.is_empty() || channel.len() > CHANNEL_BYTES {
        return refused(format!("Argument channel: a channel has 1 to {CHANNEL_BYTES} bytes"));
    }
    let closed = if bindings.row_channels.contains(channel) {
        Some("is fed by a table; subscribe to the table's own fields")
    } else if bindings.all_channels_closed || bindings.redacted_channels.contains(channel) {
        Some("has fields of its own that hide something or ask who subscribes; subscribe to those")
    } else {
        None
    };
    if bindings.secured_channels.contains(channel) && !viewer.admin {
        let message = format!(
            "Channel {channel:?} is fed by a table with row security; subscribe to the table's own fields"
        );
        return Err(("FORBIDDEN", message));
    }
    if let Some(why) = closed.filter(|_| !viewer.reads_all_channels) {
        return Err(("FORBIDDEN", format!("Channel {channel:?} {why}")));
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

fn published_topics(published: &PublishedRoot) -> Vec<Topic> {
    let channel = &published.channel;
    match &published.types {
        None => vec![Topic::Channel(channel.clone())],
        Some(types) => {
            let mut seen = HashSet::new();
            let types = types.iter().filter(|it| seen.insert(&***it));
            types.map(|it| Topic::ChannelType(channel.clone(), it.clone())).collect()
        }
    }
}

/// The arguments that the payload must match. One that is null or absent asks for nothing.
fn matches(
    published: &PublishedRoot,
    arguments: &Values,
    bindings: &Bindings,
    limits: &Limits,
    viewer: &Viewer,
    constraints: &mut Vec<Constraint>,
) -> Result<Option<RowFilter>, (&'static str, String)> {
    let mut all = Vec::new();
    for it in &published.matches {
        let Some(value) = arguments.get(&*it.argument).filter(|value| !value.is_null()) else { continue };
        // Who may not see a field may not find out its value by asking for it either.
        let role = viewer.role.as_deref();
        if published.objects.iter().any(|object| bindings.hides(object, &it.field, role)) {
            let message =
                format!("Argument {}: the field that it matches is not visible to your role", it.argument);
            return Err(("FORBIDDEN", message));
        }
        let one_of = filter::one_of(&it.field, &it.comparable, value, limits);
        all.push(
            one_of.map_err(|message| ("BAD_USER_INPUT", format!("Argument {}: {message}", it.argument)))?,
        );
    }
    Ok(filter::split(Filter::All(all), false, constraints))
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
            Some(value) => key.comparable.spelling(value),
        };
        let value =
            value.map_err(|message| ("BAD_USER_INPUT", format!("Argument {}: {message}", key.argument)))?;
        constraints.push(Constraint { field: key.column.clone(), values: vec![value] });
    }
    constraints.sort_unstable_by(|one, other| one.field.cmp(&other.field));
    Ok(constraints)
}

/// The filter, but for what became constraints.
fn residual(
    argument: &FilterArgument,
    arguments: &Values,
    limits: &Limits,
    constraints: &mut Vec<Constraint>,
) -> Result<Option<RowFilter>, (&'static str, String)> {
    let Some(value) = arguments.get(&*argument.argument).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let filter = filter::compile(&argument.filter_type, value, limits)
        .map_err(|refused| ("BAD_USER_INPUT", refused.describe(&argument.argument)))?;
    let scope = argument.scope.as_ref().and_then(|scope| arguments.get(&**scope));
    let old = scope.is_some_and(|scope| scope == operators::SCOPE_EITHER);
    Ok(filter::split(filter, old, constraints))
}

/// Gives an error of routing its place: the root field.
pub(super) fn at_root((code, message): (&'static str, String), plan: &Plan, places: &Places) -> GraphQLError {
    let locations = places.at(plan.field.location());
    let path = vec![plan.field.response_key().as_str().into()];
    GraphQLError { locations, path, ..GraphQLError::new(code, message) }
}
