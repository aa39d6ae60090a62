//! A subscriber over Server-Sent Events.

use std::collections::VecDeque;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::within;

/// One open stream.
pub struct Sse {
    chunks: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    rest: String,
    events: VecDeque<SseEvent>,
    /// Named by what was read.
    last_id: Option<String>,
}

/// One event of the stream, its fields as they came.
#[derive(Debug, Clone, PartialEq)]
pub struct SseEvent {
    /// `event:`; empty if there was none.
    pub event: String,
    /// `data:`
    pub data: String,
    /// `id:`
    pub id: Option<String>,
}

impl Sse {
    /// Subscribes, and returns once the stream's first bytes have come: the subscription is live.
    pub async fn open(daemon: &Daemon, token: &str, query: &str) -> Self {
        Self::open_with(daemon, token, query, Value::Null).await
    }

    /// The same with variables.
    pub async fn open_with(daemon: &Daemon, token: &str, query: &str, variables: Value) -> Self {
        Self::post(daemon, token, &json!({"query": query, "variables": variables})).await
    }

    /// The same with a payload that may be anything.
    pub async fn post(daemon: &Daemon, token: &str, payload: &Value) -> Self {
        Self::send(daemon, token, payload, &[]).await
    }

    async fn send(daemon: &Daemon, token: &str, payload: &Value, headers: &[(&str, &str)]) -> Self {
        let mut request = reqwest::Client::builder()
            .no_proxy()
            .build()
            .unwrap()
            .post(format!("http://{}/graphql", daemon.address))
            .bearer_auth(token)
            .header("accept", "text/event-stream")
            .header("content-type", "application/json")
            .body(payload.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = within("the stream's head", request.send()).await.unwrap();
        Self::of(response).await
    }

    /// The stream of a response, once its first bytes have come.
    pub async fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200, "{:?}", response.text().await);
        let mut sse = Self {
            chunks: response.bytes_stream().boxed(),
            rest: String::new(),
            events: VecDeque::new(),
            last_id: None,
        };
        within("the stream's first bytes", sse.read_chunk()).await;
        sse
    }

    /// Subscribes where a client left off: after the event with this id.
    pub async fn resume(daemon: &Daemon, token: &str, query: &str, last_event_id: &str) -> Self {
        let payload = json!({"query": query});
        Self::send(daemon, token, &payload, &[("last-event-id", last_event_id)]).await
    }

    /// The ids that blocks without an event have named and nobody has read past.
    pub fn named_ids(&self) -> Vec<&str> {
        let blocks = self.events.iter().filter(|event| event.event.is_empty());
        blocks.filter_map(|block| block.id.as_deref()).collect()
    }

    /// The id that was named last by what was read.
    pub fn read_id(&self) -> Option<String> {
        self.last_id.clone()
    }

    /// The id that was named last by all that has come, read or not.
    pub fn last_id(&self) -> Option<String> {
        let waiting = self.events.iter().rev().find_map(|event| event.id.clone());
        waiting.or_else(|| self.last_id.clone())
    }

    /// The data of the next `next` event.
    pub async fn next(&mut self) -> Value {
        let event = self.next_event().await.expect("the stream goes on");
        assert_eq!(event.event, "next", "{event:?}");
        serde_json::from_str(&event.data).unwrap()
    }

    /// The next event with a name; `None` at the end of the stream.
    pub async fn next_event(&mut self) -> Option<SseEvent> {
        within("an event on the stream", async {
            loop {
                let event = self.events.pop_front();
                if let Some(id) = event.as_ref().and_then(|event| event.id.clone()) {
                    self.last_id = Some(id);
                }
                match event {
                    Some(event) if !event.event.is_empty() => return Some(event),
                    Some(_) => {}
                    None if self.read_chunk().await => {}
                    None => return None,
                }
            }
        })
        .await
    }

    /// Reads what has come; false at the end.
    async fn read_chunk(&mut self) -> bool {
        let Some(Ok(chunk)) = self.chunks.next().await else { return false };
        self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some(end) = self.rest.find("\n\n") {
            let block: String = self.rest.drain(..end + 2).collect();
            self.events.push_back(parse(&block));
        }
        true
    }
}

fn parse(block: &str) -> SseEvent {
    let mut event = SseEvent { event: String::new(), data: String::new(), id: None };
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event.event = value.into(),
            "data" => event.data.push_str(value),
            "id" => event.id = Some(value.into()),
            _ => {}
        }
    }
    event
}
