//! A client of single connection mode, as its requests are.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::daemon::Daemon;
use crate::support::sse::Sse;
use crate::support::within;

/// A reservation, and the token of whom it belongs to.
pub(super) struct Reservation {
    pub(super) bearer: String,
    /// What PUT gave.
    pub(super) token: String,
}

/// A request of somebody.
pub(super) fn request(daemon: &Daemon, method: Method, path: &str, bearer: &str) -> RequestBuilder {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.request(method, format!("http://{}{path}", daemon.address)).bearer_auth(bearer)
}

async fn send(request: RequestBuilder) -> Response {
    within("the response", request.send()).await.unwrap()
}

/// Status and body.
pub(super) async fn answer(request: RequestBuilder) -> (u16, String) {
    let response = send(request).await;
    (response.status().as_u16(), within("the body", response.text()).await.unwrap())
}

impl Reservation {
    /// PUT.
    pub(super) async fn make(daemon: &Daemon, bearer: &str) -> Self {
        let (status, token) = answer(request(daemon, Method::PUT, "/graphql/stream", bearer)).await;
        assert_eq!(status, 201, "{token}");
        Self { bearer: bearer.into(), token }
    }

    /// The same reservation in the hands of somebody else.
    pub(super) fn stolen_by(&self, bearer: &str) -> Self {
        Self { bearer: bearer.into(), token: self.token.clone() }
    }

    /// A request with the token in its header.
    pub(super) fn request(&self, daemon: &Daemon, method: Method, path: &str) -> RequestBuilder {
        request(daemon, method, path, &self.bearer).header("x-graphql-event-stream-token", &self.token)
    }

    /// POSTs an operation.
    pub(super) async fn post(&self, daemon: &Daemon, id: &str, query: &str) -> (u16, String) {
        self.post_value(daemon, &json!({ "query": query, "extensions": { "operationId": id } })).await
    }

    /// POSTs any JSON.
    pub(super) async fn post_value(&self, daemon: &Daemon, body: &Value) -> (u16, String) {
        let post = self.request(daemon, Method::POST, "/graphql/stream");
        answer(post.header("content-type", "application/json").body(body.to_string())).await
    }

    /// POSTs an operation, which is taken.
    pub(super) async fn subscribe(&self, daemon: &Daemon, id: &str, query: &str) {
        assert_eq!(self.post(daemon, id, query).await, (202, String::new()));
    }

    /// DELETEs an operation.
    pub(super) async fn delete(&self, daemon: &Daemon, id: &str) -> (u16, String) {
        answer(self.request(daemon, Method::DELETE, &format!("/graphql/stream?operationId={id}"))).await
    }

    /// GETs the stream.
    pub(super) async fn get(&self, daemon: &Daemon, last_event_id: Option<&str>) -> Response {
        let mut get =
            self.request(daemon, Method::GET, "/graphql/stream").header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            get = get.header("last-event-id", id);
        }
        send(get).await
    }

    /// GETs the stream, which opens.
    pub(super) async fn open(&self, daemon: &Daemon, last_event_id: Option<&str>) -> Sse {
        Sse::of(self.get(daemon, last_event_id).await).await
    }
}
