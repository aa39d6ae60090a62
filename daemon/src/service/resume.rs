//! Going on where a client left off: `extensions.cursor` of its request.

use serde_json::Value;

use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::source::cursor::Cursor;

/// The cursor after which a request wants to go on; nothing if it begins now.
///
/// # Errors
///
/// If what it names is no cursor: to begin now instead would be a gap that nobody is told of.
pub(super) fn asked_for(request: &Request) -> Result<Option<Cursor>, GraphQLError> {
    let cursor = request.extensions.as_ref().and_then(|extensions| extensions.get("cursor"));
    match cursor {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => match Cursor::decode(text) {
            Ok(cursor) => Ok(Some(cursor)),
            Err(error) => Err(GraphQLError::new("CURSOR_INVALID", error.to_string())),
        },
        Some(_) => Err(GraphQLError::new("CURSOR_INVALID", "`extensions.cursor` must be a text")),
    }
}
