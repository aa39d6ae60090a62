//! The order of `numeric`, of any number of digits, without arithmetic.

use std::cmp::Ordering;

/// A value of `numeric`. NaN equals itself and is the greatest, as in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Decimal {
    NegativeInfinity,
    Finite(Finite),
    Infinity,
    NaN,
}

/// `0.digits` times ten to the power of `magnitude`; zero has no digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Finite {
    negative: bool,
    magnitude: i64,
    /// Neither the first nor the last is a zero.
    digits: Box<str>,
}

impl Decimal {
    /// A decimal number, or one of PostgreSQL's words for the others.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::NaN),
            "Infinity" => return Some(Self::Infinity),
            "-Infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let (mut first, mut last) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
        let mut point = i64::try_from(first.len()).ok()?;
        if first.is_empty() {
            let significant = last.trim_start_matches('0');
            point = -i64::try_from(last.len() - significant.len()).ok()?;
            last = significant;
        }
        if last.is_empty() {
            first = first.trim_end_matches('0');
        }
        if first.is_empty() && last.is_empty() {
            return Some(Self::Finite(Finite { negative: false, magnitude: 0, digits: "".into() }));
        }
        let magnitude = exponent.checked_add(point)?;
        let mut digits = String::with_capacity(first.len() + last.len());
        digits.push_str(first);
        digits.push_str(last);
        Some(Self::Finite(Finite { negative: text.starts_with('-'), magnitude, digits: digits.into() }))
    }
}

impl Finite {
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        // Digits compare from the left, and a shorter row of them is the smaller one.
        let size = || self.magnitude.cmp(&other.magnitude).then_with(|| self.digits.cmp(&other.digits));
        self.sign().cmp(&other.sign()).then_with(|| if self.negative { size().reverse() } else { size() })
    }
}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn numbers_order_by_value() {
        let ascending = [
            "-Infinity",
            "-1e400000",
            "-10",
            "-9.99",
            "-0.001",
            "0",
            "1e-400000",
            "0.1",
            "0.12",
            "0.9",
            "1",
            "1.5",
            "9",
            "10",
            "99999999999999999999",
            "1e400000",
            "Infinity",
            "NaN",
        ];
        let parsed = ascending.map(|text| Decimal::parse(text).expect(text));
        assert!(parsed.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn equal_values_are_equal_however_they_are_spelled() {
        for (one, other) in
            [("5", "5.00"), ("-0.0", "0"), ("+5", "50e-1"), ("0.05", "5e-2"), ("1200", "1.2E3"), ("007", "7")]
        {
            assert_eq!(Decimal::parse(one), Decimal::parse(other), "{one} {other}");
        }
        for nonsense in ["", "-", ".", "1e", "e5", "0x1", "1e99999999999999999999", "nan", "--1"] {
            assert_eq!(Decimal::parse(nonsense), None, "{nonsense}");
        }
    }
}
