//! Frames: a prefix, the shared bytes of a result, and a suffix with the cursor.
//!
//! A result is a JSON object without its closing brace, on one line. The cursor belongs to the frame,
//! not to the result: two clients may get the same result at different cursors.

use crate::error::errors_body;
use crate::graphql::error::GraphQLError;

/// `event: complete` with empty data. The end is these exact bytes (PROTOCOLS S5): a space after the
/// colon breaks urql, and without the data line EventSource never fires the event.
pub const SSE_COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// A comment: the keep-alive that every client ignores (S19).
pub const SSE_COMMENT: &[u8] = b":\n\n";

const SSE_NEXT: &[u8] = b"event: next\ndata: ";
const EXTENSIONS: &[u8] = br#","extensions":{"cursor":""#;
const EXTENSIONS_END: &[u8] = br#""}}"#;

/// Appends the end of a result: its cursor, if there is one, and the closing brace.
pub fn close_result(into: &mut Vec<u8>, cursor: &str) {
    if cursor.is_empty() {
        into.push(b'}');
    } else {
        into.extend_from_slice(EXTENSIONS);
        into.extend_from_slice(cursor.as_bytes());
        into.extend_from_slice(EXTENSIONS_END);
    }
}

/// Appends the line `id:`, if there is a cursor.
fn sse_id(into: &mut Vec<u8>, cursor: &str) {
    if !cursor.is_empty() {
        into.extend_from_slice(b"id: ");
        into.extend_from_slice(cursor.as_bytes());
        into.push(b'\n');
    }
}

/// Appends an event `next` with an open result (S4), and its cursor as `id:` (S20).
pub fn sse_next(into: &mut Vec<u8>, result: &[u8], cursor: &str) {
    sse_id(into, cursor);
    into.extend_from_slice(SSE_NEXT);
    into.extend_from_slice(result);
    close_result(into, cursor);
    into.extend_from_slice(b"\n\n");
}

/// Appends an event `next` with a whole result.
pub fn sse_whole(into: &mut Vec<u8>, result: &[u8]) {
    into.extend_from_slice(SSE_NEXT);
    sse_line(into, result);
    into.extend_from_slice(b"\n\n");
}

/// A line break in a JSON text is white space; in an event it would end the data (S4).
fn sse_line(into: &mut Vec<u8>, result: &[u8]) {
    into.extend(result.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

/// Appends an event `next` with a whole result that names its own cursor, and this as `id:` (S20).
pub fn sse_whole_at(into: &mut Vec<u8>, result: &[u8], cursor: &str) {
    sse_id(into, cursor);
    sse_whole(into, result);
}

/// Appends an event `next` with nothing but errors (S3).
pub fn sse_errors(into: &mut Vec<u8>, errors: &[GraphQLError]) {
    sse_whole(into, &errors_body(errors));
}

/// Appends a block that is an `id:` alone: where a quiet stream stands (S20).
pub fn sse_cursor(into: &mut Vec<u8>, cursor: &str) {
    if !cursor.is_empty() {
        into.extend_from_slice(format!("id: {cursor}\n\n").as_bytes());
    }
}

/// Appends the time after which the client should come back.
pub fn sse_retry(into: &mut Vec<u8>, milliseconds: u64) {
    into.extend_from_slice(format!("retry: {milliseconds}\n\n").as_bytes());
}

/// The start of every event of an operation on a stream that carries several (S16), whose id stands there as
/// JSON.
pub fn sse_operation(id: &str) -> Box<str> {
    format!(r#"{{"id":{}"#, serde_json::Value::from(id)).into()
}

/// Appends an event `next` of such an operation, with an open result and its cursor.
pub fn sse_operation_next(into: &mut Vec<u8>, operation: &str, result: &[u8], cursor: &str, id: &str) {
    sse_id(into, id);
    sse_payload(into, operation, result);
    close_result(into, cursor);
    into.extend_from_slice(b"}\n\n");
}

/// Appends an event `next` of such an operation, with a whole result.
pub fn sse_operation_whole(into: &mut Vec<u8>, operation: &str, result: &[u8], id: &str) {
    sse_id(into, id);
    sse_payload(into, operation, result);
    into.extend_from_slice(b"}\n\n");
}

fn sse_payload(into: &mut Vec<u8>, operation: &str, result: &[u8]) {
    into.extend_from_slice(SSE_NEXT);
    into.extend_from_slice(operation.as_bytes());
    into.extend_from_slice(br#","payload":"#);
    sse_line(into, result);
}

/// Appends an event `complete` of such an operation.
pub fn sse_operation_complete(into: &mut Vec<u8>, operation: &str) {
    into.extend_from_slice(b"event: complete\ndata: ");
    into.extend_from_slice(operation.as_bytes());
    into.extend_from_slice(b"}\n\n");
}

/// Appends an event that says when it was written, for clients that look for it by name (S23).
pub fn sse_sign_of_life(into: &mut Vec<u8>, event: &str, time: jiff::Timestamp) {
    into.extend_from_slice(format!("event: {event}\ndata: {{\"time\":\"{time}\"}}\n\n").as_bytes());
}

/// The start of every message with a result of an operation, whose id stands there as JSON.
pub fn ws_prefix(kind: &str, id: &str) -> Box<str> {
    format!(r#"{{"id":{},"type":"{kind}","payload":"#, serde_json::Value::from(id)).into()
}

/// A message with an open result (PROTOCOLS W6, W14, L3).
pub fn ws_result(prefix: &str, result: &[u8], cursor: &str) -> Vec<u8> {
    let extent = prefix.len() + result.len() + EXTENSIONS.len() + cursor.len() + EXTENSIONS_END.len() + 1;
    let mut frame = Vec::with_capacity(extent);
    frame.extend_from_slice(prefix.as_bytes());
    frame.extend_from_slice(result);
    close_result(&mut frame, cursor);
    frame.push(b'}');
    frame
}

/// A message with a whole result.
pub fn ws_whole(prefix: &str, result: &[u8]) -> Vec<u8> {
    [prefix.as_bytes(), result, b"}"].concat()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::ClientError;

    fn sse(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut bytes = Vec::new();
        write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn s05_complete_is_exact_bytes() {
        assert_eq!(SSE_COMPLETE, b"event: complete\ndata:\n\n");
    }

    #[test]
    fn s04_s20_a_next_is_one_line_with_its_cursor() {
        assert_eq!(
            sse(|into| sse_next(into, br#"{"data":{"a":1}"#, "Ab-_9")),
            "id: Ab-_9\nevent: next\ndata: {\"data\":{\"a\":1},\"extensions\":{\"cursor\":\"Ab-_9\"}}\n\n"
        );
        assert_eq!(
            sse(|into| sse_next(into, br#"{"data":null"#, "")),
            "event: next\ndata: {\"data\":null}\n\n"
        );
        assert_eq!(sse(|into| sse_whole(into, b"{\n\"data\":{}}")), "event: next\ndata: { \"data\":{}}\n\n");
        assert_eq!(sse(|into| sse_cursor(into, "c")), "id: c\n\n");
        assert_eq!(sse(|into| sse_cursor(into, "")), "");
    }

    #[test]
    fn s16_events_of_several_operations_name_theirs() {
        let operation = sse_operation("a\"\n");
        assert_eq!(
            sse(|into| sse_operation_next(into, &operation, br#"{"data":{"a":1}"#, "c", "1.c")),
            "id: 1.c\nevent: next\n\
             data: {\"id\":\"a\\\"\\n\",\"payload\":{\"data\":{\"a\":1},\"extensions\":{\"cursor\":\"c\"}}}\n\n"
        );
        assert_eq!(
            sse(|into| sse_operation_whole(into, &sse_operation("1"), b"{\"data\":\n1}", "")),
            "event: next\ndata: {\"id\":\"1\",\"payload\":{\"data\": 1}}\n\n"
        );
        assert_eq!(
            sse(|into| sse_operation_complete(into, &sse_operation("1"))),
            "event: complete\ndata: {\"id\":\"1\"}\n\n"
        );
    }

    #[test]
    fn s03_errors_are_a_next() {
        let text = sse(|into| sse_errors(into, &[ClientError::SlowConsumer.to_graphql_at(&"c".into())]));
        let data = text.strip_prefix("event: next\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["errors"][0]["extensions"], json!({ "code": "SLOW_CONSUMER", "cursor": "c" }));
    }

    #[test]
    fn s23_a_sign_of_life_says_the_time() {
        let time = "2026-01-02T03:04:05.6Z".parse().unwrap();
        let text = sse(|into| sse_sign_of_life(into, "heartbeat", time));
        assert_eq!(text, "event: heartbeat\ndata: {\"time\":\"2026-01-02T03:04:05.6Z\"}\n\n");
    }

    #[test]
    fn w06_w14_a_next_carries_id_payload_and_cursor() {
        let prefix = ws_prefix("next", "a\"\n");
        let frame: Value = serde_json::from_slice(&ws_result(&prefix, br#"{"data":{"a":1}"#, "c")).unwrap();
        let payload = json!({ "data": { "a": 1 }, "extensions": { "cursor": "c" } });
        assert_eq!(frame, json!({ "id": "a\"\n", "type": "next", "payload": payload }));
        let whole: Value = serde_json::from_slice(&ws_whole(&prefix, br#"{"data":1}"#)).unwrap();
        assert_eq!(whole["payload"], json!({ "data": 1 }));
    }
}
