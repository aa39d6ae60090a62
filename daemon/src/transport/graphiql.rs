//! GraphiQL for browsers: a page that is part of the binary (`ui/`), and asks no other host for anything.
//!
//! The page knows nothing and has no rights: whoever uses it brings a token, as any other client.

use std::io::Read;
use std::sync::OnceLock;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::accept::Accept;
use super::parameters::query_value;
use super::{Endpoint, Transport, http};

/// A file of the page.
#[derive(Debug)]
struct Asset {
    name: &'static str,
    /// Its `ETag`, from a digest of its content. Weak, because the packed and the unpacked form share it.
    tag: &'static str,
    media: &'static str,
    /// Its content, as gzip.
    packed: &'static [u8],
    /// Its content for the few clients that do not take gzip; unpacked once, shared by all of them.
    unpacked: OnceLock<Vec<u8>>,
}

impl Asset {
    const fn new(name: &'static str, tag: &'static str, media: &'static str, packed: &'static [u8]) -> Self {
        Self { name, tag, media, packed, unpacked: OnceLock::new() }
    }

    fn unpacked(&'static self) -> &'static [u8] {
        self.unpacked.get_or_init(|| {
            let mut content = Vec::new();
            // What is embedded is whole: a build made it, and a test reads all of it.
            let _ = GzDecoder::new(self.packed).read_to_end(&mut content);
            content
        })
    }
}

/// The page, then what it loads from below `/graphql/ui/`.
static ASSETS: [Asset; 5] = include!("../../../ui/dist/assets.rs");

/// Nothing but what comes from here: no foreign host, no inline script or style, no `eval`, no frame
/// around it. `data:` is for small images in style sheets.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
/// Asked for again each time, so that a new version is seen at once.
const FRESH: HeaderValue = HeaderValue::from_static("no-cache");
/// A name with a digest never gets another content.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// A browser's visit.
#[derive(Debug)]
pub struct GraphiQl;

impl Transport for GraphiQl {
    fn admits(&self, head: &Parts) -> bool {
        let accept = Accept::of(&head.headers);
        let page = accept.named("text", "html");
        let json =
            accept.quality("application", "json").max(accept.quality("application", "graphql-response+json"));
        matches!(head.method, Method::GET | Method::HEAD)
            && page > json
            && query_value(head, "query").is_none()
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        if !endpoint.offers_graphiql() {
            return http::Plain.answer(endpoint, request);
        }
        async move {
            let mut response = send(&ASSETS[0], request.headers(), FRESH);
            // Other requests to this path get other answers.
            response.headers_mut().append(header::VARY, HeaderValue::from_static("accept"));
            response
        }
        .boxed()
    }
}

/// A file that the page loads.
pub async fn asset(
    State(endpoint): State<Endpoint>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    let found = ASSETS[1..].iter().find(|asset| asset.name == name);
    match found.filter(|_| endpoint.offers_graphiql()) {
        Some(asset) => send(asset, &headers, FOR_EVER),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn send(asset: &'static Asset, headers: &HeaderMap, caching: HeaderValue) -> Response {
    let mut response = if items(headers, header::IF_NONE_MATCH).any(|item| item == asset.tag || item == "*") {
        StatusCode::NOT_MODIFIED.into_response()
    } else if takes_gzip(headers) {
        ([(header::CONTENT_ENCODING, "gzip")], asset.packed).into_response()
    } else {
        asset.unpacked().into_response()
    };
    let about = response.headers_mut();
    about.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.media));
    about.insert(header::ETAG, HeaderValue::from_static(asset.tag));
    about.insert(header::CACHE_CONTROL, caching);
    about.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    about.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        about.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether gzip is accepted (RFC 9110, section 12.5.3): named, or by a wildcard, and not with quality 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let quality = |wanted: &str| {
        items(headers, header::ACCEPT_ENCODING).find_map(|item| {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
            coding.trim().eq_ignore_ascii_case(wanted).then_some(!refused)
        })
    };
    quality("gzip").or_else(|| quality("*")).unwrap_or(false)
}

/// The members of a header that is a list.
fn items(headers: &HeaderMap, header: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            takes_gzip(&headers)
        };
        assert!(takes("gzip, deflate, br"));
        assert!(takes("br;q=1.0, GZIP; q=0.1"));
        assert!(takes("*"));
        assert!(!takes("gzip;q=0, *"));
        assert!(!takes("gzip; q=0.000"));
        assert!(!takes("identity"));
        assert!(!takes("*;q=0"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_embedded_is_whole() {
        for asset in &ASSETS {
            let mut content = Vec::new();
            GzDecoder::new(asset.packed).read_to_end(&mut content).unwrap();
            assert_eq!(asset.unpacked(), content);
        }
    }
}
