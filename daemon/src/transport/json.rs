//! JSON as clients send it: what RFC 8259 allows and serde_json refuses, read as near as possible.
//!
//! JavaScript writes half a surrogate pair as `"\ud800"`, and a number may be beyond every double. Neither can
//! be represented here; neither is a reason to hang up on everything else that a socket carries. The half
//! becomes U+FFFD, as it does wherever text becomes UTF-8, and the number its own text, which the types of GraphQL
//! then take or refuse with its place.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Reads a JSON text.
///
/// # Errors
/// If it is none, or nested more than 128 deep.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(text).or_else(|error| match amended(text) {
        Cow::Owned(amended) => serde_json::from_slice(&amended),
        Cow::Borrowed(_) => Err(error),
    })
}

/// What can be told of a message that cannot be read as a whole.
#[derive(Debug, Deserialize)]
pub struct Head {
    /// Its type.
    pub r#type: String,
    /// The operation that it is about.
    pub id: String,
}

impl Head {
    /// The head of a message that is JSON, however deep its payload is nested.
    pub fn of(message: &[u8]) -> Option<Self> {
        serde_json::from_slice(message).ok()
    }
}

/// The text with what cannot be represented replaced, outside of which nothing changes.
fn amended(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let (end, replacement) = match text[at] {
            b'"' => {
                at = string(text, at + 1, &mut out, &mut copied);
                continue;
            }
            b'-' | b'0'..=b'9' => number(text, at),
            _ => (at + 1, None),
        };
        if let Some(replacement) = replacement {
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(&replacement);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// Passes the string whose first byte stands at `at`, replacing half pairs. Returns where it ends.
fn string(text: &[u8], mut at: usize, out: &mut Vec<u8>, copied: &mut usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => match unit(text, at) {
                Some(0xd800..=0xdbff) if matches!(unit(text, at + 6), Some(0xdc00..=0xdfff)) => at += 12,
                Some(0xd800..=0xdfff) => {
                    out.extend_from_slice(&text[*copied..at]);
                    out.extend_from_slice(b"\\ufffd");
                    at += 6;
                    *copied = at;
                }
                _ => at += 2,
            },
            _ => at += 1,
        }
    }
    text.len()
}

/// The UTF-16 unit that an escape of four hexadecimal digits stands for.
fn unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let all_digits = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| all_digits)
}

/// Where the number at `at` ends, and what stands for it if no double holds it.
fn number(text: &[u8], at: usize) -> (usize, Option<Vec<u8>>) {
    let rest = &text[at..];
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let number = &rest[..length];
    let beyond = std::str::from_utf8(number).ok().and_then(|text| text.parse::<f64>().ok());
    let is_number = || serde_json::from_slice::<IgnoredAny>(number).is_ok();
    let beyond = beyond.filter(|value| value.is_infinite() && is_number());
    let replacement = beyond.map(|_| [b"\"", number, b"\""].concat());
    (at + length, replacement)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Option<Value> {
        parse(text.as_bytes()).ok()
    }

    #[test]
    fn half_pairs_and_numbers_beyond_doubles_are_read() {
        assert_eq!(read(r#"{"a":"x\ud800y"}"#), Some(json!({ "a": "x\u{fffd}y" })));
        assert_eq!(
            read(r#"["\udc00\ud83d\ude00\ud83d","\\ud800"]"#),
            Some(json!(["\u{fffd}😀\u{fffd}", "\\ud800"]))
        );
        assert_eq!(read(r#"{"a":1e400,"b":-1E999}"#), Some(json!({ "a": "1e400", "b": "-1E999" })));
        let digits = "9".repeat(400);
        assert_eq!(read(&format!("[{digits}]")), Some(json!([digits])));
        assert_eq!(
            read(r#"{"\ud800":"1e400","b":[1e400]}"#),
            Some(json!({ "\u{fffd}": "1e400", "b": ["1e400"] }))
        );
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in
            ["", "{", r#"{"a":"\ud800"#, r#"["\ud80"]"#, "[1e400", "1e400e", r#"["\u+123"]"#, "[01e400]"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_head_of_a_deep_message_is_known() {
        let message = format!(
            r#"{{"id":"1","type":"subscribe","payload":{}1{}}}"#,
            "[".repeat(9_999),
            "]".repeat(9_999)
        );
        assert!(read(&message).is_none());
        let head = Head::of(message.as_bytes()).unwrap();
        assert_eq!((head.r#type.as_str(), head.id.as_str()), ("subscribe", "1"));
        assert!(Head::of(&message.as_bytes()[..9_000]).is_none());
    }
}
