//! Decides whether an event passes a filter, as PostgreSQL would decide a WHERE clause.

use std::collections::{BTreeSet, HashSet};

use serde_json::value::RawValue;

use super::comparable::Comparable;
use super::operand::Operand;
use super::pattern::Pattern;
use crate::event::Members;
use crate::hub::project::{ParsedEvent, Predicate};

/// A filter of events.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::graphql) struct RowFilter {
    pub(super) filter: Filter,
    /// Whether an UPDATE passes by its old record, too.
    pub(super) old: bool,
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::graphql) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Test(Test),
}

/// A check of one column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::graphql) struct Test {
    pub(super) column: Box<str>,
    pub(super) check: Check,
}

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Check {
    /// Null, or not.
    IsNull(bool),
    /// Equals one of these.
    OneOf(Comparable, Vec<Given>),
    Compare(Comparable, Comparison, Given),
    Like(Pattern),
    StartsWith(Box<str>),
    List(Comparable, ListCheck, Vec<Operand<'static>>),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Given {
    pub(super) operand: Operand<'static>,
    /// As PostgreSQL spells it: what the router would look up.
    pub(super) spelling: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ListCheck {
    Equal,
    Contains,
    ContainedBy,
    Overlaps,
}

/// Which values a condition may have: true, false or null. Usually one; several if the record was too
/// large to be kept and the value that decides is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outcomes(u8);

impl Outcomes {
    const TRUE: Self = Self(1);
    const FALSE: Self = Self(2);
    const NULL: Self = Self(4);
    const UNKNOWN: Self = Self(7);

    const fn known(truth: bool) -> Self {
        if truth { Self::TRUE } else { Self::FALSE }
    }

    const fn may_be(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The outcomes of a combination: `weak` if both may be it, `strong` if one may, null in between.
    const fn combined(self, other: Self, weak: Self, strong: Self) -> Self {
        let mut all = 0;
        if self.may_be(weak) && other.may_be(weak) {
            all |= weak.0;
        }
        if self.may_be(strong) || other.may_be(strong) {
            all |= strong.0;
        }
        let one_null = self.may_be(Self::NULL) && other.may_be(Self(weak.0 | Self::NULL.0));
        let other_null = other.may_be(Self::NULL) && self.may_be(Self(weak.0 | Self::NULL.0));
        if one_null || other_null {
            all |= Self::NULL.0;
        }
        Self(all)
    }

    const fn and(self, other: Self) -> Self {
        self.combined(other, Self::TRUE, Self::FALSE)
    }

    const fn or(self, other: Self) -> Self {
        self.combined(other, Self::FALSE, Self::TRUE)
    }

    const fn not(self) -> Self {
        Self((self.0 & Self::NULL.0) | ((self.0 & 1) << 1) | ((self.0 & 2) >> 1))
    }
}

impl Predicate for RowFilter {
    fn passes(&self, event: &ParsedEvent<'_>) -> bool {
        let cut = event.event.truncated;
        let passes = |record: &Members<'_>| self.filter.outcomes(record, cut).may_be(Outcomes::TRUE);
        passes(&event.record) || (self.old && event.old.as_ref().is_some_and(passes))
    }
}

impl RowFilter {
    /// Whether an UPDATE may pass by its old record.
    pub(in crate::graphql) fn looks_at_old(&self) -> bool {
        self.old
    }

    /// Adds the columns that decide.
    pub(in crate::graphql) fn columns(&self, columns: &mut BTreeSet<Box<str>>) {
        self.filter.columns(columns);
    }
}

impl Filter {
    fn columns(&self, columns: &mut BTreeSet<Box<str>>) {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().for_each(|filter| filter.columns(columns)),
            Self::Not(filter) => filter.columns(columns),
            Self::Test(test) => drop(columns.insert(test.column.clone())),
        }
    }

    fn outcomes(&self, record: &Members<'_>, cut: bool) -> Outcomes {
        let each = |filter: &Self| filter.outcomes(record, cut);
        match self {
            Self::All(all) => all.iter().map(each).fold(Outcomes::TRUE, Outcomes::and),
            Self::Any(any) => any.iter().map(each).fold(Outcomes::FALSE, Outcomes::or),
            Self::Not(filter) => each(filter).not(),
            Self::Test(test) => test.outcomes(record, cut),
        }
    }
}

impl Test {
    fn outcomes(&self, record: &Members<'_>, cut: bool) -> Outcomes {
        // Not even null is one of none.
        if matches!(&self.check, Check::OneOf(_, values) if values.is_empty()) {
            return Outcomes::FALSE;
        }
        let json = match record.get(&self.column) {
            None if cut => return Outcomes::UNKNOWN,
            json => json.filter(|json| json.trim_ascii() != "null"),
        };
        match (&self.check, json) {
            (Check::IsNull(null), json) => Outcomes::known(*null == json.is_none()),
            (_, None) => Outcomes::NULL,
            // A value of another type is from before the column was altered: nobody can say that it
            // would not pass now.
            (check, Some(json)) => check.holds(json).map_or(Outcomes::UNKNOWN, Outcomes::known),
        }
    }
}

impl Check {
    /// Nothing if the value is none that the check knows.
    fn holds(&self, json: &str) -> Option<bool> {
        let text = || match Comparable::Text.read(json)? {
            Operand::Text(text) => Some(text),
            _ => None,
        };
        Some(match self {
            // Decided before; a value is there.
            Self::IsNull(null) => !null,
            Self::OneOf(comparable, values) => {
                let value = comparable.read(json)?;
                values.iter().any(|it| it.operand == value)
            }
            Self::Compare(comparable, comparison, given) => {
                let order = comparable.read(json)?.cmp(&given.operand);
                match comparison {
                    Comparison::NotEqual => order.is_ne(),
                    Comparison::Greater => order.is_gt(),
                    Comparison::GreaterOrEqual => order.is_ge(),
                    Comparison::Less => order.is_lt(),
                    Comparison::LessOrEqual => order.is_le(),
                }
            }
            Self::Like(pattern) => pattern.matches(&text()?),
            Self::StartsWith(prefix) => text()?.starts_with(&**prefix),
            Self::List(comparable, check, operands) => {
                let items = items(comparable, json, DIMENSIONS_MAX)?;
                // A null item equals nothing.
                let known = || items.iter().flatten();
                match check {
                    ListCheck::Equal => items.iter().map(Option::as_ref).eq(operands.iter().map(Some)),
                    ListCheck::Contains => {
                        let known: HashSet<_> = known().collect();
                        operands.iter().all(|operand| known.contains(operand))
                    }
                    ListCheck::ContainedBy => items
                        .iter()
                        .all(|item| item.as_ref().is_some_and(|it| operands.iter().any(|other| other == it))),
                    ListCheck::Overlaps => known().any(|it| operands.iter().any(|other| other == it)),
                }
            }
        })
    }
}

/// Dimensions that an array of PostgreSQL may have (its `MAXDIM`). What nests deeper is no array of a
/// column's.
const DIMENSIONS_MAX: u32 = 6;

/// The items of a JSON list, those of nested lists among them as PostgreSQL counts them; nulls as `None`.
/// Nothing if lists nest deeper than this many dimensions.
fn items<'a>(comparable: &Comparable, json: &'a str, dimensions: u32) -> Option<Vec<Option<Operand<'a>>>> {
    let below = dimensions.checked_sub(1)?;
    let list: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        match item.get().as_bytes().first()? {
            b'n' => items.push(None),
            b'[' => items.extend(self::items(comparable, item.get(), below)?),
            _ => items.push(Some(comparable.read(item.get())?)),
        }
    }
    Some(items)
}

#[cfg(test)]
mod tests {
    use super::Outcomes;

    /// The tables of SQL's three-valued logic.
    #[test]
    fn outcomes_combine_as_in_sql() {
        use std::cmp::{max, min};
        // False < null < true is the order in which AND takes the least and OR the greatest.
        let ranked = [Outcomes::FALSE, Outcomes::NULL, Outcomes::TRUE];
        let sets = |bits: u8| (0..3).filter(move |rank| bits & ranked[*rank].0 != 0);
        for one in 1..8 {
            for other in 1..8 {
                let expected = |choose: fn(usize, usize) -> usize| {
                    let pairs = sets(one).flat_map(|a| sets(other).map(move |b| choose(a, b)));
                    Outcomes(pairs.fold(0, |all, rank| all | ranked[rank].0))
                };
                assert_eq!(Outcomes(one).and(Outcomes(other)), expected(min), "{one} and {other}");
                assert_eq!(Outcomes(one).or(Outcomes(other)), expected(max), "{one} or {other}");
            }
        }
        assert_eq!(Outcomes::TRUE.not(), Outcomes::FALSE);
        assert_eq!(Outcomes::NULL.not(), Outcomes::NULL);
        assert_eq!(Outcomes::UNKNOWN.not(), Outcomes::UNKNOWN);
    }
}
