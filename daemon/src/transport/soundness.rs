//! Whether a request's head can be understood in one way only. A proxy in front may have understood another.

use axum::body::Body;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refusal::JSON;
use crate::error::{ClientError, errors_body};
use crate::metrics::Metrics;

/// Headers whose meaning is that of their only line.
const SINGLE: [HeaderName; 4] =
    [header::HOST, header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ORIGIN];

/// Refuses every other request with 400.
pub async fn demand(State(metrics): State<Metrics>, request: Request<Body>, next: Next) -> Response {
    match ambiguity(request.version(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(reason) => {
            let error = ClientError::Malformed(reason);
            metrics.endpoint.refusals.get_or_create(&[("code", error.code())]).inc();
            let headers = [(header::CONTENT_TYPE, JSON)];
            (StatusCode::BAD_REQUEST, headers, errors_body(&[error.to_graphql()])).into_response()
        }
    }
}

fn ambiguity(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(name) = SINGLE.iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
        return Some(format!("The header `{name}` is given twice."));
    }
    // RFC 9112, section 6.1: nothing but chunked is understood here, and it is said once.
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Some("The only `transfer-encoding` that is understood is chunked.".into());
    }
    let host = match headers.get(header::HOST) {
        Some(host) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        // HTTP/2 has it in the target.
        None if version == Version::HTTP_11 => None,
        None => return None,
    };
    // RFC 9112, section 3.2; an authority may hold a user, a host may not.
    let Some(host) = host.filter(|host| !host.as_str().contains('@')) else {
        return Some("The header `host` is missing or no host.".into());
    };
    let other = uri.authority().is_some_and(|named| !named.as_str().eq_ignore_ascii_case(host.as_str()));
    other.then(|| "The target and the header `host` name different hosts.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ambiguous(version: Version, uri: &'static str, lines: &[(&'static str, &'static str)]) -> bool {
        let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        ambiguity(version, &Uri::from_static(uri), &lines.collect()).is_some()
    }

    #[test]
    fn one_host_and_the_same_everywhere() {
        let at = |uri, lines| ambiguous(Version::HTTP_11, uri, lines);
        assert!(!at("/graphql", &[("host", "a:80")]));
        assert!(!at("/graphql", &[("host", "[::1]:4000")]));
        assert!(!at("http://A:80/graphql", &[("host", "a:80")]));
        assert!(at("http://b/graphql", &[("host", "a")]));
        assert!(at("/graphql", &[]));
        assert!(at("/graphql", &[("host", "")]));
        assert!(at("/graphql", &[("host", "a b")]));
        assert!(at("/graphql", &[("host", "user@a")]));
        assert!(at("/graphql", &[("host", "a"), ("host", "a")]));
        assert!(!ambiguous(Version::HTTP_10, "/graphql", &[]));
        assert!(!ambiguous(Version::HTTP_2, "http://a/graphql", &[]));
        assert!(ambiguous(Version::HTTP_2, "http://a/graphql", &[("host", "b")]));
    }

    #[test]
    fn bodies_are_chunked_or_plain() {
        let coded = |value| ambiguous(Version::HTTP_11, "/", &[("host", "a"), ("transfer-encoding", value)]);
        assert!(!coded("chunked") && !coded("Chunked"));
        assert!(coded("gzip, chunked") && coded("chunked, chunked") && coded("identity"));
    }

    #[test]
    fn a_type_is_given_once() {
        let json = ("content-type", "application/json");
        assert!(!ambiguous(Version::HTTP_11, "/", &[("host", "a"), json]));
        assert!(ambiguous(Version::HTTP_11, "/", &[("host", "a"), json, json]));
    }
}
