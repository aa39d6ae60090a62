//! Who is an operator.

use axum::body::Body;
use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Admin;
use crate::access::arrival::{Arrival, Door, Peer};
use crate::access::token;
use crate::config::Secret;

/// Headers of proxies: whoever they speak for is not on this machine.
const PROXIED: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/// Why somebody is no operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is a token, and none was sent.
    TokenMissing,
    /// Another was sent.
    TokenInvalid,
    /// There is no token, and the request is not from this machine.
    NotLocal,
}

/// Lets operators pass.
pub(super) async fn operators(State(admin): State<Admin>, request: Request<Body>, next: Next) -> Response {
    match admin.examine(&request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refuse(&admin, refused),
    }
}

/// The answer for somebody else, which is counted.
pub(super) fn refuse(admin: &Admin, refused: Refused) -> Response {
    let (reason, status, hint) = match refused {
        Refused::TokenMissing => ("token_missing", StatusCode::UNAUTHORIZED, "the admin token is needed"),
        Refused::TokenInvalid => ("token_invalid", StatusCode::UNAUTHORIZED, "this is not the admin token"),
        Refused::NotLocal => (
            "not_local",
            StatusCode::FORBIDDEN,
            "this is for operators on the machine itself; set admin.token, or admin.listen, to change that",
        ),
    };
    admin.metrics.endpoint.admin_refusals.get_or_create(&[("reason", reason)]).inc();
    let mut response = (status, format!("{hint}\n")).into_response();
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(r#"Bearer realm="tidings admin""#);
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

impl Admin {
    /// Whether a request is an operator's.
    ///
    /// Who may open the file of the operators' own Unix socket is one. Otherwise the token decides, if there is
    /// one; and if not, the machine.
    pub(super) fn examine(&self, request: &Request<Body>) -> Result<(), Refused> {
        let arrival = request.extensions().get::<Arrival>().ok_or(Refused::NotLocal)?;
        if arrival.door == Door::Operators && arrival.peer == Peer::Unix {
            return Ok(());
        }
        let Some(expected) = &self.token else {
            let local = local(arrival.peer, request.uri(), request.headers());
            return if local { Ok(()) } else { Err(Refused::NotLocal) };
        };
        let mut sent = request.headers().get_all(header::AUTHORIZATION).iter();
        let (Some(sent), None) = (sent.next(), sent.next()) else { return Err(Refused::TokenMissing) };
        match sent.to_str().ok().and_then(token::from_authorization) {
            Some(sent) if same(&sent, expected) => Ok(()),
            _ => Err(Refused::TokenInvalid),
        }
    }
}

/// In a time that tells neither where two secrets differ nor how long they are.
fn same(left: &Secret, right: &Secret) -> bool {
    let digest = |secret: &Secret| Sha256::digest(secret.expose().as_bytes());
    digest(left).ct_eq(&digest(right)).into()
}

/// Whether a request is from this machine: from its loopback interface, not through a proxy, and not from the
/// page of a foreign host whose name was made to mean this machine (DNS rebinding).
fn local(peer: Peer, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.to_str().ok().and_then(|host| host.parse().ok()));
    let host = host.unwrap_or_else(|| uri.authority().cloned());
    peer.is_loopback()
        && host.as_ref().is_some_and(means_this_machine)
        && !PROXIED.iter().any(|name| headers.contains_key(*name))
}

fn means_this_machine(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_local(peer: Peer, lines: &[(&'static str, &'static str)]) -> bool {
        let lines = lines
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()));
        local(peer, &Uri::from_static("/metrics"), &lines.collect())
    }

    #[test]
    fn what_a_client_sends_never_makes_it_local() {
        let (here, there) =
            (Peer::Tcp("127.0.0.1:1".parse().unwrap()), Peer::Tcp("192.0.2.1:1".parse().unwrap()));
        for host in ["127.0.0.1:4000", "localhost:4000", "[::1]:4000", "localhost"] {
            assert!(is_local(here, &[("host", host)]), "{host}");
            assert!(!is_local(there, &[("host", host)]), "{host}");
            assert!(!is_local(Peer::Unix, &[("host", host)]), "{host}");
            for name in PROXIED {
                assert!(!is_local(here, &[("host", host), (name, "127.0.0.1")]), "{name}");
            }
        }
        assert!(!is_local(here, &[("host", "evil.example:4000")]));
        assert!(!is_local(here, &[("host", "127.0.0.1.evil.example")]));
        assert!(!is_local(here, &[]));
    }

    #[test]
    fn secrets_are_the_same_only_if_they_are() {
        let secret = |text: &str| Secret::new(text);
        assert!(same(&secret("abc"), &secret("abc")));
        for other in ["", "ab", "abcd", "abd"] {
            assert!(!same(&secret("abc"), &secret(other)), "{other}");
        }
    }
}
