//! Result coercion of leaf values (sections 3.5.1 to 3.5.5): from the JSON text in the event to the
//! JSON text in the result.

use std::borrow::Cow;

use crate::graphql::labels::Labels;
use crate::graphql::scalar::{Scalar, excerpt};

/// Appends `text`, a JSON value that is not null, as a value of `scalar`. On an error nothing is
/// appended.
pub(super) fn write(out: &mut Vec<u8>, scalar: Scalar, text: &str) -> Result<(), String> {
    use Scalar::{BigFloat, BigInt, Boolean, Date, Datetime, Float, Id, Int, Json, String, Time, Uuid};
    let refused = |why: &str| {
        let shown = match text.as_bytes().first() {
            Some(b'[') => "a list".to_owned(),
            Some(b'{') => "an object".to_owned(),
            _ => excerpt(&serde_json::from_str(text).unwrap_or_else(|_| text.into())),
        };
        Err(format!("{} cannot represent {shown}{why}", scalar.name()))
    };
    match (scalar, text.as_bytes().first()) {
        (Json, _) => write_json(out, text),
        (String | Id | BigFloat | Uuid | Datetime | Date | Time, Some(b'"')) => out.extend(text.as_bytes()),
        (BigInt, Some(b'"')) if is_integer(&text[1..text.len() - 1]) => out.extend(text.as_bytes()),
        (Boolean, Some(b't' | b'f')) => out.extend(text.as_bytes()),
        (Boolean, Some(b'-' | b'0'..=b'9')) => match float(text) {
            Some(number) => out.extend(if number == 0.0 { &b"false"[..] } else { b"true" }),
            None => return refused(""),
        },
        (String, Some(b't' | b'f')) => write_quoted(out, text),
        (String | BigFloat, Some(b'-' | b'0'..=b'9')) => write_quoted(out, text),
        (BigInt | Id, Some(b'-' | b'0'..=b'9')) if is_integer(text) => write_quoted(out, text),
        (Int | Float, Some(b't')) => out.push(b'1'),
        (Int | Float, Some(b'f')) => out.push(b'0'),
        (Int, Some(b'"' | b'-' | b'0'..=b'9')) => match int(unquoted(text)) {
            Some(value) => out.extend(itoa::Buffer::new().format(value).as_bytes()),
            None => return refused(": it is no 32-bit integer"),
        },
        // JSON has no other numbers than finite ones, but it has some that no double can hold.
        (Float, _) if is_number(unquoted(text)) && float(unquoted(text)).is_some() => {
            out.extend(unquoted(text).as_bytes());
        }
        _ => return refused(""),
    }
    Ok(())
}

/// Appends the name of an enum's label, which `text` holds as JSON. Nothing, and nothing appended, if it
/// is no label.
pub(super) fn write_enum(out: &mut Vec<u8>, labels: &Labels, text: &str) -> Option<()> {
    let label: Cow<'_, str> = serde_json::from_str(text).ok()?;
    write_quoted(out, labels.name(&label)?);
    Some(())
}

/// Appends JSON as it stands, but on one line: between tokens a json column may hold line breaks,
/// which would end a frame. Within strings JSON has none, so every one can go.
pub(super) fn write_json(out: &mut Vec<u8>, text: &str) {
    for line in text.trim_ascii().as_bytes().split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend(line);
    }
}

/// Appends a string as JSON.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    out.extend(text.as_bytes());
    out.push(b'"');
}

/// What a string holds, or the text as it stands. A column that was text until a moment ago still has
/// numbers in strings.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// Whether a text can stand in JSON as a number.
fn is_number(text: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(text).is_ok()
}

fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn int(text: &str) -> Option<i32> {
    text.parse().ok().or_else(|| {
        // `1.0` and `1e3` are integers too.
        let value = float(text).filter(|value| value.fract() == 0.0)?;
        #[allow(clippy::cast_possible_truncation)]
        (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value).then_some(value as i32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scalar: Scalar, text: &str) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out, scalar, text).ok()?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn values_are_coerced_by_scalar() {
        for (scalar, text, result) in [
            (Scalar::Int, "-7", Some("-7")),
            (Scalar::Int, "1e3", Some("1000")),
            (Scalar::Int, "2147483648", None),
            (Scalar::Int, "1.5", None),
            (Scalar::Int, "\"12\"", Some("12")),
            (Scalar::Int, "\"x\"", None),
            (Scalar::Int, "true", Some("1")),
            (Scalar::Int, "[1]", None),
            (Scalar::BigInt, "9223372036854775807", Some("\"9223372036854775807\"")),
            (Scalar::BigInt, "\"12\"", Some("\"12\"")),
            (Scalar::BigInt, "\"x\"", None),
            (Scalar::BigInt, "1.5", None),
            (Scalar::BigFloat, "1.50", Some("\"1.50\"")),
            (Scalar::BigFloat, "1e400000", Some("\"1e400000\"")),
            (Scalar::BigFloat, "\"NaN\"", Some("\"NaN\"")),
            (Scalar::Float, "1.5", Some("1.5")),
            (Scalar::Float, "1e400000", None),
            (Scalar::Float, "\"NaN\"", None),
            (Scalar::Float, "\"inf\"", None),
            (Scalar::Float, "\"1.50\"", Some("1.50")),
            (Scalar::Float, "\"1\\u0031\"", None),
            (Scalar::Float, "{}", None),
            (Scalar::Boolean, "true", Some("true")),
            (Scalar::Boolean, "1", Some("true")),
            (Scalar::Boolean, "0.0", Some("false")),
            (Scalar::Boolean, "\"true\"", None),
            (Scalar::String, r#""a\u0000b""#, Some(r#""a\u0000b""#)),
            (Scalar::String, "1", Some("\"1\"")),
            (Scalar::String, "true", Some("\"true\"")),
            (Scalar::String, "{}", None),
            (Scalar::Id, "7", Some("\"7\"")),
            (Scalar::Id, "7.5", None),
            (Scalar::Uuid, "\"x\"", Some("\"x\"")),
            (Scalar::Uuid, "1", None),
            (Scalar::Json, "1e400000", Some("1e400000")),
            (Scalar::Json, "{\r\n  \"a\\n\": [1,\n 2]\n}\n", Some("{  \"a\\n\": [1, 2]}")),
        ] {
            assert_eq!(written(scalar, text).as_deref(), result, "{scalar:?} {text}");
        }
    }
}
