//! Takes out of a filter what the router can look up, so that an event costs nothing for those whose
//! values it does not have.

use super::predicate::{Check, Filter, RowFilter, Test};
use crate::hub::project::Constraint;

/// Most combinations of values under which one subscription is filed; beyond it a list is compared.
const COMBINATIONS_MAX: usize = 100;

/// Moves equalities that every passing event must meet into `constraints`, which hold one for each
/// field at most. Returns what is left to decide, if anything.
///
/// With `old`, an UPDATE may pass by its old record, and a look-up of the new one would miss it.
pub(in crate::graphql) fn split(
    filter: Filter,
    old: bool,
    constraints: &mut Vec<Constraint>,
) -> Option<RowFilter> {
    if old {
        return Some(RowFilter { filter, old });
    }
    let mut rest = Vec::new();
    take(filter, constraints, &mut rest);
    constraints.sort_unstable_by(|one, other| one.field.cmp(&other.field));
    match rest.len() {
        0 => None,
        1 => rest.pop().map(|filter| RowFilter { filter, old }),
        _ => Some(RowFilter { filter: Filter::All(rest), old }),
    }
}

fn take(filter: Filter, constraints: &mut Vec<Constraint>, rest: &mut Vec<Filter>) {
    match filter {
        Filter::All(all) => all.into_iter().for_each(|filter| take(filter, constraints, rest)),
        Filter::Test(test) => match constraint(&test, constraints) {
            Some(constraint) => constraints.push(constraint),
            None => rest.push(Filter::Test(test)),
        },
        filter => rest.push(filter),
    }
}

fn constraint(test: &Test, taken: &[Constraint]) -> Option<Constraint> {
    let Check::OneOf(comparable, values) = &test.check else { return None };
    let combinations: usize = taken.iter().map(|constraint| constraint.values.len()).product();
    let free = !taken.iter().any(|constraint| constraint.field == test.column);
    let few = !values.is_empty() && combinations * values.len() <= COMBINATIONS_MAX;
    (comparable.has_lookup() && free && few).then(|| {
        let mut values: Vec<Box<str>> = values.iter().map(|value| value.spelling.clone()).collect();
        values.dedup();
        Constraint { field: test.column.clone(), values }
    })
}
