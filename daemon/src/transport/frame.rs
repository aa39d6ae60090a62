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
#[derive(Debug, Clone, Copy)]
pub struct ResultHead<'a> {
    /// The operation's id, as JSON.
    pub id: &'a str,
    /// The type of the message.
    pub kind: &'static str,
}

impl ResultHead<'_> {
    fn parts(&self) -> [&str; 5] {
        [r#"{"id":"#, self.id, r#","type":""#, self.kind, r#"","payload":"#]
    }

    fn len(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    fn append(&self, into: &mut Vec<u8>) {
        self.parts().iter().for_each(|part| into.extend_from_slice(part.as_bytes()));
    }
}

/// Appends the head of a WebSocket frame whose payload, a text of this length, is to follow (RFC 6455, section 5.2).
fn ws_head(into: &mut Vec<u8>, length: usize) {
    const FINAL_TEXT: u8 = 0x81;
    into.push(FINAL_TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => into.push(short),
        (_, Ok(medium)) => {
            into.push(126);
            into.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            into.push(127);
            into.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a frame with a message.
pub fn ws_message(into: &mut Vec<u8>, message: &[u8]) {
    ws_head(into, message.len());
    into.extend_from_slice(message);
}

/// Appends a frame with a message that has an open result (PROTOCOLS W6, W14, L3).
pub fn ws_result(into: &mut Vec<u8>, head: &ResultHead<'_>, result: &[u8], cursor: &str) {
    let end = if cursor.is_empty() { 1 } else { EXTENSIONS.len() + cursor.len() + EXTENSIONS_END.len() };
    ws_head(into, head.len() + result.len() + end + 1);
    head.append(into);
    into.extend_from_slice(result);
    close_result(into, cursor);
    into.push(b'}');
}

/// Appends a frame with a message that has a whole result.
pub fn ws_whole(into: &mut Vec<u8>, head: &ResultHead<'_>, result: &[u8]) {
    ws_head(into, head.len() + result.len() + 1);
    head.append(into);
    into.extend_from_slice(result);
    into.push(b'}');
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Cursor;

    use serde_json::{Value, json};
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocket};

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

    /// The texts of frames, as the library reads them.
    pub(crate) fn ws_texts(frames: Vec<u8>) -> Vec<String> {
        let mut client = WebSocket::from_raw_socket(Cursor::new(frames), Role::Client, None);
        let read = std::iter::from_fn(|| client.read().ok());
        read.map(|message| message.into_text().unwrap().to_string()).collect()
    }

    #[test]
    fn w06_w14_a_next_carries_id_payload_and_cursor() {
        let (head, mut frames) = (ResultHead { id: r#""a\"\n""#, kind: "next" }, Vec::new());
        ws_result(&mut frames, &head, br#"{"data":{"a":1}"#, "c");
        ws_result(&mut frames, &head, br#"{"data":{"a":1}"#, "");
        ws_whole(&mut frames, &head, br#"{"data":1}"#);
        let [at_cursor, without, whole] =
            ws_texts(frames).try_into().map(|texts: [String; 3]| texts.map(parsed)).unwrap();
        let payload = json!({ "data": { "a": 1 }, "extensions": { "cursor": "c" } });
        assert_eq!(at_cursor, json!({ "id": "a\"\n", "type": "next", "payload": payload }));
        assert_eq!(without["payload"], json!({ "data": { "a": 1 } }));
        assert_eq!(whole["payload"], json!({ "data": 1 }));
    }

    fn parsed(text: String) -> Value {
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn the_heads_of_frames_tell_every_length() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 100_000] {
            let (text, mut frame) = ("x".repeat(length), Vec::new());
            ws_message(&mut frame, text.as_bytes());
            assert_eq!(ws_texts(frame), [text], "{length}");
        }
    }
}
