//! Headers that every answer has, so that a browser makes nothing else of it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::arrival::Arrival;

/// For answers that are no page: nothing of it is run, and nobody puts it into a frame.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// What is said to whoever came with TLS.
#[derive(Debug, Clone)]
pub struct Protection {
    strict_transport: Option<HeaderValue>,
}

impl Protection {
    /// Browsers shall remember for so many seconds to come with TLS only; zero: not at all.
    pub fn new(hsts_s: u64) -> Self {
        let strict_transport =
            (hsts_s > 0).then(|| HeaderValue::from_str(&format!("max-age={hsts_s}")).ok()).flatten();
        Self { strict_transport }
    }
}

/// Adds them. What a handler has said itself about caching and content stays.
pub async fn protect(State(protection): State<Protection>, request: Request<Body>, next: Next) -> Response {
    let encrypted = request.extensions().get::<Arrival>().is_some_and(|arrival| arrival.encrypted);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Browsers that do not know `frame-ancestors` know this.
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    let kept = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(kept, HeaderValue::from_static("same-origin"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    // Answers are for whoever has the token.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let (true, Some(value)) = (encrypted, &protection.strict_transport) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
    response
}
