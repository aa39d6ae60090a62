//! From the coerced argument to a filter.

use serde_json::{Map, Value};

use super::comparable::Comparable;
use super::operators::Operator;
use super::pattern::Pattern;
use super::predicate::{Check, Comparison, Filter, Given, ListCheck, Test};
use super::{FilterField, FilterType, Subject};
use crate::graphql::limits::Limits;

/// Why a filter is refused: the path within the argument, and a message.
#[derive(Debug)]
pub(in crate::graphql) struct Refused {
    /// From the inside out.
    path: Vec<String>,
    message: String,
}

impl Refused {
    fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    fn within(mut self, segment: impl Into<String>) -> Self {
        self.path.push(segment.into());
        self
    }

    /// The message with its place, for the argument of that name.
    pub(in crate::graphql) fn describe(&self, argument: &str) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        format!("Argument {argument}{path}: {}", self.message)
    }
}

/// Compiles a value of a filter type. What is null or absent asks for nothing.
pub(in crate::graphql) fn compile(
    filter_type: &FilterType,
    value: &Value,
    limits: &Limits,
) -> Result<Filter, Refused> {
    let most = limits.filter_tests;
    let mut compiler =
        Compiler { filter_type, limits, tests_left: most, filters_left: most.saturating_add(1) };
    compiler.filter(value)
}

/// A filter that a member of the payload equals a value, or one of a list's items.
pub(in crate::graphql) fn one_of(
    member: &str,
    comparable: &Comparable,
    value: &Value,
    limits: &Limits,
) -> Result<Filter, String> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let values = equals(comparable, bounded(items, limits)?)?;
    Ok(Filter::Test(Test { column: member.into(), check: Check::OneOf(comparable.clone(), values) }))
}

struct Compiler<'a> {
    filter_type: &'a FilterType,
    limits: &'a Limits,
    tests_left: usize,
    /// Empty filters are work for every event, too.
    filters_left: usize,
}

impl Compiler<'_> {
    /// A filter is as deep as its value, which the document or the JSON parser has bounded.
    fn filter(&mut self, value: &Value) -> Result<Filter, Refused> {
        self.filters_left = self.filters_left.checked_sub(1).ok_or_else(|| {
            Refused::new(format!("a filter has at most {} nested filters", self.limits.filter_tests))
        })?;
        let Value::Object(members) = value else { return Ok(Filter::All(Vec::new())) };
        let mut all = Vec::with_capacity(members.len());
        for (name, value) in given(members) {
            let within = |refused: Refused| refused.within(format!(".{name}"));
            let part = if let Some(field) = self.filter_type.fields.get(name.as_str()) {
                self.column(field, value)
            } else if **name == *self.filter_type.and {
                self.filters(value).map(Filter::All)
            } else if **name == *self.filter_type.or {
                self.filters(value).map(Filter::Any)
            } else {
                self.filter(value).map(|filter| Filter::Not(Box::new(filter)))
            };
            all.push(part.map_err(within)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn filters(&mut self, value: &Value) -> Result<Vec<Filter>, Refused> {
        let filters = self.items(value).map_err(Refused::new)?.iter().enumerate();
        filters
            .map(|(index, value)| self.filter(value).map_err(|refused| refused.within(format!("[{index}]"))))
            .collect()
    }

    fn column(&mut self, field: &FilterField, value: &Value) -> Result<Filter, Refused> {
        let Value::Object(operators) = value else { return Ok(Filter::All(Vec::new())) };
        let mut all = Vec::with_capacity(operators.len());
        for (name, value) in given(operators) {
            self.tests_left = self.tests_left.checked_sub(1).ok_or_else(|| {
                Refused::new(format!("a filter has at most {} comparisons", self.limits.filter_tests))
            })?;
            let check = self.check(&field.subject, name, value);
            let check = check.map_err(|message| Refused::new(message).within(format!(".{name}")))?;
            all.push(Filter::Test(Test { column: field.column.clone(), check }));
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn check(&self, subject: &Subject, operator: &str, value: &Value) -> Result<Check, String> {
        let operator = Operator::from_name(operator).ok_or_else(|| format!("{operator} is no operator"))?;
        let comparable = match subject {
            Subject::Value(comparable) => comparable,
            Subject::List(comparable) => return self.list_check(comparable, operator, value),
            Subject::Opaque => return Ok(Check::IsNull(value == "NULL")),
        };
        let comparison = match operator {
            Operator::Is => return Ok(Check::IsNull(value == "NULL")),
            Operator::Eq => return Ok(Check::OneOf(comparable.clone(), vec![compared(comparable, value)?])),
            Operator::In => {
                return Ok(Check::OneOf(comparable.clone(), equals(comparable, self.items(value)?)?));
            }
            Operator::Like | Operator::Ilike => {
                let pattern = Pattern::new(text(value), operator == Operator::Ilike)?;
                return Ok(Check::Like(pattern));
            }
            Operator::StartsWith => return Ok(Check::StartsWith(text(value).into())),
            Operator::Gt => Comparison::Greater,
            Operator::Gte => Comparison::GreaterOrEqual,
            Operator::Lt => Comparison::Less,
            Operator::Lte => Comparison::LessOrEqual,
            Operator::Neq | Operator::Contains | Operator::ContainedBy | Operator::Overlaps => {
                Comparison::NotEqual
            }
        };
        Ok(Check::Compare(comparable.clone(), comparison, compared(comparable, value)?))
    }

    fn list_check(
        &self,
        comparable: &Comparable,
        operator: Operator,
        value: &Value,
    ) -> Result<Check, String> {
        let check = match operator {
            Operator::Is => return Ok(Check::IsNull(value == "NULL")),
            Operator::Contains => ListCheck::Contains,
            Operator::ContainedBy => ListCheck::ContainedBy,
            Operator::Overlaps => ListCheck::Overlaps,
            _ => ListCheck::Equal,
        };
        let operands =
            self.items(value)?.iter().map(|value| comparable.operand(value)).collect::<Result<_, _>>()?;
        Ok(Check::List(comparable.clone(), check, operands))
    }

    fn items<'v>(&self, value: &'v Value) -> Result<&'v [Value], String> {
        bounded(value.as_array().map(Vec::as_slice).unwrap_or_default(), self.limits)
    }
}

fn bounded<'v>(items: &'v [Value], limits: &Limits) -> Result<&'v [Value], String> {
    if items.len() > limits.list_items {
        return Err(format!("at most {} items are allowed", limits.list_items));
    }
    Ok(items)
}

/// The members that ask for something: a null is as good as nothing, so that a client can leave the
/// value of an optional variable out.
fn given(members: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    members.iter().filter(|(_, value)| !value.is_null())
}

fn compared(comparable: &Comparable, value: &Value) -> Result<Given, String> {
    Ok(Given { operand: comparable.operand(value)?, spelling: comparable.spelling(value)? })
}

/// Values to be equal to, each once. A null equals nothing.
fn equals(comparable: &Comparable, values: &[Value]) -> Result<Vec<Given>, String> {
    let given = values.iter().filter(|value| !value.is_null());
    let mut values = given.map(|value| compared(comparable, value)).collect::<Result<Vec<_>, _>>()?;
    values.sort_unstable_by(|one, other| one.spelling.cmp(&other.spelling));
    values.dedup();
    Ok(values)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
