//! How a request becomes a WebSocket (RFC 6455, section 4.2; over HTTP/2 RFC 8441).

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::socket::Socket;
use crate::error::ClientError;

/// A request that may become a WebSocket.
#[derive(Debug)]
pub(super) struct Handshake {
    on_upgrade: OnUpgrade,
    /// What proves to the client that it was understood (HTTP/1.1).
    accept: Option<HeaderValue>,
}

impl Handshake {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// If it is not one for a WebSocket of the version that is understood.
    pub(super) fn of(head: &mut Parts) -> Result<Self, ClientError> {
        let malformed = |message: &str| ClientError::Malformed(message.to_owned());
        let headers = &head.headers;
        let key = if head.version <= Version::HTTP_11 {
            if head.method != Method::GET {
                return Err(ClientError::MethodNotAllowed("GET"));
            }
            if !lists(headers, header::CONNECTION, "upgrade") {
                return Err(malformed("For a WebSocket the header `connection` must name `upgrade`."));
            }
            let key = headers.get(header::SEC_WEBSOCKET_KEY);
            Some(key.ok_or_else(|| malformed("The header `sec-websocket-key` is missing."))?)
        } else {
            let protocol = head.extensions.get::<Protocol>();
            if head.method != Method::CONNECT || protocol.is_none_or(|name| name.as_str() != "websocket") {
                return Err(malformed("Over HTTP/2 a WebSocket is a CONNECT with `:protocol` websocket."));
            }
            None
        };
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(malformed("The header `sec-websocket-version` must be 13."));
        }
        let accept = key.and_then(|key| derive_accept_key(key.as_bytes()).parse().ok());
        let on_upgrade = head.extensions.remove::<OnUpgrade>();
        let on_upgrade = on_upgrade.ok_or_else(|| malformed("This connection cannot become a WebSocket."))?;
        Ok(Self { on_upgrade, accept })
    }

    /// The response that makes it one, which is then served.
    pub(super) fn complete<F>(
        self,
        subprotocol: Option<&'static str>,
        message_bytes_max: usize,
        serve: impl FnOnce(Socket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let on_upgrade = self.on_upgrade;
        tokio::spawn(async move {
            // If the client does not wait for the response, there is nothing to serve.
            if let Ok(upgraded) = on_upgrade.await {
                serve(Socket::new(upgraded, message_bytes_max).await).await;
            }
        });
        let mut response = Response::new(Body::empty());
        if let Some(accept) = self.accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        if let Some(name) = subprotocol {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
        }
        response
    }
}

/// Whether a list in a header has an item, whatever its case.
pub(super) fn lists(headers: &HeaderMap, name: HeaderName, item: &str) -> bool {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|named| named.trim().eq_ignore_ascii_case(item))
}
