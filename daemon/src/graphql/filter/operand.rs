//! A value as it is compared. Only operands of one [`super::comparable::Comparable`] meet.

use std::borrow::Cow;

use super::decimal::Decimal;
use super::moment::Moment;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Operand<'a> {
    Boolean(bool),
    Integer(i64),
    Decimal(Decimal),
    /// See [`float_rank`].
    Float(i64),
    Text(Cow<'a, str>),
    /// Place of an enum's label.
    Rank(usize),
    Moment(Moment),
}

impl Operand<'_> {
    pub(super) fn into_owned(self) -> Operand<'static> {
        match self {
            Self::Boolean(value) => Operand::Boolean(value),
            Self::Integer(value) => Operand::Integer(value),
            Self::Decimal(value) => Operand::Decimal(value),
            Self::Float(value) => Operand::Float(value),
            Self::Text(text) => Operand::Text(text.into_owned().into()),
            Self::Rank(rank) => Operand::Rank(rank),
            Self::Moment(moment) => Operand::Moment(moment),
        }
    }
}

/// An integer that orders as PostgreSQL orders doubles: both zeros are equal, NaN equals itself and is
/// the greatest.
pub(super) fn float_rank(value: f64) -> i64 {
    let value = if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN.copysign(1.0)
    } else {
        value
    };
    let bits = value.to_bits().cast_signed();
    // Negative numbers order backwards by their bits.
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::float_rank;

    #[test]
    fn floats_order_as_in_postgresql() {
        let ascending =
            [f64::NEG_INFINITY, -1e300, -1.5, -f64::MIN_POSITIVE, 0.0, 1e-300, 2.0, f64::INFINITY, f64::NAN];
        assert!(ascending.map(float_rank).is_sorted_by(|one, other| one < other));
        assert_eq!(float_rank(-0.0), float_rank(0.0));
        assert_eq!(float_rank(-f64::NAN), float_rank(f64::NAN));
    }
}
