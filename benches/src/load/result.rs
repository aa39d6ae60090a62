//! What a result tells: the number of its event, and when that was made.

use anyhow::{Context, Result};
use memchr::memmem;

/// A delivery, as read from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) seq: u32,
    /// Microseconds since 1970.
    pub(crate) sent_micros: u64,
}

impl Stamp {
    /// Found without parsing the result: parsing a hundred thousand a second would measure the parser.
    pub(crate) fn find(result: &[u8]) -> Result<Self> {
        let number = |key: &[u8]| {
            number_after(result, key)
                .with_context(|| format!("a result without a number: {}", String::from_utf8_lossy(result)))
        };
        Ok(Self { seq: u32::try_from(number(b"\"seq")?)?, sent_micros: number(b"\"sent")? })
    }
}

/// The number behind a key. Some systems send the data as text in text, so that quotes are escaped.
fn number_after(result: &[u8], key: &[u8]) -> Option<u64> {
    let behind = &result[memmem::find(result, key)? + key.len()..];
    let between = behind.iter().position(u8::is_ascii_digit)?;
    if !matches!(&behind[..between], br#"":"# | br#"": "# | br#"\":"# | br#"\": "#) {
        return None;
    }
    let digits = behind[between..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.take(18).try_fold(0_u64, |number, digit| Some(number * 10 + u64::from(digit - b'0')))
}

/// Now, in microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_numbers_however_the_data_is_written() {
        let stamp = Stamp { seq: 17, sent_micros: 1_700_000_000_000_001 };
        for result in [
            r#"{"data":{"events":{"data":{"pad": "x", "seq": 17, "sent": 1700000000000001}}}}"#,
            r#"{"data":{"events":{"data":{"seq":17,"sent":1700000000000001}}}}"#,
            r#"{"data":{"events":{"data":"{\"seq\": 17, \"sent\": 1700000000000001}"}}}"#,
        ] {
            assert_eq!(Stamp::find(result.as_bytes()).unwrap(), stamp, "{result}");
        }
    }

    #[test]
    fn a_result_with_errors_is_no_delivery() {
        assert!(Stamp::find(br#"{"errors":[{"message":"no"}]}"#).is_err());
        assert!(Stamp::find(br#"{"data":{"events":{"data":{"seq":null,"sent":1}}}}"#).is_err());
    }
}
