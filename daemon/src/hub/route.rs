//! The router: which groups of subscriptions an event matches, by hash look-ups alone.
//!
//! Subscriptions are filed by topic, then by the *shape* of their equality constraints (the
//! fields they constrain), then by the values of those fields, then by identity. An event costs one
//! look-up per shape of its topics, whatever the number of subscriptions that do not match. What is
//! found there may still have a residual predicate; equal ones are evaluated once for an event.

use std::fmt::Write;
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::one::Ref;
use indexmap::IndexMap;

use super::audience::{ByAudience, Identity};
use super::equality::normal_form;
use super::initial::Initial;
use super::mailbox::{Mailbox, SubscriptionId};
use super::project::{Constraint, Interest, ParsedEvent, Predicate, Projection, Topic};
use super::promise::Deferral;
use super::subscribed::Subscribed;
use super::table::Table;
use crate::event::{Event, Operation};

/// A live subscription as the hub knows it.
#[derive(Debug)]
pub struct Subscriber {
    /// Unique within the hub.
    pub(super) id: u64,
    /// Its number within its connection.
    pub subscription: SubscriptionId,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) interest: Interest,
    pub(super) identity: Arc<Identity>,
    /// What comes before the stream: rows that it begins with, or events that it has missed.
    pub(super) initial: Option<Arc<Initial>>,
    /// The subscription that goes by it.
    pub(super) owner: Weak<Subscribed>,
}

/// Subscribers of one identity that share residual, projection and deferral: they get the same bytes of the same
/// events.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) residual: Option<Arc<dyn Predicate>>,
    pub(super) projection: Arc<dyn Projection>,
    pub(super) deferral: Option<Arc<dyn Deferral>>,
    pub(super) subscribers: IndexMap<u64, Arc<Subscriber>>,
}

/// Groups by what their subscribers share.
pub(super) type Groups = IndexMap<GroupKey, Group>;

/// The addresses of a group's residual, projection and deferral.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) residual: Option<usize>,
    pub(super) projection: usize,
    pub(super) deferral: Option<usize>,
}

impl GroupKey {
    fn of(interest: &Interest) -> Self {
        Self {
            residual: interest.residual.as_ref().map(address),
            projection: address(&interest.projection),
            deferral: interest.deferral.as_ref().map(address),
        }
    }
}

/// Every subscription, filed.
#[derive(Debug, Default)]
pub(super) struct Router {
    topics: DashMap<Box<str>, Shapes>,
}

#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

#[derive(Debug)]
struct Shape {
    /// The constrained fields, sorted.
    fields: Box<[Box<str>]>,
    /// By the values of the fields, see [`append_value`].
    nodes: Table<Box<str>, Box<ByAudience<Groups>>>,
}

/// How an event found the groups that it is shown to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// By its values: a subscriber is met once at most.
    ByValues,
    /// By looking at every node, since it has no values to look up: a subscriber that is filed under
    /// several is met several times.
    ByScan,
}

impl Router {
    /// Files a subscriber under each of its topics.
    pub(super) fn insert(&self, subscriber: &Arc<Subscriber>) {
        let interest = &subscriber.interest;
        let keys = node_keys(&interest.constraints);
        for topic in &interest.topics {
            let mut shapes = self.topics.entry(topic_key(topic).into()).or_default();
            let shape = shapes.shape_mut(&interest.constraints);
            for key in &keys {
                let node = shape.nodes.get_or_default(key.as_str().into());
                let group = node.entry(&subscriber.identity).entry(GroupKey::of(interest));
                let group = group.or_insert_with(|| Group {
                    residual: interest.residual.clone(),
                    projection: interest.projection.clone(),
                    deferral: interest.deferral.clone(),
                    subscribers: IndexMap::new(),
                });
                group.subscribers.insert(subscriber.id, subscriber.clone());
            }
        }
    }

    /// Removes a subscriber and whatever is empty without it. Removing twice does nothing.
    pub(super) fn remove(&self, subscriber: &Subscriber) {
        let keys = node_keys(&subscriber.interest.constraints);
        for topic in &subscriber.interest.topics {
            let topic = topic_key(topic);
            if let Some(mut shapes) = self.topics.get_mut(topic.as_str()) {
                shapes.remove(subscriber, &keys);
            }
            self.topics.remove_if(topic.as_str(), |_, shapes| shapes.0.is_empty());
        }
    }

    /// Every subscriber, once for each of its topics.
    pub(super) fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        let mut all = Vec::new();
        for topic in &self.topics {
            for node in topic.0.iter().flat_map(|shape| shape.nodes.values()) {
                node.for_each(|groups| {
                    all.extend(groups.values().flat_map(|group| group.subscribers.values().cloned()));
                });
            }
        }
        all
    }

    /// What is filed under the topics of an event. Holds their locks until dropped.
    pub(super) fn shapes_of<'a>(&'a self, event: &Event) -> impl Iterator<Item = Ref<'a, Box<str>, Shapes>> {
        let row =
            event.type_name.as_ref().zip(event.operation).map(|(name, operation)| row_key(name, operation));
        let channel = channel_key(&event.channel);
        let channel_type = channel_type_key(&event.channel, &event.event_type);
        row.into_iter().chain([channel, channel_type]).filter_map(|key| self.topics.get(key.as_str()))
    }
}

impl Shapes {
    fn shape_mut(&mut self, constraints: &[Constraint]) -> &mut Shape {
        let same = |shape: &Shape| shape.has_fields_of(constraints);
        let index = self.0.iter().position(same).unwrap_or_else(|| {
            let fields = constraints.iter().map(|constraint| constraint.field.clone()).collect();
            self.0.push(Shape { fields, nodes: Table::default() });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn remove(&mut self, subscriber: &Subscriber, keys: &[String]) {
        let same = |shape: &Shape| shape.has_fields_of(&subscriber.interest.constraints);
        let Some(index) = self.0.iter().position(same) else { return };
        let nodes = &mut self.0[index].nodes;
        for key in keys {
            let Some(node) = nodes.get_mut(key.as_str()) else { continue };
            let Some(groups) = node.get_mut(&subscriber.identity) else { continue };
            let group_key = GroupKey::of(&subscriber.interest);
            if let Some(group) = groups.get_mut(&group_key) {
                group.subscribers.swap_remove(&subscriber.id);
                if group.subscribers.is_empty() {
                    groups.swap_remove(&group_key);
                }
            }
            if groups.is_empty() {
                node.remove(&subscriber.identity);
            }
            if node.is_empty() {
                nodes.remove(key.as_str());
            }
        }
        if nodes.is_empty() {
            self.0.swap_remove(index);
        }
    }

    /// Calls `visit` with every set of groups whose constraints and identity the event satisfies.
    pub(super) fn for_each_match(&self, parsed: &ParsedEvent<'_>, mut visit: impl FnMut(&Groups, Found)) {
        let mut key = String::new();
        for shape in &self.0 {
            // A TRUNCATE has no record to look at and concerns every subscriber of the table.
            if parsed.event.operation == Some(Operation::Truncate) {
                let mut visit = |groups: &Groups| visit(groups, Found::ByScan);
                shape.nodes.values().for_each(|node| node.for_each_admitted(parsed.event, &mut visit));
                continue;
            }
            key.clear();
            match shape.append_key(parsed, &mut key) {
                Lookup::Complete => {
                    if let Some(node) = shape.nodes.get(key.as_str()) {
                        node.for_each_admitted(parsed.event, |groups| visit(groups, Found::ByValues));
                    }
                }
                Lookup::Impossible => {}
                Lookup::Unknown => {
                    let nodes = shape.nodes.iter().filter(|(key, _)| shape.may_match(parsed, key));
                    let mut visit = |groups: &Groups| visit(groups, Found::ByScan);
                    nodes.for_each(|(_, node)| node.for_each_admitted(parsed.event, &mut visit));
                }
            }
        }
    }
}

/// Whether an event has the values that a shape looks up.
enum Lookup {
    Complete,
    /// One is null, or nothing that could be equal to anything.
    Impossible,
    /// One was not kept, because the record was too large: nobody can say that it differs.
    Unknown,
}

impl Shape {
    fn has_fields_of(&self, constraints: &[Constraint]) -> bool {
        self.fields.iter().eq(constraints.iter().map(|constraint| &constraint.field))
    }

    fn append_key(&self, parsed: &ParsedEvent<'_>, key: &mut String) -> Lookup {
        for field in &self.fields {
            match parsed.record.get(field) {
                None if parsed.event.truncated => return Lookup::Unknown,
                None => return Lookup::Impossible,
                Some(json) => match normal_form(json) {
                    Some(value) => append_value(key, &value),
                    None => return Lookup::Impossible,
                },
            }
        }
        Lookup::Complete
    }

    /// Whether the values that were kept of a record are those of a node.
    fn may_match(&self, parsed: &ParsedEvent<'_>, node_key: &str) -> bool {
        let mut rest = node_key;
        self.fields.iter().all(|field| {
            let Some(value) = take_value(&mut rest) else { return false };
            parsed.record.get(field).is_none_or(|json| normal_form(json).is_some_and(|it| it == value))
        })
    }
}

fn address<T: ?Sized>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared).cast::<()>().addr()
}

fn topic_key(topic: &Topic) -> String {
    match topic {
        Topic::Row(type_name, operation) => row_key(type_name, *operation),
        Topic::Channel(channel) => channel_key(channel),
        Topic::ChannelType(channel, event_type) => channel_type_key(channel, event_type),
    }
}

fn row_key(type_name: &str, operation: Operation) -> String {
    format!("r{}:{type_name}", operation.as_str())
}

fn channel_key(channel: &str) -> String {
    format!("c{channel}")
}

fn channel_type_key(channel: &str, event_type: &str) -> String {
    format!("t{}:{channel}{event_type}", channel.len())
}

/// The keys of all combinations of values.
fn node_keys(constraints: &[Constraint]) -> Vec<String> {
    constraints.iter().fold(vec![String::new()], |keys, constraint| {
        let extended = |key: &String| {
            let key = key.clone();
            constraint.values.iter().map(move |value| {
                let mut key = key.clone();
                append_value(&mut key, value);
                key
            })
        };
        keys.iter().flat_map(extended).collect()
    })
}

/// The length in front keeps two values from being read as two others.
fn append_value(key: &mut String, value: &str) {
    // Writing to a String cannot fail.
    let _ = write!(key, "{}:{value}", value.len());
}

/// The reverse of [`append_value`]: takes the first value off a key.
fn take_value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (length, tail) = rest.split_once(':')?;
    let (value, tail) = tail.split_at_checked(length.parse().ok()?)?;
    *rest = tail;
    Some(value)
}
