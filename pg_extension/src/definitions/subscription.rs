//! What our own directives mean where they stand: events, arguments, roles and functions.

use std::collections::HashMap;

use serde::Serialize;

use super::compose::{Readable, SUBSCRIPTION};
use super::directives::{argument, find};
use super::graph::{Entry, Graph, Kind, Origin, innermost};
use super::parse::{Directive, Field, InputValue, Type, Value};
use super::problem::{Place, Problems};
use super::world::World;

const CHANNEL_BYTES_MAX: usize = crate::publish::CHANNEL_BYTES_MAX;
const TYPE_BYTES_MAX: usize = crate::publish::KEY_BYTES_MAX;

/// A function that a document names; the database knows whether there is one.
#[derive(Debug, Serialize)]
pub(super) struct FunctionUse {
    #[serde(skip)]
    pub(super) document: usize,
    line: usize,
    column: usize,
    directive: &'static str,
    function: String,
}

pub(super) struct Meaning<'a, 'c> {
    pub(super) graph: &'c Graph<'a>,
    pub(super) documents: &'c [Readable<'a>],
    pub(super) world: &'c World,
    pub(super) problems: &'c mut Problems,
    pub(super) functions: Vec<FunctionUse>,
}

impl<'a> Meaning<'a, '_> {
    pub(super) fn fields(&mut self) {
        let graph = self.graph;
        for entry in &graph.entries {
            match (entry.kind, entry.origin) {
                (Kind::Object, Origin::Document(_)) => {
                    entry.fields.iter().for_each(|(place, field)| self.object_field(*place, field));
                }
                (Kind::Interface, Origin::Document(_)) => {
                    entry.fields.iter().for_each(|(place, field)| self.interface_field(*place, field));
                }
                _ => {}
            }
        }
        if let Some(subscription) = graph.get(SUBSCRIPTION) {
            self.subscription(subscription);
        }
    }

    fn object_field(&mut self, place: Place, field: &'a Field) {
        for directive in &field.directives {
            let at = self.place(place.document, directive.position);
            if matches!(directive.name.as_str(), "event" | "authorize") {
                let message = format!("@{} belongs on fields of Subscription only", directive.name);
                self.problems.add(at, message);
            }
        }
        self.roles_and_functions(place.document, field);
        for argument in &field.arguments {
            if let Some(used) = find(&argument.directives, "match") {
                let at = self.place(place.document, used.position);
                self.problems.add(at, "@match belongs on arguments of fields of Subscription only");
            }
        }
    }

    fn interface_field(&mut self, place: Place, field: &'a Field) {
        let ours = ["event", "authorize", "visibleTo", "resolve"];
        let on_field = field.directives.iter().filter(|used| ours.contains(&used.name.as_str()));
        let on_arguments = field.arguments.iter().filter_map(|it| find(&it.directives, "match"));
        for used in on_field.chain(on_arguments) {
            let at = self.place(place.document, used.position);
            let advice = match used.name.as_str() {
                "visibleTo" | "resolve" => "put it on the field of each object type instead",
                _ => "it belongs to fields of Subscription",
            };
            self.problems.add(at, format!("@{} cannot stand in an interface; {advice}", used.name));
        }
    }

    fn subscription(&mut self, subscription: &Entry<'a>) {
        let taken: HashMap<&str, &str> = self
            .world
            .tables
            .iter()
            .flat_map(|table| table.root_fields.iter().map(|field| (field.as_str(), table.table.as_str())))
            .collect();
        let mut defined: HashMap<&str, Place> = HashMap::new();
        for (place, name) in &subscription.interfaces {
            self.problems.add(*place, format!("Subscription cannot implement {name:?}"));
        }
        for (place, field) in &subscription.fields {
            if self.problems.is_full(place.document) {
                continue;
            }
            let name = field.name.as_str();
            let clash = match defined.get(name) {
                Some(first) if first.document == place.document => {
                    Some(format!("is already defined in line {}", first.line))
                }
                Some(first) => {
                    Some(format!("is already defined in document {:?}", self.documents[first.document].name))
                }
                None if name == "events" => Some("is built in".to_owned()),
                None => taken.get(name).map(|table| format!("belongs to attached table {table}")),
            };
            if let Some(clash) = clash {
                let message = format!("field {name:?} of Subscription {clash}; choose another name");
                self.problems.add(*place, message);
            }
            defined.entry(name).or_insert(*place);
            self.subscription_field(*place, field);
        }
    }

    fn subscription_field(&mut self, place: Place, field: &'a Field) {
        match find(&field.directives, "event") {
            Some(event) => self.event(self.place(place.document, event.position), event),
            None => self.problems.add(
                place,
                format!(
                    "field {:?} of Subscription needs @event(channel: \"...\", type: \"...\")",
                    field.name
                ),
            ),
        }
        self.roles_and_functions(place.document, field);
        let calls = ["resolve", "authorize"].into_iter().any(|name| find(&field.directives, name).is_some());
        for argument in &field.arguments {
            self.subscription_argument(self.place(place.document, argument.position), argument, calls);
        }
    }

    fn event(&mut self, place: Place, event: &Directive) {
        if let Some(Value::String(channel)) = argument(event, "channel") {
            let feeding = self.world.tables.iter().find(|table| table.channel == *channel);
            if channel.is_empty() || channel.len() > CHANNEL_BYTES_MAX {
                let message = format!(
                    "the channel of @event is {} bytes long, allowed are 1 to {CHANNEL_BYTES_MAX}",
                    channel.len()
                );
                self.problems.add(place, message);
            } else if let Some(table) = feeding {
                let message = format!(
                    "channel {channel:?} is fed by attached table {}; use the table's own fields, such as {}",
                    table.table,
                    table.root_fields.last().map_or("", String::as_str)
                );
                self.problems.add(place, message);
            }
        }
        let (single, several) = (argument(event, "type"), argument(event, "types"));
        if single.is_some() && several.is_some() {
            self.problems.add(place, "@event has both type and types; use one of them");
        }
        for (name, value) in [("type", single), ("types", several)] {
            match value {
                Some(Value::Null) => {
                    let message = format!("{name} of @event is null; leave it out to mean every type");
                    self.problems.add(place, message);
                }
                Some(Value::List(items)) if items.is_empty() => {
                    self.problems.add(place, "types of @event is empty; leave it out to mean every type");
                }
                Some(Value::List(items)) => items.iter().for_each(|item| self.event_type(place, item)),
                Some(item) => self.event_type(place, item),
                None => {}
            }
        }
    }

    fn event_type(&mut self, place: Place, value: &Value) {
        if let Value::String(text) = value
            && (text.is_empty() || text.len() > TYPE_BYTES_MAX)
        {
            let message = format!(
                "an event type of @event is {} bytes long, allowed are 1 to {TYPE_BYTES_MAX}",
                text.len()
            );
            self.problems.add(place, message);
        }
    }

    fn subscription_argument(&mut self, place: Place, input: &'a InputValue, calls: bool) {
        let name = input.name.as_str();
        let matched = find(&input.directives, "match").and_then(|used| argument(used, "field"));
        let is_matched = !matches!(matched, Some(Value::Null));
        if let Some(Value::String(field)) = matched
            && field.is_empty()
        {
            self.problems.add(place, format!("@match of argument {name:?} names an empty field"));
        }
        if !is_matched {
            if !calls {
                let message = format!(
                    "argument {name:?} would do nothing: it is not matched, and there is neither @resolve nor \
                     @authorize"
                );
                self.problems.add(place, message);
            }
            return;
        }
        let is_input =
            self.graph.usable(innermost(&input.value_type)).is_some_and(|it| it.kind == Kind::Input);
        if is_input {
            let message = format!(
                "argument {name:?} is of an input type, which cannot be matched; add @match(field: null) and \
                 @resolve or @authorize"
            );
            self.problems.add(place, message);
        } else if list_depth(&input.value_type) > 1 {
            self.problems
                .add(place, format!("argument {name:?} is a list of lists; a list matches any of its items"));
        }
    }

    fn roles_and_functions(&mut self, document: usize, field: &'a Field) {
        for used in &field.directives {
            let place = self.place(document, used.position);
            match used.name.as_str() {
                "visibleTo" => self.roles(place, used),
                "resolve" => self.function(place, "resolve", used),
                "authorize" => self.function(place, "authorize", used),
                _ => {}
            }
        }
    }

    fn roles(&mut self, place: Place, used: &Directive) {
        let (is_empty, names_nobody) = match argument(used, "roles") {
            Some(Value::List(roles)) => {
                (roles.is_empty(), roles.iter().any(|role| *role == Value::String(String::new())))
            }
            Some(role) => (false, *role == Value::String(String::new())),
            None => return,
        };
        if is_empty {
            self.problems.add(place, "@visibleTo names no role; leave the field out if nobody may see it");
        } else if names_nobody {
            self.problems.add(place, "@visibleTo names an empty role");
        }
    }

    fn function(&mut self, place: Place, directive: &'static str, used: &Directive) {
        if let Some(Value::String(function)) = argument(used, "function") {
            let Place { document, line, column } = place;
            let function = function.clone();
            self.functions.push(FunctionUse { document, line, column, directive, function });
        }
    }

    fn place(&self, document: usize, position: graphql_parser::Pos) -> Place {
        self.documents[document].place(document, position)
    }
}

fn list_depth(written: &Type) -> usize {
    match written {
        Type::NamedType(_) => 0,
        Type::ListType(inner) => 1 + list_depth(inner),
        Type::NonNullType(inner) => list_depth(inner),
    }
}

/// What a document adds to Subscription: names of fields, and the channels of their events.
pub(super) fn added_by(graph: &Graph<'_>, document: usize) -> (Vec<String>, Vec<String>) {
    let fields = graph.get(SUBSCRIPTION).map(|entry| entry.fields.as_slice()).unwrap_or_default();
    let fields = || fields.iter().filter(|(place, _)| place.document == document).map(|(_, field)| *field);
    let channels = fields().filter_map(|field| {
        let event = find(&field.directives, "event")?;
        match argument(event, "channel") {
            Some(Value::String(channel)) => Some(channel.clone()),
            _ => None,
        }
    });
    (fields().map(|field| field.name.clone()).collect(), channels.collect())
}
