//! The `Accept` header (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// Ranges that are looked at; nobody sends more in earnest.
const RANGES_MAX: usize = 64;

/// A quality in thousandths; 0 is "not acceptable".
type Quality = u16;

/// The media ranges that a client accepts. No header means that it accepts everything.
#[derive(Debug, PartialEq, Eq)]
pub struct Accept {
    ranges: Vec<Range>,
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    kind: String,
    subtype: String,
    quality: Quality,
}

impl Accept {
    /// Reads all `Accept` headers. Ranges that make no sense are skipped.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> =
            values.flat_map(|value| value.split(',')).take(RANGES_MAX).filter_map(Range::parse).collect();
        if !headers.contains_key(header::ACCEPT) {
            return Self { ranges: vec![Range { kind: "*".into(), subtype: "*".into(), quality: 1000 }] };
        }
        Self { ranges }
    }

    /// The quality of a media type: that of the most specific range that matches it.
    pub fn quality(&self, kind: &str, subtype: &str) -> Quality {
        let matching = self.ranges.iter().filter(|range| range.matches(kind, subtype));
        matching.max_by_key(|range| (range.specificity(), range.quality)).map_or(0, |range| range.quality)
    }

    /// The quality of a media type that is named in full; a wildcard does not count.
    pub fn named(&self, kind: &str, subtype: &str) -> Quality {
        let named = self.ranges.iter().filter(|range| range.kind == kind && range.subtype == subtype);
        named.map(|range| range.quality).max().unwrap_or(0)
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let mut quality = 1000;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.trim().eq_ignore_ascii_case("q") {
                quality = thousandths(value.trim())?;
            }
        }
        Some(Self { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), quality })
    }

    fn matches(&self, kind: &str, subtype: &str) -> bool {
        (self.kind == "*" || self.kind == kind) && (self.subtype == "*" || self.subtype == subtype)
    }

    fn specificity(&self) -> u8 {
        u8::from(self.kind != "*") + u8::from(self.subtype != "*")
    }
}

fn thousandths(text: &str) -> Option<Quality> {
    let value: f32 = text.parse().ok()?;
    (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as Quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value.parse().unwrap());
        Accept::of(&headers)
    }

    #[test]
    fn the_most_specific_range_decides() {
        let accept =
            accept("text/*;q=0.3, text/html;q=0.7, text/event-stream, */*;q=0.1, application/json;q=0");
        assert_eq!(accept.quality("text", "event-stream"), 1000);
        assert_eq!(accept.quality("text", "html"), 700);
        assert_eq!(accept.quality("text", "plain"), 300);
        assert_eq!(accept.quality("image", "png"), 100);
        assert_eq!(accept.quality("application", "json"), 0);
    }

    #[test]
    fn a_wildcard_names_nothing() {
        assert_eq!(accept("*/*").named("text", "event-stream"), 0);
        assert_eq!(accept("*/*").quality("text", "event-stream"), 1000);
        assert_eq!(accept("text/event-stream;q=0").named("text", "event-stream"), 0);
        assert_eq!(accept("TEXT/Event-Stream ; Q=0.5").named("text", "event-stream"), 500);
        assert_eq!(accept("text/event-stream, multipart/mixed").named("text", "event-stream"), 1000);
        let both = accept("application/graphql-response+json, text/event-stream");
        assert_eq!(both.named("text", "event-stream"), 1000);
    }

    #[test]
    fn nonsense_is_skipped() {
        for nonsense in ["", "text", "/", "text/", "text/event-stream;q=2", "text/event-stream;q=NaN"] {
            assert_eq!(accept(nonsense).quality("text", "event-stream"), 0, "{nonsense:?}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).quality("text", "event-stream"), 1000);
    }
}
