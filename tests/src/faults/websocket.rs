//! Streams over WebSocket, in either protocol.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::transport::{Said, Stream, Subscriber, patience};
use super::workload::QUERY;

/// What a protocol calls things.
pub(super) struct Protocol {
    name: &'static str,
    subscribe: &'static str,
}

pub(super) const TRANSPORT_WS: Protocol = Protocol { name: "graphql-transport-ws", subscribe: "subscribe" };
pub(super) const LEGACY_WS: Protocol = Protocol { name: "graphql-ws", subscribe: "start" };

pub(super) async fn websocket(address: &str, subscriber: &Subscriber, protocol: &Protocol) -> Option<Stream> {
    let mut request = format!("ws://{address}/graphql").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.name.parse().unwrap());
    let (mut socket, _) = tokio::time::timeout(patience(), connect_async(request)).await.ok()?.ok()?;
    let init = json!({ "type": "connection_init", "payload": { "token": subscriber.token } });
    socket.send(Message::text(init.to_string())).await.ok()?;
    let Ok(Some(Ok(Message::Text(_)))) = tokio::time::timeout(patience(), socket.next()).await else {
        return None;
    };
    let mut extensions = json!({ "acknowledge": true });
    if let Some(cursor) = &subscriber.cursor {
        extensions["cursor"] = json!(cursor);
    }
    let payload = json!({ "query": QUERY, "extensions": extensions });
    let subscribe = json!({ "type": protocol.subscribe, "id": "1", "payload": payload });
    socket.send(Message::text(subscribe.to_string())).await.ok()?;
    let messages = socket.take_while(|message| std::future::ready(message.is_ok()));
    Some(messages.filter_map(|message| std::future::ready(said(message.ok()))).boxed())
}

fn said(message: Option<Message>) -> Option<Said> {
    let Message::Text(text) = message? else { return None };
    let mut message: Value = serde_json::from_str(&text).unwrap();
    let payload = message["payload"].take();
    match message["type"].as_str()? {
        "next" | "data" => Some(Said::result(payload)),
        // One protocol sends a list, the other a single error.
        "error" if payload.is_array() => Some(Said::result(json!({ "errors": payload }))),
        "error" => Some(Said::result(json!({ "errors": [payload] }))),
        "ping" => payload["cursor"].as_str().map(Said::place),
        _ => None,
    }
}
