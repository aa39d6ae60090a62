//! The acknowledgement that a subscription is live, for those who ask: whatever is committed after it has
//! been received arrives.
//!
//! A request asks with `extensions: {"acknowledge": true}`. The answer is a result without data, because
//! that is what every protocol carries and every client hands on; docs/decisions says which were tried.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::hub::mailbox::{CursorText, Delivery, SubscriptionId};

/// Whether a request asks for an acknowledgement.
///
/// # Errors
///
/// If it asks in a way that could mean anything: silence would lose the event that the client waits for.
pub(super) fn is_asked_for(request: &Request) -> Result<bool, GraphQLError> {
    let asked = request.extensions.as_ref().and_then(|extensions| extensions.get("acknowledge"));
    match asked {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(asked)) => Ok(*asked),
        Some(other) => {
            let message = format!("`extensions.acknowledge` must be true or false, not {}", kind(other));
            Err(GraphQLError::new("BAD_USER_INPUT", message))
        }
    }
}

/// The acknowledgement of a subscription that is about to start at a cursor, after this many rows if it began
/// with what was there.
pub(super) fn of(subscription: SubscriptionId, rows: Option<usize>, cursor: CursorText) -> Delivery {
    let mut extensions = json!({ "subscribed": true });
    if let Some(rows) = rows {
        extensions["initial"] = json!({ "rows": rows });
    }
    if !cursor.is_empty() {
        extensions["cursor"] = (*cursor).into();
    }
    let result = json!({ "data": null, "extensions": extensions });
    Delivery::Whole { subscription, result: Bytes::from(result.to_string()), cursor }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(extensions: Value) -> Result<bool, String> {
        let request = serde_json::from_value(json!({ "query": "{a}", "extensions": extensions })).unwrap();
        is_asked_for(&request).map_err(|error| format!("{} {}", error.extensions.code, error.message))
    }

    #[test]
    fn only_a_boolean_asks() {
        assert_eq!(asks(Value::Null), Ok(false));
        assert_eq!(asks(json!({ "acknowledge": null })), Ok(false));
        assert_eq!(asks(json!({ "acknowledge": false })), Ok(false));
        assert_eq!(asks(json!({ "acknowledge": true })), Ok(true));
        for wrong in [json!(1), json!("true"), json!([true]), json!({})] {
            let refused = asks(json!({ "acknowledge": wrong })).unwrap_err();
            assert!(refused.starts_with("BAD_USER_INPUT `extensions.acknowledge` must be true"), "{refused}");
        }
    }

    #[test]
    fn without_a_cursor_none_is_named() {
        let Delivery::Whole { result, .. } = of(SubscriptionId(1), None, "".into()) else { panic!() };
        let result: Value = serde_json::from_slice(&result).unwrap();
        assert_eq!(result, json!({ "data": null, "extensions": { "subscribed": true } }));
    }
}
