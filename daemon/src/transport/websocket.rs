//! WebSockets: the upgrade, and the subprotocols that a socket may speak.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::address::ClientAddress;
use super::admission::Admission;
use super::legacy_ws::{self, LegacyWs};
use super::listener::UnderWay;
use super::machine::{Close, Machine};
use super::session::{Session, leave};
use super::transport_ws::{self, TransportWs};
use super::{Endpoint, Transport};
use crate::config::ClientLimits;
use crate::error::ClientError;

/// The library's default of 128 KiB, times many sockets, is most of their memory (W15).
const READ_BUFFER_BYTES: usize = 4 << 10;
/// Messages of one batch are gathered up to this size and written at once (W15).
pub const WRITE_BUFFER_BYTES: usize = 16 << 10;

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
        let upgrade = head.headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
        // Over HTTP/2 it is an extended CONNECT (RFC 8441).
        head.method == Method::CONNECT
            || upgrade
                .is_some_and(|value| value.split(',').any(|u| u.trim().eq_ignore_ascii_case("websocket")))
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move {
            let mut head = request.into_parts().0;
            let upgrade = match WebSocketUpgrade::from_request_parts(&mut head, &()).await {
                Ok(upgrade) => upgrade,
                Err(rejection) => return rejection.into_response(),
            };
            accept(endpoint, head, upgrade)
        }
        .boxed()
    }
}

/// The upgrade always succeeds, because a client gives up for ever at an HTTP status; whoever may not
/// come in is told by a close code (W13).
fn accept(endpoint: Endpoint, head: Parts, upgrade: WebSocketUpgrade) -> Response {
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(endpoint.limits().body_bytes)
        .max_frame_size(endpoint.limits().body_bytes)
        .protocols(SUBPROTOCOLS.map(|subprotocol| subprotocol.name));
    let entry = enter(&endpoint, &head, upgrade.selected_protocol());
    let presented = endpoint.presented(&head);
    let under_way = head.extensions.get::<Arc<UnderWay>>().cloned();
    let mut response = upgrade.on_upgrade(move |socket| async move {
        let _under_way = under_way;
        match entry {
            Err(close) => leave(socket, close).await,
            Ok((address, admission, machine)) => {
                Session::new(endpoint, address, admission, presented, machine).run(socket).await;
            }
        }
    });
    // How the client spells the names of headers is among them. gql looks for the chosen subprotocol in its
    // own spelling only, and not finding it speaks the legacy protocol.
    response.extensions_mut().extend(head.extensions);
    response
}

/// Whether a socket may stay, and the machine of its subprotocol.
fn enter(
    endpoint: &Endpoint,
    head: &Parts,
    selected: Option<&HeaderValue>,
) -> Result<(ClientAddress, Admission, Box<dyn Machine>), Close> {
    if !endpoint.origins().allow(&head.headers, &head.uri) {
        return Err(Close::new(4403, "Forbidden"));
    }
    let subprotocol = SUBPROTOCOLS
        .iter()
        .find(|subprotocol| selected.is_some_and(|name| name == subprotocol.name))
        .ok_or_else(|| Close::new(4406, "Subprotocol not acceptable"))?; // W11
    let refused = |error: ClientError| {
        endpoint.count_refusal(&error);
        let code = if error == ClientError::Draining { 1012 } else { 1013 };
        Close::new(code, error.to_string())
    };
    let address = endpoint.arrive(head).map_err(refused)?;
    let admission = endpoint.admit(subprotocol.name).map_err(refused)?;
    Ok((address, admission, (subprotocol.machine)(endpoint.limits())))
}
