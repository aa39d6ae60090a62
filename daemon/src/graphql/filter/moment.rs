//! The order of dates and times, read from the spelling that capture gives them: ISO 8601, with
//! PostgreSQL's `BC`, `infinity`, and years of more than four digits; an offset is always that of UTC.

/// A date, a time of day, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Moment {
    NegativeInfinity,
    At {
        /// Astronomical: 1 BC is the year 0.
        year: i32,
        month: u8,
        day: u8,
        microsecond: i64,
    },
    Infinity,
}

impl Moment {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "infinity" => return Some(Self::Infinity),
            "-infinity" => return Some(Self::NegativeInfinity),
            _ => {}
        }
        let (text, before_christ) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (Some(date), Some(time)),
            None if text.contains(':') => (None, Some(text)),
            None => (Some(text), None),
        };
        let (year, month, day) = date.map_or(Some((0, 0, 0)), parse_date)?;
        let microsecond = time.map_or(Some(0), parse_time)?;
        Some(Self::At { year: if before_christ { 1 - year } else { year }, month, day, microsecond })
    }
}

fn parse_date(text: &str) -> Option<(i32, u8, u8)> {
    let mut parts = text.split('-');
    let date = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(date)
}

fn parse_time(text: &str) -> Option<i64> {
    let text = text.strip_suffix("+00:00").unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds = 0;
    let mut parts = 0;
    for part in whole.split(':') {
        let part: u8 = part.parse().ok()?;
        seconds = seconds * 60 + i64::from(part);
        parts += 1;
    }
    if parts != 3 || fraction.len() > 6 {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<6}").parse().ok()?;
    Some(seconds * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::Moment;

    #[test]
    fn moments_order_by_time() {
        let ascending = [
            "-infinity",
            "4713-01-01 BC",
            "0044-03-15T12:00:00+00:00 BC",
            "0044-03-16 BC",
            "0001-01-01 BC",
            "0001-01-01",
            "2026-01-02T03:04:05.12+00:00",
            "2026-01-02T03:04:05.2",
            "2026-01-02T23:59:59.999999",
            "2026-01-03",
            "10000-01-01",
            "294276-12-31T23:59:59.999999+00:00",
            "infinity",
        ];
        let parsed = ascending.map(|text| Moment::parse(text).expect(text));
        assert!(parsed.is_sorted_by(|one, other| one < other), "{parsed:?}");
        let times = ["00:00:00", "03:04:05.5", "03:04:05.51", "24:00:00"].map(Moment::parse);
        assert!(times.is_sorted_by(|one, other| one < other));
        for nonsense in ["", "2026", "2026-01", "2026-01-02T", "x", "1:2", "2026-01-02T03:04:05.1234567"] {
            assert_eq!(Moment::parse(nonsense), None, "{nonsense}");
        }
    }
}
