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
    /// Names in lower case and values without quotes.
    parameters: Vec<(String, String)>,
}

impl Accept {
    /// Reads all `Accept` headers. Ranges that make no sense are skipped.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<_> =
            values.flat_map(|value| value.split(',')).take(RANGES_MAX).filter_map(Range::parse).collect();
        if !headers.contains_key(header::ACCEPT) {
            return Self { ranges: Range::parse("*/*").into_iter().collect() };
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
        self.named_with((kind, subtype), &[])
    }

    /// The same for a media type that has these parameters, whose names are in lower case.
    pub fn named_with(&self, (kind, subtype): (&str, &str), parameters: &[(&str, &str)]) -> Quality {
        let named = self.ranges.iter().filter(|range| range.kind == kind && range.subtype == subtype);
        let having = named.filter(|range| parameters.iter().all(|parameter| range.has(*parameter)));
        having.map(|range| range.quality).max().unwrap_or(0)
    }
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let mut range = Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            quality: 1000,
            parameters: Vec::new(),
        };
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            if name == "q" {
                range.quality = thousandths(value)?;
            } else {
                range.parameters.push((name, value.trim_matches('"').to_owned()));
            }
        }
        Some(range)
    }

    fn has(&self, (name, value): (&str, &str)) -> bool {
        self.parameters.iter().any(|(key, given)| key == name && given == value)
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
    fn parameters_have_to_be_there() {
        let accept = accept("a/b;x=1;q=0.5, a/b;X=\"2\" ; y=3, a/b;q=0.9;x=1");
        let quality = |parameters: &[(&str, &str)]| accept.named_with(("a", "b"), parameters);
        assert_eq!(quality(&[("x", "1")]), 900);
        assert_eq!(quality(&[("x", "2")]), 1000);
        assert_eq!(quality(&[("x", "2"), ("y", "3")]), 1000);
        assert_eq!(quality(&[("x", "1"), ("y", "3")]), 0);
        assert_eq!(quality(&[("y", "")]), 0);
    }

    #[test]
    fn nonsense_is_skipped() {
        for nonsense in ["", "text", "/", "text/", "text/event-stream;q=2", "text/event-stream;q=NaN"] {
            assert_eq!(accept(nonsense).quality("text", "event-stream"), 0, "{nonsense:?}");
        }
        assert_eq!(Accept::of(&HeaderMap::new()).quality("text", "event-stream"), 1000);
    }
}
