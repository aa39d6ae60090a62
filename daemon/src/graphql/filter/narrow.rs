//! What the database can evaluate of a filter, where current rows are read. Each row that it hands over is
//! decided by the filter itself, so this may leave out conditions, and never adds one.

use serde_json::Value;

use super::comparable::Comparable;
use super::predicate::{Check, Comparison, Filter, RowFilter, Test};
use super::{FilterType, Subject};
use crate::hub::project::Constraint;
use crate::source::rows::{self, Narrowing, Reads};

/// Longest value that is handed to the database.
const VALUE_BYTES_MAX: usize = 1_024;

/// Largest power of ten of a number that is handed over.
const EXPONENT_MAX: i32 = 100;

/// Conditions that every row satisfies that meets the constraints and passes the filter.
pub(in crate::graphql) fn narrow(
    filter_type: &FilterType,
    constraints: &[Constraint],
    filter: Option<&RowFilter>,
) -> Vec<Narrowing> {
    let mut all: Vec<Narrowing> = constraints
        .iter()
        .filter_map(|constraint| {
            let comparable = filter_type.comparable(&constraint.field)?;
            one_of(&constraint.field, comparable, constraint.values.iter().map(|value| &**value))
        })
        .collect();
    if let Some(filter) = filter {
        all.extend(conditions(&filter.filter));
    }
    all
}

/// The condition that a column which says whose a row is holds this value; one that nothing satisfies if
/// it cannot. Nothing if that is not known.
pub(in crate::graphql) fn owned_by(
    column: &str,
    comparable: Option<&Comparable>,
    value: Option<&str>,
) -> Option<Narrowing> {
    let nobody = Narrowing::OneOf { column: column.into(), values: Vec::new(), reads: Reads::Column };
    let Some(value) = value else { return Some(nobody) };
    let comparable = comparable?;
    match comparable {
        Comparable::Uuid if !is_uuid(value) => return Some(nobody),
        Comparable::Integer | Comparable::Enum(_) => {
            if comparable.operand(&Value::from(value)).is_err() {
                return Some(nobody);
            }
        }
        Comparable::Uuid | Comparable::Text | Comparable::PaddedText => {}
        _ => return None,
    }
    one_of(column, comparable, [value].into_iter())
}

/// Conditions that all hold where the filter does.
fn conditions(filter: &Filter) -> Vec<Narrowing> {
    match filter {
        Filter::All(all) => all.iter().flat_map(conditions).collect(),
        Filter::Any(any) => {
            let any: Vec<Vec<Narrowing>> = any.iter().map(conditions).collect();
            let known = !any.is_empty() && any.iter().all(|all| !all.is_empty());
            known.then_some(Narrowing::Any(any)).into_iter().collect()
        }
        Filter::Not(_) => Vec::new(),
        Filter::Test(test) => condition(test).into_iter().collect(),
    }
}

fn condition(test: &Test) -> Option<Narrowing> {
    let column = || test.column.clone();
    match &test.check {
        Check::IsNull(null) => Some(Narrowing::IsNull { column: column(), null: *null }),
        Check::OneOf(comparable, values) => {
            one_of(&test.column, comparable, values.iter().map(|value| &*value.spelling))
        }
        Check::Compare(comparable, comparison, given) => {
            let comparison = match comparison {
                Comparison::NotEqual => return None,
                Comparison::Greater => rows::Comparison::Greater,
                Comparison::GreaterOrEqual => rows::Comparison::GreaterOrEqual,
                Comparison::Less => rows::Comparison::Less,
                Comparison::LessOrEqual => rows::Comparison::LessOrEqual,
            };
            let reads = reads(comparable, &given.spelling, true)?;
            Some(Narrowing::Compare { column: column(), comparison, value: given.spelling.clone(), reads })
        }
        Check::StartsWith(prefix) if prefix.len() <= VALUE_BYTES_MAX => {
            Some(Narrowing::StartsWith { column: column(), prefix: prefix.clone() })
        }
        Check::StartsWith(_) | Check::Like(_) | Check::List(..) => None,
    }
}

fn one_of<'a>(
    column: &str,
    comparable: &Comparable,
    values: impl Iterator<Item = &'a str>,
) -> Option<Narrowing> {
    let mut reading = Reads::Column;
    let mut texts = Vec::new();
    for value in values {
        reading = reads(comparable, value, false)?;
        texts.push(value.into());
    }
    Some(Narrowing::OneOf { column: column.into(), values: texts, reads: reading })
}

/// What reads a value in the database; nothing if it could be out of range there.
fn reads(comparable: &Comparable, value: &str, ordered: bool) -> Option<Reads> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    match comparable {
        Comparable::Integer => Some(Reads::Bigint),
        Comparable::Text if ordered => Some(Reads::Bytes),
        // Blanks at the end count in one place and not in the other.
        Comparable::PaddedText if ordered => None,
        Comparable::Boolean
        | Comparable::Uuid
        | Comparable::Text
        | Comparable::PaddedText
        | Comparable::Enum(_)
        | Comparable::Time => Some(Reads::Column),
        // Numbers and years that the type does not hold.
        Comparable::Decimal => {
            let exponent = value.split_once('e').map_or(Ok(0), |(_, exponent)| exponent.parse::<i32>());
            exponent.is_ok_and(|it| it.abs() <= EXPONENT_MAX).then_some(Reads::Column)
        }
        Comparable::Timestamptz | Comparable::Timestamp | Comparable::Date => {
            (!value.ends_with("BC")).then_some(Reads::Column)
        }
        // Equal by rounding here, perhaps not there.
        Comparable::Float | Comparable::Real => None,
    }
}

/// Whether PostgreSQL spells a UUID so.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

impl FilterType {
    /// How the values of a column compare.
    fn comparable(&self, column: &str) -> Option<&Comparable> {
        self.fields.values().find_map(|field| match &field.subject {
            Subject::Value(comparable) if *field.column == *column => Some(comparable),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::graphql::filter::{FilterField, compile, split};
    use crate::graphql::limits::Limits;

    fn narrowed(filter: Value) -> String {
        let columns = [
            ("id", Comparable::Integer),
            ("price", Comparable::Decimal),
            ("weight", Comparable::Float),
            ("name", Comparable::Text),
            ("at", Comparable::Date),
        ];
        let field = |(name, comparable): (&str, Comparable)| {
            let field = FilterField { column: name.into(), subject: Subject::Value(comparable) };
            (name.into(), field)
        };
        let filter_type = FilterType {
            fields: columns.into_iter().map(field).collect(),
            and: "and".into(),
            or: "or".into(),
            not: "not".into(),
        };
        let filter = compile(&filter_type, &filter, &Limits::default()).unwrap();
        let mut constraints = Vec::new();
        let rest = split(filter, false, &mut constraints);
        let narrowed = narrow(&filter_type, &constraints, rest.as_ref());
        narrowed.iter().map(told).collect::<Vec<_>>().join(" & ")
    }

    fn told(narrowing: &Narrowing) -> String {
        match narrowing {
            Narrowing::OneOf { column, values, reads } => format!("{column} in {values:?} {reads:?}"),
            Narrowing::Compare { column, comparison, value, reads } => {
                format!("{column} {comparison:?} {value} {reads:?}")
            }
            Narrowing::StartsWith { column, prefix } => format!("{column} starts {prefix}"),
            Narrowing::IsNull { column, null } => format!("{column} null {null}"),
            Narrowing::Any(any) => {
                let all = any.iter().map(|all| all.iter().map(told).collect::<Vec<_>>().join(" & "));
                format!("({})", all.collect::<Vec<_>>().join(" | "))
            }
        }
    }

    #[test]
    fn only_what_every_passing_row_satisfies_is_asked_of_the_database() {
        assert_eq!(narrowed(json!({})), "");
        assert_eq!(narrowed(json!({ "id": { "eq": "70000" } })), r#"id in ["70000"] Bigint"#);
        assert_eq!(
            narrowed(json!({ "name": { "gt": "a", "startsWith": "b" }, "price": { "lte": "2.50" } })),
            "name Greater a Bytes & name starts b & price LessOrEqual 25e-1 Column"
        );
        assert_eq!(narrowed(json!({ "not": { "id": { "eq": "1" } } })), "");
        assert_eq!(narrowed(json!({ "id": { "neq": "1" }, "name": { "ilike": "%a%" } })), "");
        assert_eq!(narrowed(json!({ "weight": { "gt": 1.5 }, "price": { "lt": "1e400" } })), "");
        assert_eq!(narrowed(json!({ "at": { "gt": "-000100-01-01" } })), "");
        assert_eq!(
            narrowed(json!({ "or": [{ "id": { "gt": "1" } }, { "name": { "is": "NULL" } }] })),
            "(id Greater 1 Bigint | name null true)"
        );
        assert_eq!(narrowed(json!({ "or": [{ "id": { "gt": "1" } }, { "weight": { "gt": 2 } }] })), "");
    }

    #[test]
    fn an_owner_that_the_column_cannot_hold_owns_nothing() {
        let told = |comparable: Comparable, value| owned_by("t", Some(&comparable), value).as_ref().map(told);
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(told(Comparable::Text, Some("acme")), is(r#"t in ["acme"] Column"#));
        assert_eq!(told(Comparable::Text, None), is("t in [] Column"));
        assert_eq!(told(Comparable::Integer, Some("acme")), is("t in [] Column"));
        assert_eq!(told(Comparable::Integer, Some("7")), is(r#"t in ["7"] Bigint"#));
        assert_eq!(told(Comparable::Uuid, Some("acme")), is("t in [] Column"));
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        assert_eq!(told(Comparable::Uuid, Some(uuid)), is(&format!(r#"t in ["{uuid}"] Column"#)));
        assert_eq!(told(Comparable::Float, Some("1")), None);
        assert_eq!(owned_by("t", None, Some("acme")), None);
    }
}
