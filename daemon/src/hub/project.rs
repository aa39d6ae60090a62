//! The contract between routing and GraphQL: what a subscription asks for, and how an event
//! becomes its result.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::equality::normal_form;
use super::initial::Beginning;
use super::promise::Deferral;
use crate::event::{Event, Members, Operation};

/// What a subscription listens to: one hash look-up of the router.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Row events of the attached table with this type name and operation.
    Row(Box<str>, Operation),
    /// Every event of a channel.
    Channel(Box<str>),
    /// The events of one type on a channel.
    ChannelType(Box<str>, Box<str>),
}

/// `field` equals one of `values`, where the field is a member of the event's payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// Name of the payload's member.
    pub field: Box<str>,
    /// The values in normal form, see [`super::equality::normal_form`]; at least one, none twice.
    pub values: Vec<Box<str>>,
}

impl Constraint {
    /// Whether an event may meet it: it does, or the value that decides was too large to be kept. The rule that
    /// the router's look-ups follow.
    pub fn admits(&self, event: &ParsedEvent<'_>) -> bool {
        match event.record.get(&self.field) {
            None => event.event.truncated,
            Some(json) => normal_form(json).is_some_and(|found| self.values.iter().any(|it| **it == *found)),
        }
    }
}

/// The part of a filter that no look-up answers. Pure.
pub trait Predicate: Debug + Send + Sync {
    /// Whether a row event passes; for one whose record was too large to be kept, whether it may.
    fn passes(&self, event: &ParsedEvent<'_>) -> bool;
}

/// A compiled subscription, ready for the router. The audience is not part of it: the hub adds it
/// from the connection's identity.
#[derive(Debug, Clone)]
pub struct Interest {
    /// Where to listen; at least one, no duplicates. Shared, since documents are.
    pub topics: Arc<[Topic]>,
    /// Equality constraints, sorted by field, no field twice. A TRUNCATE passes them all. The
    /// subscription is filed once for each combination of their values, so keep these few.
    pub constraints: Vec<Constraint>,
    /// What an event has to pass besides; a TRUNCATE passes it too. Equal predicates must share one
    /// `Arc`: the hub evaluates once per distinct pointer.
    pub residual: Option<Arc<dyn Predicate>>,
    /// Makes the result. Subscriptions whose results are the same bytes for every event must
    /// share one `Arc`: the hub encodes once per distinct pointer.
    pub projection: Arc<dyn Projection>,
    /// Makes the result in place of the projection, where that takes time. Equal deferrals must share
    /// one `Arc`: the work is done once per distinct pointer.
    pub deferral: Option<Arc<dyn Deferral>>,
    /// How the connection conflates the results; the hub delivers all of them.
    pub throttle: Option<Box<Throttle>>,
    /// Reads what is there before the first change, for a subscription that begins with it.
    pub beginning: Option<Arc<dyn Beginning>>,
}

/// Of the results of one key that come within an interval, the last one only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// How long results of a key wait after one has passed.
    pub interval: Duration,
    /// Path of the key below the root field, in the names of the response; empty: all results are one.
    pub key: Vec<Box<str>>,
}

/// Turns an event into the bytes of a GraphQL result. Pure: the same event gives the same bytes.
pub trait Projection: Debug + Send + Sync {
    /// The execution result as a JSON object on one line *without its closing brace*, so that a
    /// frame can append `,"extensions":{…}}` or `}` without copying the result.
    fn project(&self, event: &ParsedEvent<'_>) -> Bytes;
}

/// An event with its payloads split into members, once for all who look at it.
#[derive(Debug)]
pub struct ParsedEvent<'a> {
    /// The event itself.
    pub event: &'a Event,
    /// Members of the payload.
    pub record: Members<'a>,
    /// Members of the old payload; none if there is no old payload.
    pub old: Option<Members<'a>>,
}

impl<'a> ParsedEvent<'a> {
    /// Splits the payloads of an event.
    pub fn new(event: &'a Event) -> Self {
        Self {
            event,
            record: Members::parse(&event.payload),
            old: event.old_payload.as_deref().map(Members::parse),
        }
    }
}
