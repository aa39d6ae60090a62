//! The router: which groups of subscriptions an event matches, by hash look-ups alone.
//!
//! Subscriptions are filed by topic, then by the *shape* of their equality constraints (the
//! fields they constrain), then by the values of those fields, then by identity. An event costs one
//! look-up per shape of its topics, whatever the number of subscriptions that do not match.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::one::Ref;
use indexmap::IndexMap;

use super::audience::{ByAudience, Identity};
use super::equality::normal_form;
use super::mailbox::{Mailbox, SubscriptionId};
use super::project::{Constraint, Interest, ParsedEvent, Projection, Topic};
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
}

/// Subscribers of one identity that share a projection: they get the same bytes.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) projection: Arc<dyn Projection>,
    pub(super) subscribers: IndexMap<u64, Arc<Subscriber>>,
}

/// Groups by the address of their projection.
pub(super) type Groups = IndexMap<usize, Group>;

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
    nodes: HashMap<Box<str>, ByAudience<Groups>>,
}

impl Router {
    /// Files a subscriber under each of its topics.
    pub(super) fn insert(&self, subscriber: &Arc<Subscriber>) {
        let interest = &subscriber.interest;
        let values = node_key(&interest.constraints);
        for topic in &interest.topics {
            let mut shapes = self.topics.entry(topic_key(topic).into()).or_default();
            let shape = shapes.shape_mut(&interest.constraints);
            let groups = shape.nodes.entry(values.as_str().into()).or_default().entry(&subscriber.identity);
            let group = groups.entry(address(&interest.projection)).or_insert_with(|| Group {
                projection: interest.projection.clone(),
                subscribers: IndexMap::new(),
            });
            group.subscribers.insert(subscriber.id, subscriber.clone());
        }
    }

    /// Removes a subscriber and whatever is empty without it. Removing twice does nothing.
    pub(super) fn remove(&self, subscriber: &Subscriber) {
        let values = node_key(&subscriber.interest.constraints);
        for topic in &subscriber.interest.topics {
            let key = topic_key(topic);
            if let Some(mut shapes) = self.topics.get_mut(key.as_str()) {
                shapes.remove(subscriber, &values);
            }
            self.topics.remove_if(key.as_str(), |_, shapes| shapes.0.is_empty());
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
            self.0.push(Shape { fields, nodes: HashMap::new() });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn remove(&mut self, subscriber: &Subscriber, values: &str) {
        let same = |shape: &Shape| shape.has_fields_of(&subscriber.interest.constraints);
        let Some(index) = self.0.iter().position(same) else { return };
        let nodes = &mut self.0[index].nodes;
        let Some(node) = nodes.get_mut(values) else { return };
        let Some(groups) = node.get_mut(&subscriber.identity) else { return };
        let projection = address(&subscriber.interest.projection);
        if let Some(group) = groups.get_mut(&projection) {
            group.subscribers.swap_remove(&subscriber.id);
            if group.subscribers.is_empty() {
                groups.swap_remove(&projection);
            }
        }
        if groups.is_empty() {
            node.remove(&subscriber.identity);
        }
        if node.is_empty() {
            nodes.remove(values);
        }
        if nodes.is_empty() {
            self.0.swap_remove(index);
        }
    }

    /// Calls `visit` with every set of groups whose constraints and identity the event satisfies.
    pub(super) fn for_each_match(&self, parsed: &ParsedEvent<'_>, mut visit: impl FnMut(&Groups)) {
        let mut key = String::new();
        for shape in &self.0 {
            if parsed.event.operation == Some(Operation::Truncate) {
                // A TRUNCATE has no record to look at and concerns every subscriber of the table.
                shape.nodes.values().for_each(|node| node.for_each_admitted(parsed.event, &mut visit));
                continue;
            }
            key.clear();
            let complete = shape.fields.iter().all(|field| {
                let value = parsed.record.get(field).and_then(normal_form);
                value.map(|value| append_value(&mut key, &value)).is_some()
            });
            if complete && let Some(node) = shape.nodes.get(key.as_str()) {
                node.for_each_admitted(parsed.event, &mut visit);
            }
        }
    }
}

impl Shape {
    fn has_fields_of(&self, constraints: &[Constraint]) -> bool {
        self.fields.iter().eq(constraints.iter().map(|constraint| &constraint.field))
    }
}

fn address(projection: &Arc<dyn Projection>) -> usize {
    Arc::as_ptr(projection).cast::<()>().addr()
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

fn node_key(constraints: &[Constraint]) -> String {
    let mut key = String::new();
    constraints.iter().for_each(|constraint| append_value(&mut key, &constraint.value));
    key
}

/// The length in front keeps two values from being read as two others.
fn append_value(key: &mut String, value: &str) {
    // Writing to a String cannot fail.
    let _ = write!(key, "{}:{value}", value.len());
}
