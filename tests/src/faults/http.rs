//! Streams over HTTP: server-sent events in both modes, over both versions, and multipart.

use futures_util::{StreamExt, stream};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::transport::{Said, Stream, Subscriber, patience};
use super::workload::QUERY;

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// The answer, unless none came or the daemon refuses now.
async fn send(request: RequestBuilder) -> Option<Response> {
    tokio::time::timeout(patience(), request.send()).await.ok()?.ok()
}

fn operation(extensions: Value) -> String {
    let mut extensions = extensions;
    extensions["acknowledge"] = json!(true);
    json!({ "query": QUERY, "extensions": extensions }).to_string()
}

/// Distinct connections mode.
pub(super) async fn sse(address: &str, subscriber: &Subscriber, http2: bool) -> Option<Stream> {
    let client =
        if http2 { Client::builder().no_proxy().http2_prior_knowledge().build().unwrap() } else { client() };
    let mut request = client
        .post(format!("http://{address}/graphql"))
        .bearer_auth(&subscriber.token)
        .header("accept", "text/event-stream")
        .header("content-type", "application/json")
        .body(operation(json!({})));
    if let Some(cursor) = subscriber.place.as_ref().or(subscriber.cursor.as_ref()) {
        request = request.header("last-event-id", cursor);
    }
    let response = send(request).await?.error_for_status().ok()?;
    Some(pieces(response, "\n\n", |block| {
        let said = event(block, |data| data)?;
        if let Said { result: Some(result), place: Some(place) } = &said {
            assert_eq!(result["extensions"]["cursor"], **place, "a result's id is its cursor");
        }
        Some(said)
    }))
}

pub(super) async fn multipart(address: &str, subscriber: &Subscriber) -> Option<Stream> {
    let extensions = subscriber.cursor.as_ref().map_or(json!({}), |cursor| json!({ "cursor": cursor }));
    let request = client()
        .post(format!("http://{address}/graphql"))
        .bearer_auth(&subscriber.token)
        .header("accept", "multipart/mixed;subscriptionSpec=1.0")
        .header("content-type", "application/json")
        .body(operation(extensions));
    let response = send(request).await?.error_for_status().ok()?;
    Some(pieces(response, "\r\n--graphql", |part| {
        let mut part: Value = serde_json::from_str(part.split_once("\r\n\r\n")?.1).ok()?;
        let told = if part["payload"].is_null() { part } else { part["payload"].take() };
        told.as_object().is_some_and(|members| !members.is_empty()).then(|| Said::result(told))
    }))
}

/// Single connection mode: each of its requests goes to a node of its own.
pub(super) async fn reserved(addresses: [&str; 3], subscriber: &mut Subscriber) -> Option<Stream> {
    let client = client();
    let request = |method: Method, address: &str| {
        client.request(method, format!("http://{address}/graphql/stream")).bearer_auth(&subscriber.token)
    };
    let [put, post, get] = addresses;
    let (reservation, is_sent) = match subscriber.reservation.take() {
        Some(reservation) => reservation,
        None => {
            let reserved = send(request(Method::PUT, put)).await?;
            (success(reserved, 201)?.text().await.ok()?, false)
        }
    };
    let with_token =
        |method, address: &str| request(method, address).header("x-graphql-event-stream-token", &reservation);
    if !is_sent {
        subscriber.reservation = Some((reservation.clone(), false));
        let mut extensions = json!({ "operationId": "1" });
        if let Some(cursor) = &subscriber.cursor {
            extensions["cursor"] = json!(cursor);
        }
        let operation = with_token(Method::POST, post)
            .header("content-type", "application/json")
            .body(operation(extensions));
        match send(operation).await?.status().as_u16() {
            // The other one: it came, though the answer got lost.
            202 | 409 => {}
            404 => {
                subscriber.reservation = None;
                return None;
            }
            _ => return None,
        }
    }
    subscriber.reservation = Some((reservation.clone(), true));
    let mut open = with_token(Method::GET, get).header("accept", "text/event-stream");
    if let Some(place) = &subscriber.place {
        open = open.header("last-event-id", place);
    }
    let response = send(open).await?;
    if response.status() == 404 {
        // A failover has lost it.
        (subscriber.reservation, subscriber.place) = (None, None);
    }
    let response = success(response, 200)?;
    Some(pieces(response, "\n\n", |block| event(block, |mut data| data["payload"].take())))
}

fn success(response: Response, status: u16) -> Option<Response> {
    assert_ne!(response.status(), 400, "the request is a good one");
    (response.status() == status).then_some(response)
}

/// What a block of an event stream says.
fn event(block: &str, result: impl Fn(Value) -> Value) -> Option<Said> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let place = field("id: ");
    match field("event: ") {
        Some("next") => {
            let result = result(serde_json::from_str(field("data: ")?).unwrap());
            Some(Said { result: Some(result), place: place.map(str::to_owned) })
        }
        Some(_) => None,
        None => place.map(Said::place),
    }
}

/// The pieces of a body that end with a text.
fn pieces(
    response: Response,
    end: &'static str,
    read: impl Fn(&str) -> Option<Said> + Send + 'static,
) -> Stream {
    let mut rest = String::new();
    let chunks = response.bytes_stream().take_while(|chunk| std::future::ready(chunk.is_ok()));
    let pieces = chunks.flat_map(move |chunk| {
        rest.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        let complete = rest.rfind(end).map_or(0, |at| at + end.len());
        let pieces: String = rest.drain(..complete).collect();
        stream::iter(pieces.split(end).filter_map(&read).collect::<Vec<_>>())
    });
    pieces.boxed()
}
