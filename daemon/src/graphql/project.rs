//! From an event to the bytes of a result, in one pass (sections 6.4 and 7.1).

use std::borrow::Cow;
use std::io::Write;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::event::{Event, Members, Operation};
use crate::graphql::bindings::Source;
use crate::graphql::field_error::{Errors, FieldError, Path, Segment};
use crate::graphql::leaf;
use crate::graphql::lookup::{self, Found, Object};
use crate::graphql::plan::{Content, Field, Kind, Shape};
use crate::hub::project::{ParsedEvent, Projection};
use crate::source::functions::{CallError, Resolved};

/// The result of a subscription, ready to be filled from events. It reads no variables: those that
/// decide `@skip` and `@include` were decided when it was compiled, and arguments only route.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ResultPlan {
    /// The root field.
    pub(super) field: Field,
    /// Whether row events may be shown. `events` without the right to see tables must refuse the
    /// event that a freshly attached table puts on its channel.
    pub(super) row_events: bool,
    /// Largest result, errors aside.
    pub(super) bytes_max: usize,
}

impl Projection for ResultPlan {
    fn project(&self, event: &ParsedEvent<'_>) -> Bytes {
        self.project_resolved(event, &[])
    }
}

impl ResultPlan {
    /// The result with what functions made of the event, by the number of the call.
    pub(super) fn project_resolved(&self, event: &ParsedEvent<'_>, resolved: &[Resolved]) -> Bytes {
        const FRAME: usize = 256;
        let size =
            FRAME + event.event.payload.len() + event.event.old_payload.as_ref().map_or(0, |old| old.len());
        let out = Vec::with_capacity(size);
        let mut writer =
            Writer { event, resolved, out, bytes_max: self.bytes_max, errors: Errors::default() };
        writer.out.extend(b"{\"data\":");
        let start = writer.out.len();
        let path = Path { parent: None, segment: Segment::Field(&self.field) };
        writer.out.push(b'{');
        let written = match self.refusal(event.event) {
            Some(error) => writer.refuse(&self.field, &path, &error),
            None => writer.field(&self.field, Object::Event, &path),
        };
        match written {
            Ok(()) => writer.out.push(b'}'),
            Err(Bubble) => {
                writer.out.truncate(start);
                writer.out.extend(b"null");
            }
        }
        let Writer { mut out, errors, .. } = writer;
        errors.finish(&mut out);
        // A wide event with few fields selected leaves most of the buffer empty, and results wait in
        // mailboxes.
        if out.capacity() > 2 * out.len() {
            out.shrink_to_fit();
        }
        out.into()
    }

    fn refusal(&self, event: &Event) -> Option<FieldError> {
        let Content::Value(source, _) = &self.field.content else { return None };
        let (code, message) = if !self.row_events && event.type_name.is_some() {
            (
                "FORBIDDEN",
                format!("Channel {:?} is fed by a table; subscribe to the table's own fields", event.channel),
            )
        } else if *source == Source::Row && event.operation == Some(Operation::Truncate) {
            ("TABLE_TRUNCATED", "The whole table was truncated; every row is gone".to_owned())
        } else {
            return None;
        };
        Some(FieldError { code, message })
    }
}

/// A null where none may stand: it moves up to the nearest place where one may (section 6.4.4).
struct Bubble;

struct Writer<'a> {
    event: &'a ParsedEvent<'a>,
    resolved: &'a [Resolved],
    out: Vec<u8>,
    bytes_max: usize,
    errors: Errors,
}

impl<'a> Writer<'a> {
    fn object(&mut self, fields: &[Field], object: Object<'_>, path: &Path<'_>) -> Result<(), Bubble> {
        self.out.push(b'{');
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.field(field, object, &Path { parent: Some(path), segment: Segment::Field(field) })?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn field(&mut self, field: &Field, object: Object<'_>, path: &Path<'_>) -> Result<(), Bubble> {
        if self.out.len() > self.bytes_max {
            let message = format!("The result would exceed {} bytes with this value", self.bytes_max);
            return self.refuse(field, path, &FieldError { code: "RESULT_TOO_LARGE", message });
        }
        self.out.extend(&field.key);
        match &field.content {
            Content::TypeName(name) => self.out.extend(name),
            Content::Hidden => self.out.extend(b"null"),
            Content::Value(source, shape) => {
                let start = self.out.len();
                let written = match source {
                    Source::Resolved(call) => self.resolved(*call, field, shape, path),
                    _ => self.found(field, shape, lookup::find(self.event, source, object), path),
                };
                if let Err(bubble) = written {
                    self.catch(shape, start, bubble)?;
                }
            }
        }
        Ok(())
    }

    /// Stops a null where the type allows one.
    fn catch(&mut self, shape: &Shape, start: usize, bubble: Bubble) -> Result<(), Bubble> {
        if !shape.nullable {
            return Err(bubble);
        }
        self.out.truncate(start);
        self.out.extend(b"null");
        Ok(())
    }

    /// Writes what was found for a field.
    fn found(
        &mut self,
        field: &Field,
        shape: &Shape,
        found: Found<'_>,
        path: &Path<'_>,
    ) -> Result<(), Bubble> {
        // Writing to memory cannot fail.
        match found {
            Found::Nothing => return self.null(field, shape, path),
            Found::Cut => return self.refuse(field, path, &cut()),
            Found::Invalid => {
                let message = format!("The event holds no valid JSON for {}", field.coordinate);
                return self.refuse(field, path, &FieldError { code: "INVALID_VALUE", message });
            }
            Found::Json(text) => return self.value(field, shape, text, path),
            Found::Object(object) => {
                return match &shape.kind {
                    Kind::Object(fields) => self.object(fields, object, path),
                    // The schema gives an object type to every source that is an object.
                    Kind::Leaf(_) | Kind::Enum(_) | Kind::List(_) | Kind::Abstract(_) => Err(Bubble),
                };
            }
            Found::Text(text) => leaf::write_string(&mut self.out, text),
            Found::Names(names) => drop(serde_json::to_writer(&mut self.out, names)),
            Found::Id(id) => drop(write!(self.out, "\"{id}\"")),
            Found::Time(time) => drop(write!(self.out, "\"{time}\"")),
        }
        Ok(())
    }

    /// Writes what a function made for a field.
    fn resolved(&mut self, call: usize, field: &Field, shape: &Shape, path: &Path<'_>) -> Result<(), Bubble> {
        match self.resolved.get(call) {
            None | Some(Ok(None)) => self.null(field, shape, path),
            Some(Ok(Some(text))) => self.found(field, shape, lookup::json(text), path),
            Some(Err(error)) => self.refuse(field, path, &unresolved(field, error)),
        }
    }

    fn null(&mut self, field: &Field, shape: &Shape, path: &Path<'_>) -> Result<(), Bubble> {
        if shape.nullable {
            self.out.extend(b"null");
            return Ok(());
        }
        let message = format!("Cannot return null for non-nullable field {}", field.coordinate);
        self.refuse(field, path, &FieldError { code: "NULL_VALUE", message })
    }

    /// CompleteValue (section 6.4.3).
    fn value(&mut self, field: &Field, shape: &Shape, text: &str, path: &Path<'_>) -> Result<(), Bubble> {
        if text.trim_ascii() == "null" {
            return self.null(field, shape, path);
        }
        let wrong = |what: &str| {
            let message = format!("Field {} expects {what} and found something else", field.coordinate);
            FieldError { code: "INVALID_VALUE", message }
        };
        match &shape.kind {
            Kind::Leaf(_) | Kind::Enum(_) if self.out.len() + text.len() > self.bytes_max => {
                let message = format!("The result would exceed {} bytes with this value", self.bytes_max);
                self.refuse(field, path, &FieldError { code: "RESULT_TOO_LARGE", message })
            }
            Kind::Leaf(scalar) => match leaf::write(&mut self.out, *scalar, text) {
                Ok(()) => Ok(()),
                Err(message) => self.refuse(field, path, &FieldError { code: "INVALID_VALUE", message }),
            },
            Kind::Enum(labels) => match leaf::write_enum(&mut self.out, labels, text) {
                Some(()) => Ok(()),
                None => self.refuse(field, path, &wrong("a label of its enum")),
            },
            Kind::List(item) => match serde_json::from_str::<Vec<&RawValue>>(text) {
                Ok(items) => self.list(field, item, &items, path),
                Err(_) => self.refuse(field, path, &wrong("a list")),
            },
            Kind::Object(_) | Kind::Abstract(_) if text.as_bytes().first() != Some(&b'{') => {
                self.refuse(field, path, &wrong("an object"))
            }
            Kind::Object(fields) => {
                let members = Members::parse(text);
                self.object(fields, Object::Members { members: &members, cut: false }, path)
            }
            Kind::Abstract(variants) => {
                let members = Members::parse(text);
                match variants.iter().find(|it| is_of_type(&members, &it.type_name)) {
                    Some(variant) => {
                        let object = Object::Members { members: &members, cut: false };
                        self.object(&variant.fields, object, path)
                    }
                    None => {
                        self.refuse(field, path, &wrong("an object whose __typename is one of its types"))
                    }
                }
            }
        }
    }

    fn list(
        &mut self,
        field: &Field,
        item: &Shape,
        items: &[&RawValue],
        path: &Path<'_>,
    ) -> Result<(), Bubble> {
        self.out.push(b'[');
        for (index, text) in items.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            let start = self.out.len();
            let path = Path { parent: Some(path), segment: Segment::Index(index) };
            if let Err(bubble) = self.value(field, item, text.get(), &path) {
                self.catch(item, start, bubble)?;
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// Records an error. The field becomes null, or the null moves up.
    fn refuse(&mut self, field: &Field, path: &Path<'_>, error: &FieldError) -> Result<(), Bubble> {
        self.errors.push(field, path, error);
        Err(Bubble)
    }
}

/// ResolveAbstractType (section 6.4.3): published values name their type.
fn is_of_type(members: &Members<'_>, type_name: &str) -> bool {
    let name = members.get("__typename").and_then(|json| serde_json::from_str::<Cow<'_, str>>(json).ok());
    name.is_some_and(|name| name == type_name)
}

/// The function did not answer.
fn unresolved(field: &Field, error: &CallError) -> FieldError {
    let code = match error {
        CallError::Raised(_) | CallError::Failed | CallError::Unavailable => "RESOLVER_FAILED",
        CallError::Timeout => "RESOLVER_TIMEOUT",
        CallError::Overloaded => "RESOLVER_OVERLOADED",
    };
    FieldError { code, message: format!("Field {} could not be resolved: {error}", field.coordinate) }
}

/// The value is missing because the record was too large to be kept.
fn cut() -> FieldError {
    let message = "The record exceeded tidings.max_event_bytes, so only its key columns were kept; \
                   read the row from the database";
    FieldError { code: "RECORD_TRUNCATED", message: message.to_owned() }
}
