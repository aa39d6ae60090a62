//! The scalars of the schema, and which PostgreSQL type becomes which.

use serde_json::Value;

/// A scalar type. The names, and what becomes a string, are those of pg_graphql.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// 32-bit integer.
    Int,
    /// Double-precision number.
    Float,
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A string or an integer, always written as a string.
    Id,
    /// 64-bit integer, written as a string: JSON readers lose digits beyond 2^53.
    BigInt,
    /// `numeric`, written as a string.
    BigFloat,
    /// `uuid`.
    Uuid,
    /// `timestamp` and `timestamptz`.
    Datetime,
    /// `date`.
    Date,
    /// `time` and `timetz`.
    Time,
    /// Any JSON, as it stands.
    Json,
}

impl Scalar {
    /// Those that the SDL has to declare, in the order in which it does.
    pub const CUSTOM: [Self; 7] =
        [Self::BigInt, Self::BigFloat, Self::Uuid, Self::Datetime, Self::Date, Self::Time, Self::Json];

    /// Those that GraphQL has built in.
    pub const BUILT_IN: [Self; 5] = [Self::Int, Self::Float, Self::String, Self::Boolean, Self::Id];

    /// Name in the schema.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "Int",
            Self::Float => "Float",
            Self::String => "String",
            Self::Boolean => "Boolean",
            Self::Id => "ID",
            Self::BigInt => "BigInt",
            Self::BigFloat => "BigFloat",
            Self::Uuid => "UUID",
            Self::Datetime => "Datetime",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::Json => "JSON",
        }
    }

    /// The scalar of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::BUILT_IN.into_iter().chain(Self::CUSTOM).find(|scalar| scalar.name() == name)
    }

    /// What the SDL says about it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::BigInt => "A 64-bit integer, written as a string so that no client loses digits.",
            Self::BigFloat => "A number of any precision, written as a string with all its digits.",
            Self::Uuid => "A universally unique identifier.",
            Self::Datetime => "A date and time, ISO 8601; with an offset if the column has a time zone.",
            Self::Date => "A date, ISO 8601.",
            Self::Time => "A time of day, ISO 8601.",
            Self::Json => "Any JSON value, as it stands.",
            _ => "",
        }
    }

    /// The scalar of a PostgreSQL base type, by its `pg_type.typname`.
    ///
    /// Types that this does not name become `String`: capture writes them as PostgreSQL prints them.
    pub fn from_postgres(typname: &str) -> Self {
        match typname {
            "int2" | "int4" => Self::Int,
            "int8" => Self::BigInt,
            "numeric" => Self::BigFloat,
            "float4" | "float8" => Self::Float,
            "bool" => Self::Boolean,
            "uuid" => Self::Uuid,
            "timestamptz" | "timestamp" => Self::Datetime,
            "date" => Self::Date,
            "time" | "timetz" => Self::Time,
            "json" | "jsonb" => Self::Json,
            _ => Self::String,
        }
    }

    /// Coerces an input value (section 3.5). `BigInt` and `BigFloat` come out as strings, `UUID` in
    /// the spelling of PostgreSQL.
    pub fn coerce_input(self, value: &Value) -> Result<Value, String> {
        let refused = || Err(format!("{} cannot represent {}", self.name(), excerpt(value)));
        match (self, value) {
            (Self::Json, _)
            | (Self::String | Self::Id, Value::String(_))
            | (Self::Boolean, Value::Bool(_)) => Ok(value.clone()),
            (Self::Int, Value::Number(_)) => match integer(value).map(i32::try_from) {
                Some(Ok(int)) => Ok(int.into()),
                _ => Err(format!("Int cannot represent {}: it must be a 32-bit integer", excerpt(value))),
            },
            (Self::Float, Value::Number(number)) => match number.as_f64() {
                Some(float) if float.is_finite() => Ok(value.clone()),
                _ => refused(),
            },
            (Self::Id, Value::Number(_)) => match integer(value) {
                Some(int) => Ok(int.to_string().into()),
                None => refused(),
            },
            (Self::BigInt, _) => match integer(value) {
                Some(int) => Ok(int.to_string().into()),
                None => {
                    Err(format!("BigInt cannot represent {}: it must be a 64-bit integer", excerpt(value)))
                }
            },
            (Self::BigFloat, Value::Number(number)) => Ok(number.to_string().into()),
            (Self::BigFloat, Value::String(text)) if is_numeric(text) => Ok(value.clone()),
            (Self::Uuid, Value::String(text)) => match uuid(text) {
                Some(uuid) => Ok(uuid.into()),
                None => refused(),
            },
            (Self::Datetime | Self::Date | Self::Time, Value::String(_)) => Ok(value.clone()),
            _ => refused(),
        }
    }
}

/// An integer, written as one, as a whole number with a fraction of zero, or as a string.
fn integer(value: &Value) -> Option<i64> {
    // Beyond 2^53 a double no longer says which integer was meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT)?;
            #[allow(clippy::cast_possible_truncation)]
            Some(float as i64)
        }),
        _ => None,
    }
}

/// Whether PostgreSQL's `numeric` can hold the text.
fn is_numeric(text: &str) -> bool {
    matches!(text, "NaN" | "Infinity" | "-Infinity")
        || (text.parse::<f64>().is_ok() && text.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A UUID in PostgreSQL's spelling, from any spelling that PostgreSQL reads.
fn uuid(text: &str) -> Option<String> {
    let digits = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let mut hex = String::with_capacity(36);
    for (index, byte) in digits.bytes().filter(|byte| *byte != b'-').enumerate() {
        if index == 32 || !byte.is_ascii_hexdigit() {
            return None;
        }
        if matches!(index, 8 | 12 | 16 | 20) {
            hex.push('-');
        }
        hex.push(byte.to_ascii_lowercase().into());
    }
    (hex.len() == 36).then_some(hex)
}

/// A value as error messages quote it: shortened, for a client may send megabytes.
pub fn excerpt(value: &Value) -> String {
    const CHARACTERS: usize = 60;
    let mut text = match value {
        Value::String(text) => Value::from(text.chars().take(CHARACTERS + 1).collect::<String>()).to_string(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        _ => value.to_string(),
    };
    if let Some((end, _)) = text.char_indices().nth(CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_are_coerced_or_refused() {
        let coerced = |scalar: Scalar, value: Value| scalar.coerce_input(&value).ok();
        assert_eq!(coerced(Scalar::Int, json!(2_147_483_647)), Some(json!(2_147_483_647)));
        assert_eq!(coerced(Scalar::Int, json!(3.0)), Some(json!(3)));
        assert_eq!(coerced(Scalar::Int, json!(2_147_483_648_i64)), None);
        assert_eq!(coerced(Scalar::Int, json!("1")), None);
        assert_eq!(coerced(Scalar::BigInt, json!("9223372036854775807")), Some(json!("9223372036854775807")));
        assert_eq!(coerced(Scalar::BigInt, json!("9223372036854775808")), None);
        assert_eq!(coerced(Scalar::BigInt, json!(1e19)), None);
        assert_eq!(coerced(Scalar::BigInt, json!(7)), Some(json!("7")));
        assert_eq!(coerced(Scalar::BigFloat, json!("1.50")), Some(json!("1.50")));
        assert_eq!(coerced(Scalar::BigFloat, json!("inf")), None);
        assert_eq!(coerced(Scalar::Id, json!(7)), Some(json!("7")));
        assert_eq!(coerced(Scalar::String, json!(7)), None);
        let uuid = "{A0EEBC999c0b4ef8bb6d6bb9bd380a11}";
        assert_eq!(coerced(Scalar::Uuid, json!(uuid)), Some(json!("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")));
        assert_eq!(coerced(Scalar::Uuid, json!("a0eebc99")), None);
    }
}
