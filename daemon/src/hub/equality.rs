//! The one spelling in which a payload's value and an argument are compared.

use std::borrow::Cow;

/// Longest plain integer; beyond it a number is spelled with an exponent, so that `1e400000` stays short.
const PLAIN_DIGITS_MAX: usize = 40;

/// The form in which a JSON scalar's text is compared: a string without its quotes and escapes, a
/// number as [`canonical_number`] spells it, a boolean as it stands. `null`, arrays and objects have
/// none: they equal nothing.
///
/// A string and a number of the same characters compare equal: a BigInt is a string in GraphQL and
/// a number in the payload.
pub fn normal_form(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<Cow<'_, str>>(json).ok(),
        b'[' | b'{' | b'n' => None,
        b't' | b'f' => Some(json.into()),
        _ => Some(canonical_number(json).unwrap_or_else(|| json.into())),
    }
}

/// A decimal number spelled so that equal values are spelled alike: `5.00`, `+5` and `50e-1` are
/// `5`. Nothing if the text is no decimal number.
pub fn canonical_number(text: &str) -> Option<Cow<'_, str>> {
    if is_plain_integer(text) {
        return Some(text.into());
    }
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let without_zeros = digits.trim_end_matches('0');
    let shift =
        i64::try_from(digits.len() - without_zeros.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.checked_add(shift)?;
    let significant = without_zeros.trim_start_matches('0');
    if significant.is_empty() {
        return Some("0".into());
    }
    let sign = if negative { "-" } else { "" };
    Some(match usize::try_from(exponent) {
        Ok(zeros) if zeros.saturating_add(significant.len()) <= PLAIN_DIGITS_MAX => {
            format!("{sign}{significant}{:0<zeros$}", "").into()
        }
        _ => format!("{sign}{significant}e{exponent}").into(),
    })
}

/// An integer that is canonical as it stands: the common case, told without an allocation.
fn is_plain_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text == "0"
        || (digits.len() <= PLAIN_DIGITS_MAX
            && !digits.starts_with('0')
            && !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::{canonical_number, normal_form};

    #[test]
    fn equal_numbers_are_spelled_alike() {
        let groups: [&[&str]; 6] = [
            &["5", "5.00", "+5", "50e-1", "0.5E1", "005"],
            &["0", "-0", "0.00", "0e5", "-0.0"],
            &["-1.5", "-1.50", "-15e-1"],
            &["1e400000", "10e399999", "0.1e400001"],
            &["12345678901234567890123456789012345678901000", "12345678901234567890123456789012345678901e3"],
            &["0.001", "1e-3", "0.0010"],
        ];
        let mut spellings = Vec::new();
        for group in groups {
            let canonical = canonical_number(group[0]).unwrap();
            for text in group {
                assert_eq!(canonical_number(text), Some(canonical.clone()), "{text}");
                assert_eq!(canonical_number(&canonical), Some(canonical.clone()), "canonical already");
            }
            spellings.push(canonical);
        }
        spellings.sort_unstable();
        spellings.dedup();
        assert_eq!(spellings.len(), groups.len(), "different numbers are spelled differently");
        for text in ["", "-", ".", "e5", "1e", "1.2.3", "NaN", "0x1", "1e99999999999999999999"] {
            assert_eq!(canonical_number(text), None, "{text}");
        }
    }

    #[test]
    fn only_scalars_have_a_normal_form() {
        assert_eq!(normal_form("\"a\\n\"").as_deref(), Some("a\n"));
        assert_eq!(normal_form("5.00").as_deref(), Some("5"));
        assert_eq!(normal_form("true").as_deref(), Some("true"));
        for json in ["null", "[1]", "{}", ""] {
            assert_eq!(normal_form(json), None);
        }
    }
}
