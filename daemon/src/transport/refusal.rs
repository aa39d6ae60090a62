//! A refusal as an HTTP response.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Endpoint;
use crate::error::{ClientError, errors_body};

/// Errors are always plain JSON: who cannot read our media types can read this.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The response for an error, which is counted.
pub fn refuse(endpoint: &Endpoint, error: &ClientError) -> Response {
    endpoint.count_refusal(error);
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response =
        (status, [(header::CONTENT_TYPE, JSON)], errors_body(&[error.to_graphql()])).into_response();
    if let Some((name, value)) = companion(error) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// The header that HTTP wants beside a status.
fn companion(error: &ClientError) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_static;
    match error {
        // RFC 6750, section 3: no error code where no token was sent.
        ClientError::TokenMissing => Some((header::WWW_AUTHENTICATE, value(r#"Bearer realm="tidings""#))),
        ClientError::TokenExpired | ClientError::TokenInvalid | ClientError::TokenRevoked => {
            Some((header::WWW_AUTHENTICATE, value(r#"Bearer realm="tidings", error="invalid_token""#)))
        }
        ClientError::MethodNotAllowed(methods) => Some((header::ALLOW, value(methods))),
        // What is left of the request is not read, so the connection cannot be used again.
        ClientError::TooLarge(_) | ClientError::TooSlow => Some((header::CONNECTION, value("close"))),
        _ => error.retry_after_s().map(|seconds| (header::RETRY_AFTER, seconds.into())),
    }
}
