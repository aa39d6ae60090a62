//! Finds in an event what a field asks for.

use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::event::{Members, Operation};
use crate::graphql::bindings::Source;
use crate::hub::project::ParsedEvent;

/// The object that a selection is read from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Object<'a> {
    /// The event itself.
    Event,
    /// A JSON object.
    Members {
        /// Its members.
        members: &'a Members<'a>,
        /// Whether some are missing because the record was too large to be kept.
        cut: bool,
    },
}

/// What an event holds for a field.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// Nothing: null.
    Nothing,
    /// Nothing, because the record was too large to be kept.
    Cut,
    /// JSON text: a member of the payload, or text that was found to be JSON.
    Json(&'a str),
    /// Text that should be JSON and is not.
    Invalid,
    Text(&'a str),
    Names(&'a [Box<str>]),
    Id(i64),
    Time(Timestamp),
    Object(Object<'a>),
}

/// Looks a source up, in the event or in the object at hand.
pub(super) fn find<'a>(event: &'a ParsedEvent<'_>, source: &Source, object: Object<'a>) -> Found<'a> {
    let ParsedEvent { event: it, record, old } = event;
    let whole_record = Object::Members { members: record, cut: it.truncated };
    let text = |text: Option<&'a str>| text.map_or(Found::Nothing, Found::Text);
    match source {
        Source::Member(name) => member(event, name, object),
        Source::Event => Found::Object(Object::Event),
        Source::Record if it.operation == Some(Operation::Truncate) => Found::Nothing,
        // The plan expects an object; what is none is an error there.
        Source::Payload if !it.payload.trim_ascii_start().starts_with('{') => json(&it.payload),
        Source::Row | Source::Record | Source::Payload => Found::Object(whole_record),
        Source::Old { captured } => match old {
            Some(members) => Found::Object(Object::Members { members, cut: it.truncated }),
            None if *captured && it.truncated && it.operation == Some(Operation::Update) => Found::Cut,
            None => Found::Nothing,
        },
        Source::Operation => text(it.operation.map(Operation::as_str)),
        Source::ChangedColumns => it.changed_columns.as_deref().map_or(Found::Nothing, Found::Names),
        Source::EventId => Found::Id(it.id),
        Source::Channel => Found::Text(&it.channel),
        Source::EventType => Found::Text(&it.event_type),
        Source::Data if it.truncated => Found::Cut,
        Source::Data => json(&it.payload),
        // Not in the event: whoever has the answers of functions looks there.
        Source::Resolved(_) => Found::Nothing,
        Source::Metadata(channels) if channels.contains(&it.channel) => {
            it.metadata.as_deref().map_or(Found::Nothing, json)
        }
        Source::Metadata(_) => Found::Nothing,
        Source::TenantId => text(it.tenant_id.as_deref()),
        Source::UserId => text(it.user_id.as_deref()),
        Source::CreatedAt => {
            Timestamp::from_microsecond(it.created_at_us).map_or(Found::Nothing, Found::Time)
        }
    }
}

/// Whole texts are checked before they become part of a result: PostgreSQL stores nothing but JSON
/// there, an embedding program may publish anything, and a stray bracket would change the frame.
pub(super) fn json(text: &str) -> Found<'_> {
    serde_json::from_str::<IgnoredAny>(text).map_or(Found::Invalid, |_| Found::Json(text))
}

fn member<'a>(event: &'a ParsedEvent<'_>, name: &str, object: Object<'a>) -> Found<'a> {
    let (members, cut) = match object {
        Object::Event => (&event.record, event.event.truncated),
        Object::Members { members, cut } => (members, cut),
    };
    match members.get(name) {
        Some(json) => Found::Json(json),
        None if cut => Found::Cut,
        None => Found::Nothing,
    }
}
