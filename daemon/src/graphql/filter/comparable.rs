//! Which values compare, and how PostgreSQL spells and orders them.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use jiff::civil;
use serde_json::Value;

use super::decimal::Decimal;
use super::moment::Moment;
use super::operand::{Operand, float_rank};
use crate::graphql::labels::Labels;
use crate::graphql::scalar::excerpt;
use crate::hub::equality::{canonical_number, normal_form};

/// A type whose values compare here as they do in PostgreSQL.
///
/// Text compares by code points, as collation `C` does; `char(n)` without the blanks that fill it up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::graphql) enum Comparable {
    Boolean,
    /// `int2`, `int4`, `int8`.
    Integer,
    /// `numeric`.
    Decimal,
    /// `float8`.
    Float,
    /// `float4`: what a client sends is rounded to it first, as an assignment would.
    Real,
    Text,
    /// `char(n)`.
    PaddedText,
    Uuid,
    /// In the order of the labels.
    Enum(Arc<Labels>),
    Timestamptz,
    Timestamp,
    Date,
    Time,
}

impl Comparable {
    /// By `pg_type.typname`. Other types have values that are equal and spelled differently.
    pub(in crate::graphql) fn of_base(typname: &str) -> Option<Self> {
        Some(match typname {
            "bool" => Self::Boolean,
            "int2" | "int4" | "int8" => Self::Integer,
            "numeric" => Self::Decimal,
            "float8" => Self::Float,
            "float4" => Self::Real,
            "text" | "varchar" | "name" | "char" => Self::Text,
            "bpchar" => Self::PaddedText,
            "uuid" => Self::Uuid,
            "timestamptz" => Self::Timestamptz,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "time" => Self::Time,
            _ => return None,
        })
    }

    /// Whether equal values have one [`normal_form`], so that the router can look them up.
    pub(in crate::graphql) fn has_lookup(&self) -> bool {
        !matches!(self, Self::Float | Self::Real | Self::PaddedText)
    }

    /// A coerced input, spelled as PostgreSQL spells it in JSON: the form of [`normal_form`].
    pub(in crate::graphql) fn spelling(&self, value: &Value) -> Result<Box<str>, String> {
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Number(number) => {
                let text = number.to_string();
                return Ok(canonical_number(&text).as_deref().unwrap_or(&text).into());
            }
            Value::Bool(_) => return Ok(value.to_string().into()),
            _ => return Err(format!("{} cannot be compared", excerpt(value))),
        };
        let infinite = matches!(text, "infinity" | "-infinity");
        Ok(match self {
            Self::Timestamptz | Self::Timestamp | Self::Date if infinite => text.into(),
            Self::Timestamptz => {
                let time = parsed::<jiff::Timestamp>("a date and time with an offset", text)?;
                with_era(&jiff::tz::Offset::UTC.to_datetime(time).to_string(), "+00:00")
            }
            // The parser would read past an offset, and the row of another moment would match.
            Self::Timestamp if text.get(10..).is_some_and(|time| time.contains(['+', '-', 'Z', 'z'])) => {
                return Err(format!("{} is not a date and time without an offset", excerpt(value)));
            }
            Self::Timestamp => {
                let time = parsed::<civil::DateTime>("a date and time without an offset", text)?;
                with_era(&time.to_string(), "")
            }
            Self::Date => with_era(&parsed::<civil::Date>("a date", text)?.to_string(), ""),
            Self::Time => parsed::<civil::Time>("a time", text)?.to_string().into(),
            Self::Decimal => canonical_number(text).as_deref().unwrap_or(text).into(),
            Self::PaddedText => text.trim_end_matches(' ').into(),
            Self::Enum(labels) => labels.text(text).unwrap_or(text).into(),
            _ => text.into(),
        })
    }

    /// A coerced input as an operand.
    pub(super) fn operand(&self, value: &Value) -> Result<Operand<'static>, String> {
        let spelling = self.spelling(value)?;
        let operand = self.parse(&spelling).map(Operand::into_owned);
        operand.ok_or_else(|| format!("{} cannot be compared", excerpt(value)))
    }

    /// The value of a payload's member; nothing if it is none of this type.
    pub(super) fn read<'a>(&self, json: &'a str) -> Option<Operand<'a>> {
        // Numbers compare however they are spelled.
        if matches!(self, Self::Decimal | Self::Float | Self::Real)
            && matches!(json.as_bytes().first(), Some(b'-' | b'0'..=b'9'))
        {
            return self.parse(json);
        }
        match normal_form(json)? {
            Cow::Borrowed(text) => self.parse(text),
            Cow::Owned(text) => self.parse(&text).map(Operand::into_owned),
        }
    }

    fn parse<'a>(&self, text: &'a str) -> Option<Operand<'a>> {
        Some(match self {
            Self::Boolean => Operand::Boolean(text.parse().ok()?),
            Self::Integer => Operand::Integer(text.parse().ok()?),
            Self::Decimal => Operand::Decimal(Decimal::parse(text)?),
            Self::Float => Operand::Float(float_rank(text.parse().ok()?)),
            Self::Real => Operand::Float(float_rank(text.parse::<f32>().ok()?.into())),
            Self::Text | Self::Uuid => Operand::Text(text.into()),
            Self::PaddedText => Operand::Text(text.trim_end_matches(' ').into()),
            Self::Enum(labels) => Operand::Rank(labels.rank(text)?),
            Self::Timestamptz | Self::Timestamp | Self::Date | Self::Time => {
                Operand::Moment(Moment::parse(text)?)
            }
        })
    }
}

/// A date as PostgreSQL spells it. ISO 8601 counts years from 1 BC down as 0, -1 and so on; PostgreSQL
/// writes `BC` instead.
fn with_era(date: &str, offset: &str) -> Box<str> {
    let (digits, before) = match date.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (date, date.starts_with("0000-")),
    };
    let year = digits.split_once('-').and_then(|(year, rest)| Some((year.parse::<u32>().ok()?, rest)));
    match year.filter(|_| before) {
        Some((year, rest)) => format!("{:04}-{rest}{offset} BC", year + 1).into(),
        None => format!("{date}{offset}").into(),
    }
}

fn parsed<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{} is not {what}: {error}", excerpt(&text.into())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_take_the_spelling_of_postgresql() {
        let spelling = |comparable: Comparable, value: Value| {
            comparable.spelling(&value).map(String::from).unwrap_or_default()
        };
        let zoned = |value| spelling(Comparable::Timestamptz, value);
        assert_eq!(zoned(json!("2026-01-02T03:04:05.120Z")), "2026-01-02T03:04:05.12+00:00");
        assert_eq!(zoned(json!("2026-01-02T05:04:05+02:00")), "2026-01-02T03:04:05+00:00");
        assert_eq!(zoned(json!("-000043-03-15T12:00:00Z")), "0044-03-15T12:00:00+00:00 BC");
        assert_eq!(spelling(Comparable::Date, json!("0000-12-31")), "0001-12-31 BC");
        assert_eq!(spelling(Comparable::Timestamp, json!("2026-01-02 03:04:05")), "2026-01-02T03:04:05");
        assert_eq!(spelling(Comparable::Date, json!("2026-01-02")), "2026-01-02");
        assert_eq!(spelling(Comparable::Time, json!("03:04:05.50")), "03:04:05.5");
        assert_eq!(spelling(Comparable::Boolean, json!(true)), "true");
        for equal in [json!("5.00"), json!("+5"), json!(5.0), json!("50e-1")] {
            assert_eq!(spelling(Comparable::Decimal, equal), "5");
        }
        assert_eq!(spelling(Comparable::Integer, json!(-5)), "-5");
        assert!(Comparable::Timestamp.spelling(&json!("2026-01-02T03:04:05+02:00")).is_err());
        assert!(Comparable::Timestamp.spelling(&json!("2026-01-02T03:04:05Z")).is_err());
        assert!(Comparable::Timestamptz.spelling(&json!("yesterday")).is_err());
        assert!(Comparable::Date.spelling(&json!("infinity")).is_ok());
    }

    #[test]
    fn payloads_and_inputs_meet() {
        for (comparable, json, input) in [
            (Comparable::Integer, "9223372036854775807", json!("9223372036854775807")),
            (Comparable::Decimal, "5.00", json!(5)),
            (Comparable::Decimal, "\"NaN\"", json!("NaN")),
            (Comparable::Float, "1e3", json!(1000)),
            (Comparable::Float, "-0", json!(0)),
            (Comparable::Real, "0.1", json!(0.1)),
            (Comparable::Text, r#""\u00e4\n""#, json!("ä\n")),
            (Comparable::PaddedText, r#""ab  ""#, json!("ab")),
            (Comparable::Timestamptz, r#""2026-01-02T03:04:05+00:00""#, json!("2026-01-02T04:04:05+01:00")),
            (Comparable::Date, r#""infinity""#, json!("infinity")),
        ] {
            assert_eq!(comparable.read(json), comparable.operand(&input).ok(), "{json}");
        }
        assert_eq!(Comparable::Integer.read("\"x\""), None);
        assert_eq!(Comparable::Text.read("[]"), None);
        assert_eq!(Comparable::Text.read("null"), None);
    }
}
