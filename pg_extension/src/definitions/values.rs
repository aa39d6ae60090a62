//! Constant values in documents: defaults and the arguments of directives, against their types.

use super::graph::{Entry, Graph, Kind, Origin, written};
use super::parse::{Type, Value};
use super::problem::cut;

const EXCERPT_CHARACTERS_MAX: usize = 40;

/// Why a value is none of a type; `None` if it is one (section 3.5 to 3.12, input coercion).
pub(super) fn mismatch(graph: &Graph<'_>, wanted: &Type, value: &Value) -> Option<String> {
    match (wanted, value) {
        (_, Value::Variable(name)) => Some(format!("${name} is a variable, which there is none of here")),
        (Type::NonNullType(_), Value::Null) => Some(format!("expected {}, found null", written(wanted))),
        (Type::NonNullType(inner), _) => mismatch(graph, inner, value),
        (_, Value::Null) => None,
        (Type::ListType(inner), Value::List(items)) => {
            items.iter().find_map(|item| mismatch(graph, inner, item))
        }
        (Type::ListType(inner), _) => mismatch(graph, inner, value),
        (Type::NamedType(name), _) => {
            // Unknown types are told of where they are named.
            let entry = graph.get(name)?;
            match entry.kind {
                Kind::Scalar => scalar_mismatch(entry, value),
                Kind::Enum => enum_mismatch(graph, entry, value),
                Kind::Input => input_mismatch(graph, entry, value),
                _ => None,
            }
        }
    }
}

fn scalar_mismatch(entry: &Entry<'_>, value: &Value) -> Option<String> {
    // Others are what their author says they are.
    if entry.origin != Origin::BuiltIn {
        return None;
    }
    let fits = match (entry.name, value) {
        ("Int", Value::Int(number)) => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        ("JSON", _) | ("Float" | "BigFloat", Value::Int(_) | Value::Float(_)) => true,
        ("ID" | "BigInt", Value::Int(_)) | ("Boolean", Value::Boolean(_)) => true,
        ("Int" | "Float" | "Boolean", _) => false,
        (_, Value::String(_)) => true,
        _ => false,
    };
    (!fits)
        .then(|| format!("expected {}, found {}", entry.name, cut(value.to_string(), EXCERPT_CHARACTERS_MAX)))
}

fn enum_mismatch(graph: &Graph<'_>, entry: &Entry<'_>, value: &Value) -> Option<String> {
    match value {
        // The labels of derived enums may change; the daemon looks at them.
        Value::Enum(_) if matches!(entry.origin, Origin::Derived(_) | Origin::BuiltIn) => None,
        Value::Enum(name) if graph.has_value(entry.name, name) => None,
        Value::Enum(name) => Some(format!("{name} is no value of enum {:?}", entry.name)),
        other => Some(format!(
            "expected a value of enum {:?}, found {}",
            entry.name,
            cut(other.to_string(), EXCERPT_CHARACTERS_MAX)
        )),
    }
}

fn input_mismatch(graph: &Graph<'_>, entry: &Entry<'_>, value: &Value) -> Option<String> {
    let Value::Object(fields) = value else {
        return Some(format!(
            "expected input type {:?}, found {}",
            entry.name,
            cut(value.to_string(), EXCERPT_CHARACTERS_MAX)
        ));
    };
    if entry.directives.iter().any(|(_, used)| used.name == "oneOf")
        && (fields.len() != 1 || fields.values().any(|value| *value == Value::Null))
    {
        return Some(format!("input type {:?} is @oneOf: exactly one field, not null", entry.name));
    }
    let wrong = fields.iter().find_map(|(name, value)| match graph.input(entry.name, name) {
        None => Some(format!("input type {:?} has no field {name:?}", entry.name)),
        Some(input) => mismatch(graph, &input.value_type, value),
    });
    wrong.or_else(|| {
        let missing = graph.required(entry.name).iter().find(|name| !fields.contains_key(**name))?;
        Some(format!("field {missing:?} of input type {:?} is missing", entry.name))
    })
}
