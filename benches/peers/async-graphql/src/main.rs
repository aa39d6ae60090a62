//! A subscription server as one writes it by hand: async-graphql and axum, fed by LISTEN on tokio-postgres.
//!
//! Tuned to be as good as this construction gets: one thread, because it has one core; mimalloc; TCP_NODELAY;
//! small buffers per socket (the default of 128 KiB costs 145 kB per idle connection); a broadcast channel for
//! each topic, so that an event costs nothing for those it does not concern; results that are ready together go
//! out in one write; the data is a String, which is the cheapest scalar there is to copy and write.
//!
//! What it lacks is what NOTIFY lacks: an event of more than 8,000 bytes, one that comes while the connection is
//! lost, and one that overruns a subscriber are gone, and nobody is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use async_graphql::http::{WebSocket, WebSocketProtocols, WsMessage};
use async_graphql::{EmptyMutation, Object, Schema, SimpleObject, Subscription};
use axum::extract::ws::{self, Message, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt;
use futures_util::{Stream, StreamExt, future, stream};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio_postgres::{AsyncMessage, NoTls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events that a subscriber may be behind. The benchmark's bursts fit, so that nobody is overrun.
const BEHIND_MAX: usize = 1_024;

/// Bytes of the read buffer of a socket.
const BUFFER_BYTES: usize = 4_096;

/// Bytes that are gathered before they are written although more is ready.
const WRITE_BYTES: usize = 32 * 1_024;

#[derive(Clone, SimpleObject)]
struct Event {
    id: i32,
    data: String,
}

/// Who listens, by topic.
#[derive(Clone, Default)]
struct Topics(Arc<Mutex<HashMap<String, broadcast::Sender<Arc<Event>>>>>);

impl Topics {
    fn subscribe(&self, topic: String) -> broadcast::Receiver<Arc<Event>> {
        let mut topics = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        topics.entry(topic).or_insert_with(|| broadcast::channel(BEHIND_MAX).0).subscribe()
    }

    fn send(&self, topic: &str, event: Event) {
        let topics = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(sender) = topics.get(topic) {
            // Nobody listens any more: nobody is to be told.
            let _ = sender.send(Arc::new(event));
        }
    }
}

struct Query;

#[Object]
impl Query {
    async fn ready(&self) -> bool {
        true
    }
}

struct Subscriptions(Topics);

#[Subscription]
impl Subscriptions {
    async fn events(&self, channel: String) -> impl Stream<Item = Event> + use<> {
        stream::unfold(self.0.subscribe(channel), |mut receiver| async move {
            // An overrun ends the stream, so that the benchmark notices.
            let event = receiver.recv().await.ok()?;
            Some((Event::clone(&event), receiver))
        })
    }
}

type Schemas = Schema<Query, EmptyMutation, Subscriptions>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let database = std::env::var("DATABASE_URL").context("DATABASE_URL")?;
    let address = std::env::var("LISTEN").context("LISTEN")?;
    let topics = Topics::default();
    let schema = Schema::new(Query, EmptyMutation, Subscriptions(topics.clone()));
    let (client, connection) = tokio_postgres::connect(&database, NoTls).await.context("the database")?;
    let listening = tokio::spawn(forward(connection, topics));
    client.batch_execute("listen bench").await.context("LISTEN")?;

    let upgrade = move |socket: WebSocketUpgrade| {
        let schema = schema.clone();
        async move { serve(socket, schema) }
    };
    let routes = axum::Router::new().route("/graphql", any(upgrade));
    let listener = tokio::net::TcpListener::bind(&address).await.context("the address")?;
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    tokio::select! {
        served = axum::serve(listener, routes) => Ok(served?),
        ended = listening => ended?,
    }
}

/// Passes notifications on to those who listen.
async fn forward(
    mut connection: tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>,
    topics: Topics,
) -> Result<()> {
    #[derive(Deserialize)]
    struct Payload<'a> {
        channel: &'a str,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let mut id = 0;
    while let Some(message) = messages.next().await {
        if let AsyncMessage::Notification(notification) = message? {
            let payload: Payload = serde_json::from_str(notification.payload())?;
            id += 1;
            topics.send(payload.channel, Event { id, data: payload.data.get().to_owned() });
        }
    }
    anyhow::bail!("the database closed the connection")
}

fn serve(upgrade: WebSocketUpgrade, schema: Schemas) -> Response {
    upgrade
        .protocols([WebSocketProtocols::GraphQLWS.sec_websocket_protocol()])
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(WRITE_BYTES)
        .on_upgrade(move |socket| speak(socket, schema))
}

async fn speak(socket: ws::WebSocket, schema: Schemas) {
    let (sink, stream) = socket.split();
    let input = stream
        .take_while(|message| future::ready(message.is_ok()))
        .filter_map(|message| future::ready(message.ok()))
        .filter(|message| future::ready(matches!(message, Message::Text(_) | Message::Binary(_))))
        .map(Message::into_data);
    let output = WebSocket::new(schema, input, WebSocketProtocols::GraphQLWS).map(|message| {
        Ok(match message {
            WsMessage::Text(text) => Message::Text(text.into()),
            WsMessage::Close(code, reason) => {
                Message::Close(Some(ws::CloseFrame { code, reason: reason.into() }))
            }
        })
    });
    // `forward` flushes only when nothing more is ready: a burst goes out in one write.
    let _ = output.forward(sink).await;
}
