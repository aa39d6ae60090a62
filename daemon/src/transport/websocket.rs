//! WebSockets: the upgrade, and the subprotocols that a socket may speak.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, header};
use axum::response::Response;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::legacy_ws::{self, LegacyWs};
use super::listener::{Tap, UnderWay};
use super::machine::{Close, Machine};
use super::refusal::refuse;
use super::session::{Session, leave};
use super::transport_ws::{self, TransportWs};
use super::{Endpoint, Transport};
use crate::config::ClientLimits;
use crate::error::ClientError;

mod handshake;

mod socket;

use handshake::{Handshake, lists};
pub use socket::Socket;

/// A protocol that the messages of a socket may follow.
struct Subprotocol {
    /// Its name, and the label in metrics.
    name: &'static str,
    machine: fn(&ClientLimits) -> Box<dyn Machine>,
}

/// The one that is preferred comes first (W11).
const SUBPROTOCOLS: [Subprotocol; 2] = [
    Subprotocol {
        name: transport_ws::SUBPROTOCOL,
        machine: |limits| Box::new(TransportWs::new(limits.subscriptions)),
    },
    Subprotocol {
        name: legacy_ws::SUBPROTOCOL,
        machine: |limits| Box::new(LegacyWs::new(limits.subscriptions, limits.body_bytes)),
    },
];

/// Requests that want to become WebSockets.
#[derive(Debug)]
pub struct WebSockets;

impl Transport for WebSockets {
    fn admits(&self, head: &Parts) -> bool {
        // Over HTTP/2 it is an extended CONNECT (RFC 8441).
        head.method == Method::CONNECT || lists(&head.headers, header::UPGRADE, "websocket")
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move {
            let mut head = request.into_parts().0;
            match Handshake::of(&mut head) {
                Ok(handshake) => accept(endpoint, head, handshake),
                Err(error) => refuse(&endpoint, &error),
            }
        }
        .boxed()
    }
}

/// The upgrade always succeeds, because a client gives up for ever at an HTTP status; whoever may not
/// come in is told by a close code (W13).
fn accept(endpoint: Endpoint, head: Parts, handshake: Handshake) -> Response {
    let subprotocol = SUBPROTOCOLS
        .iter()
        .find(|subprotocol| lists(&head.headers, header::SEC_WEBSOCKET_PROTOCOL, subprotocol.name));
    let message_bytes_max = endpoint.limits().body_bytes;
    let under_way = head.extensions.get::<Arc<UnderWay>>().cloned();
    let entry = enter(endpoint, &head, subprotocol);
    let name = subprotocol.map(|subprotocol| subprotocol.name);
    let mut response = handshake.complete(name, message_bytes_max, move |socket| async move {
        let _under_way = under_way;
        match entry {
            Err(close) => Box::pin(leave(socket, close)).await,
            Ok(session) => session.run(socket).await,
        }
    });
    // How the client spells the names of headers is among them. gql looks for the chosen subprotocol in its
    // own spelling only, and not finding it speaks the legacy protocol.
    response.extensions_mut().extend(head.extensions);
    response
}

/// A session for a socket that may stay. In a box, for it is large, and each that passes it on would have its room.
fn enter(endpoint: Endpoint, head: &Parts, subprotocol: Option<&Subprotocol>) -> Result<Box<Session>, Close> {
    if !endpoint.origins().allow(&head.headers, &head.uri) {
        return Err(Close::new(4403, "Forbidden"));
    }
    let subprotocol = subprotocol.ok_or_else(|| Close::new(4406, "Subprotocol not acceptable"))?; // W11
    let refused = |error: ClientError| {
        endpoint.count_refusal(&error);
        let code = if error == ClientError::Draining { 1012 } else { 1013 };
        Close::new(code, error.to_string())
    };
    let address = endpoint.arrive(head).map_err(refused)?;
    let admission = endpoint.admit(subprotocol.name).map_err(refused)?;
    let (presented, machine) = (endpoint.presented(head), (subprotocol.machine)(endpoint.limits()));
    let tap = head.extensions.get::<Tap>().cloned();
    Ok(Box::new(Session::new(endpoint, address, admission, presented, machine, tap)))
}
