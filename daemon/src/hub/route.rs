//! The router: which groups of subscriptions an event matches, by hash look-ups alone.
//!
//! Subscriptions are filed by topic, then by the *shape* of their equality constraints (the
//! fields they constrain), then by the values of those fields, then by identity. An event costs one
//! look-up per shape of its topics, whatever the number of subscriptions that do not match. What is
//! found there may still have a residual predicate; equal ones are evaluated once for an event.
//!
//! All operations on a table are one topic, so that whoever listens to several is filed once; which of them
//! are listened to is part of the shape.

use std::sync::{Arc, Weak};

use ahash::RandomState;
use dashmap::DashMap;
use dashmap::mapref::one::Ref;

use super::audience::Identity;
use super::crowd::{Crowd, Node};
use super::equality::normal_form;
use super::initial::Initial;
use super::mailbox::{Mailbox, SubscriptionId};
use super::project::{Constraint, Interest, ParsedEvent, Topic};
use super::subscribed::Subscribed;
use super::table::Table;
use crate::event::{Event, Operation};

/// A live subscription as the hub knows it. What a delivery looks at comes first, in one cache line.
#[derive(Debug)]
#[repr(C)]
pub struct Subscriber {
    /// Unique within the hub.
    pub(super) id: u64,
    /// Its number within its connection.
    pub subscription: SubscriptionId,
    pub(super) mailbox: Arc<Mailbox>,
    /// What comes before the stream: rows that it begins with, or events that it has missed.
    pub(super) initial: Option<Arc<Initial>>,
    pub(super) interest: Interest,
    pub(super) identity: Arc<Identity>,
    /// The subscription that goes by it.
    pub(super) owner: Weak<Subscribed>,
}

/// Every subscription, filed.
#[derive(Debug, Default)]
pub(super) struct Router {
    topics: DashMap<Box<str>, Shapes, RandomState>,
}

#[derive(Debug, Default)]
pub(super) struct Shapes(Vec<Shape>);

#[derive(Debug)]
struct Shape {
    /// What is listened to; on a channel everything.
    operations: Operations,
    /// The constrained fields, sorted.
    fields: Box<[Box<str>]>,
    /// By the values of the fields, see [`append_value`].
    nodes: Table<Box<str>, Node>,
}

/// A set of operations: a bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operations(u8);

impl Operations {
    const ALL: Self = Self(u8::MAX);

    const fn of(operation: Operation) -> Self {
        Self(1 << operation as u8)
    }

    /// Whether an event of this operation, or of none, is among them.
    fn contain(self, operation: Option<Operation>) -> bool {
        operation.is_none_or(|operation| self.0 & Self::of(operation).0 != 0)
    }
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
        let constraints = &subscriber.interest.constraints;
        let keys = node_keys(constraints);
        for_each_place(&subscriber.interest.topics, |topic, operations| {
            let mut shapes = self.topics.entry(topic.into()).or_default();
            let shape = shapes.shape_mut(operations, constraints);
            for key in &keys {
                shape.nodes.get_or_default(key.as_str().into()).insert(subscriber.clone());
            }
        });
    }

    /// Removes a subscriber and whatever is empty without it. Removing twice does nothing.
    pub(super) fn remove(&self, subscriber: &Subscriber) {
        let keys = node_keys(&subscriber.interest.constraints);
        for_each_place(&subscriber.interest.topics, |topic, operations| {
            if let Some(mut shapes) = self.topics.get_mut(topic) {
                shapes.remove(subscriber, operations, &keys);
            }
            self.topics.remove_if(topic, |_, shapes| shapes.0.is_empty());
        });
    }

    /// Every subscriber, once for each of its topics.
    pub(super) fn subscribers(&self) -> Vec<Arc<Subscriber>> {
        let mut all = Vec::new();
        for topic in &self.topics {
            for node in topic.0.iter().flat_map(|shape| shape.nodes.values()) {
                node.for_each(|crowd| crowd.for_each_alike(|_, members| all.extend(members.cloned())));
            }
        }
        all
    }

    /// Calls `visit` with what is filed under each topic of an event, locked meanwhile. The key is only there to be
    /// used again.
    pub(super) fn for_each_topic(
        &self,
        event: &Event,
        key: &mut String,
        mut visit: impl FnMut(Ref<'_, Box<str>, Shapes>),
    ) {
        let mut look_up = |put: &dyn Fn(&mut String)| {
            key.clear();
            put(key);
            self.topics.get(key.as_str()).into_iter().for_each(&mut visit);
        };
        if let Some(type_name) = event.type_name.as_ref().filter(|_| event.operation.is_some()) {
            look_up(&|key| put_rows(key, type_name));
        }
        look_up(&|key| put_channel(key, &event.channel));
        look_up(&|key| put_channel_type(key, &event.channel, &event.event_type));
    }
}

impl Shapes {
    fn shape_mut(&mut self, operations: Operations, constraints: &[Constraint]) -> &mut Shape {
        let same = |shape: &Shape| shape.is_of(operations, constraints);
        let index = self.0.iter().position(same).unwrap_or_else(|| {
            let fields = constraints.iter().map(|constraint| constraint.field.clone()).collect();
            self.0.push(Shape { operations, fields, nodes: Table::default() });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn remove(&mut self, subscriber: &Subscriber, operations: Operations, keys: &[String]) {
        let same = |shape: &Shape| shape.is_of(operations, &subscriber.interest.constraints);
        let Some(index) = self.0.iter().position(same) else { return };
        let nodes = &mut self.0[index].nodes;
        for key in keys {
            let Some(node) = nodes.get_mut(key.as_str()) else { continue };
            node.remove(subscriber);
            if node.is_empty() {
                nodes.remove(key.as_str());
            }
        }
        if nodes.is_empty() {
            self.0.swap_remove(index);
        }
    }

    /// Calls `visit` with every crowd whose constraints and identity the event satisfies. The key is only there to
    /// be used again.
    pub(super) fn for_each_match(
        &self,
        parsed: &ParsedEvent<'_>,
        key: &mut String,
        mut visit: impl FnMut(&Crowd, Found),
    ) {
        let operation = parsed.event.operation;
        for shape in self.0.iter().filter(|shape| shape.operations.contain(operation)) {
            // A TRUNCATE has no record to look at and concerns every subscriber of the table.
            if operation == Some(Operation::Truncate) {
                let mut visit = |crowd: &Crowd| visit(crowd, Found::ByScan);
                shape.nodes.values().for_each(|node| node.for_each_admitted(parsed.event, &mut visit));
                continue;
            }
            key.clear();
            match shape.append_key(parsed, key) {
                Lookup::Complete => {
                    if let Some(node) = shape.nodes.get(key.as_str()) {
                        node.for_each_admitted(parsed.event, |crowd| visit(crowd, Found::ByValues));
                    }
                }
                Lookup::Impossible => {}
                Lookup::Unknown => {
                    let nodes = shape.nodes.iter().filter(|(key, _)| shape.may_match(parsed, key));
                    let mut visit = |crowd: &Crowd| visit(crowd, Found::ByScan);
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
    fn is_of(&self, operations: Operations, constraints: &[Constraint]) -> bool {
        self.operations == operations
            && self.fields.iter().eq(constraints.iter().map(|constraint| &constraint.field))
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

/// Calls `visit` with the key of each topic that somebody is filed under, and what is listened to there.
fn for_each_place(topics: &[Topic], mut visit: impl FnMut(&str, Operations)) {
    let mut key = String::new();
    for (index, topic) in topics.iter().enumerate() {
        key.clear();
        let mut operations = Operations::ALL;
        match topic {
            Topic::Row(type_name, _) => {
                let same = |topic: &&Topic| matches!(topic, Topic::Row(other, _) if other == type_name);
                if topics[..index].iter().any(|topic| same(&topic)) {
                    continue;
                }
                let of = |topic: &Topic| match topic {
                    Topic::Row(_, operation) => Operations::of(*operation).0,
                    Topic::Channel(_) | Topic::ChannelType(..) => 0,
                };
                operations = Operations(topics.iter().filter(same).map(of).fold(0, |all, one| all | one));
                put_rows(&mut key, type_name);
            }
            Topic::Channel(channel) => put_channel(&mut key, channel),
            Topic::ChannelType(channel, event_type) => put_channel_type(&mut key, channel, event_type),
        }
        visit(&key, operations);
    }
}

fn put_rows(key: &mut String, type_name: &str) {
    key.push('r');
    key.push_str(type_name);
}

fn put_channel(key: &mut String, channel: &str) {
    key.push('c');
    key.push_str(channel);
}

fn put_channel_type(key: &mut String, channel: &str, event_type: &str) {
    key.push('t');
    append_value(key, channel);
    key.push_str(event_type);
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
    key.push_str(itoa::Buffer::new().format(value.len()));
    key.push(':');
    key.push_str(value);
}

/// The reverse of [`append_value`]: takes the first value off a key.
fn take_value<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let (length, tail) = rest.split_once(':')?;
    let (value, tail) = tail.split_at_checked(length.parse().ok()?)?;
    *rest = tail;
    Some(value)
}
