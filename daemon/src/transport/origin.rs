//! Which web pages may use the endpoint: cross-origin requests, and the origin of a WebSocket.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Endpoint;

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS");
const HEADERS: HeaderValue =
    HeaderValue::from_static("content-type, authorization, x-graphql-event-stream-token, last-event-id");
const EXPOSED: HeaderValue = HeaderValue::from_static("retry-after, www-authenticate");
/// Two hours, the most that Chromium remembers a preflight.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("7200");

/// The origins that may use the endpoint. Its own always may.
#[derive(Debug, Clone)]
pub struct Origins {
    allowed: Vec<String>,
}

impl Origins {
    /// These origins, in lower case; `*` is all of them.
    pub fn new(allowed: Vec<String>) -> Self {
        Self { allowed }
    }

    /// Whether the page that sent a request may do so. Programs that are no browsers send no origin,
    /// and need no permission: they could send any.
    pub fn allow(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        let listed = self.allowed.iter().any(|allowed| *allowed == "*" || *allowed == origin);
        listed || own(&origin, headers, uri)
    }

    /// Whether what a browser adds by itself, a cookie, may count: the page is one that is allowed. A
    /// request without an origin may still be a foreign page's (an image, a link); browsers then say so.
    pub fn trust(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        if headers.contains_key(header::ORIGIN) {
            return self.allow(headers, uri);
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        matches!(site, None | Some(b"same-origin" | b"none"))
    }
}

/// Whether an origin is the host that the request was sent to. The scheme is not compared: behind a
/// proxy that ends TLS we do not know ours.
fn own(origin: &str, headers: &HeaderMap, uri: &Uri) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str));
    let page = origin.split_once("://").map(|(_, page)| page);
    matches!((host, page), (Some(host), Some(page)) if host.eq_ignore_ascii_case(page))
}

/// Answers preflights, and lets the pages of allowed origins read the responses.
pub async fn share(State(endpoint): State<Endpoint>, request: Request<Body>, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = endpoint.origins().allow(request.headers(), request.uri());
    let mut response = if request.method() == Method::OPTIONS {
        (StatusCode::NO_CONTENT, [(header::ALLOW, METHODS)]).into_response()
    } else {
        next.run(request).await
    };
    let preflight = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let (Some(origin), true) = (origin, allowed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if endpoint.takes_cookies() {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &[&str], origin: Option<&str>, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let allowed = allowed.iter().map(|&origin| origin.to_owned()).collect();
        Origins::new(allowed).allow(&headers, &Uri::from_static("/graphql"))
    }

    #[test]
    fn own_pages_and_listed_origins_may() {
        assert!(allows(&[], None, "api.example"));
        assert!(allows(&[], Some("https://api.example"), "api.example"));
        assert!(allows(&[], Some("http://localhost:4000"), "localhost:4000"));
        assert!(!allows(&[], Some("http://localhost:3000"), "localhost:4000"));
        assert!(!allows(&[], Some("null"), "api.example"));
        assert!(!allows(&["https://app.example"], Some("https://evil.example"), "api.example"));
        assert!(allows(&["https://app.example"], Some("https://App.example"), "api.example"));
        assert!(!allows(&["https://app.example"], Some("http://app.example"), "api.example"));
        assert!(allows(&["*"], Some("https://evil.example"), "api.example"));
    }

    #[test]
    fn a_cookie_counts_for_own_pages_only() {
        let origins = Origins::new(vec!["https://app.example".into()]);
        let trusts = |lines: &[(&'static str, &'static str)]| {
            let lines = [("host", "api.example")].iter().chain(lines);
            let headers = lines.map(|(name, value)| {
                (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            });
            origins.trust(&headers.collect(), &Uri::from_static("/graphql"))
        };
        assert!(trusts(&[]));
        assert!(trusts(&[("sec-fetch-site", "same-origin")]));
        assert!(trusts(&[("sec-fetch-site", "none")]));
        assert!(!trusts(&[("sec-fetch-site", "cross-site")]));
        assert!(!trusts(&[("sec-fetch-site", "same-site")]));
        assert!(trusts(&[("sec-fetch-site", "cross-site"), ("origin", "https://app.example")]));
        assert!(trusts(&[("origin", "https://api.example")]));
        assert!(!trusts(&[("origin", "https://evil.example")]));
        assert!(!trusts(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
    }
}
