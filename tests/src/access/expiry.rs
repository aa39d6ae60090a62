//! A token's end is the end of its connection, over every transport and from every place.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::places::generous;
use crate::support::daemon::{Daemon, token_of};
use crate::support::websocket::Socket;
use crate::support::within;

const QUIET: &str = "query=subscription%7Bevents(channel:%22quiet%22)%7Bid%7D%7D";

async fn daemon() -> Daemon {
    generous().env("TIDINGS_JWT_LEEWAY_S", "0").start().await
}

fn brief() -> String {
    token_of(json!({ "sub": "alice" }), Duration::from_secs(2))
}

/// All that an event stream says, from its start to its end.
async fn stream(daemon: &Daemon, path: &str, parameters: &str, headers: &[(&str, &str)]) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("http://{}{path}?{QUIET}{parameters}", daemon.address));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = within("the head", request.header("accept", "text/event-stream").send()).await.unwrap();
    assert_eq!(response.status(), 200);
    within("the end of the stream", response.text()).await.unwrap()
}

#[tokio::test]
async fn event_streams_end_wherever_the_token_was() {
    let daemon = daemon().await;
    let (header, cookie, query) = (brief(), brief(), brief());
    let (header, cookie) = (format!("Bearer {header}"), format!("session={cookie}"));
    let query = format!("&access_token={query}");
    let headers = [("authorization", &*header)];
    let cookies = [("cookie", &*cookie)];
    let (by_header, by_cookie, by_query) = tokio::join!(
        stream(&daemon, "/graphql", "", &headers),
        stream(&daemon, "/graphql/stream", "", &cookies),
        stream(&daemon, "/graphql", &query, &[]),
    );
    for text in [by_header, by_cookie, by_query] {
        assert!(text.starts_with(":\n\n") && text.contains("TOKEN_EXPIRED"), "{text}");
        assert!(text.ends_with("event: complete\ndata:\n\n"), "{text}");
    }
}

#[tokio::test]
async fn websockets_close_wherever_the_token_was() {
    let daemon = daemon().await;
    let closed = async |parameters: String,
                        header: Option<(&'static str, String)>,
                        payload: serde_json::Value| {
        let url = format!("ws://{}/graphql{parameters}", daemon.address);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let (mut socket, _) = within("the upgrade", connect_async(request)).await.unwrap();
        let init = json!({ "type": "connection_init", "payload": payload });
        socket.send(Message::text(init.to_string())).await.unwrap();
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": { "query": "subscription { events(channel: \"quiet\") { id } }" } });
        let ack = within("the ack", socket.next()).await.unwrap().unwrap();
        assert!(ack.to_text().unwrap().contains("connection_ack"));
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        within("a close", async {
            loop {
                match socket.next().await.unwrap().unwrap() {
                    Message::Close(Some(frame)) => return u16::from(frame.code),
                    Message::Ping(_) | Message::Pong(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    };
    let codes = tokio::join!(
        closed(String::new(), None, json!({ "token": brief() })),
        closed(String::new(), Some(("authorization", format!("Bearer {}", brief()))), json!(null)),
        closed(String::new(), Some(("cookie", format!("session={}", brief()))), json!(null)),
        closed(format!("?access_token={}", brief()), None, json!(null)),
    );
    assert_eq!(codes, (4403, 4403, 4403, 4403));
}

#[tokio::test]
async fn every_other_transport_ends_with_the_token_too() {
    let daemon = daemon().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let multipart = async {
        let request = client.get(format!("http://{}/graphql?{QUIET}", daemon.address)).bearer_auth(brief());
        let request = request.header("accept", "multipart/mixed;subscriptionSpec=1.0");
        let response = within("the head", request.send()).await.unwrap();
        assert_eq!(response.status(), 200);
        within("the end of the parts", response.text()).await.unwrap()
    };
    let legacy = async {
        let mut socket = Socket::connect(&daemon, "graphql-ws").await;
        socket.send(json!({ "type": "connection_init", "payload": { "token": brief() } })).await;
        assert_eq!(socket.receive().await["type"], "connection_ack");
        socket.closed().await
    };
    let single = async {
        let (url, token) = (format!("http://{}/graphql/stream", daemon.address), brief());
        let put = within("the reservation", client.put(&url).bearer_auth(&token).send()).await.unwrap();
        let reservation = put.text().await.unwrap();
        let with = |request: reqwest::RequestBuilder| {
            request.bearer_auth(&token).header("x-graphql-event-stream-token", &reservation)
        };
        let get = with(client.get(&url)).header("accept", "text/event-stream");
        let stream = within("the stream", get.send()).await.unwrap();
        assert_eq!(stream.status(), 200);
        let operation = json!({ "query": "subscription { events(channel: \"quiet\") { id } }", "extensions": { "operationId": "1" } });
        let post =
            with(client.post(&url)).header("content-type", "application/json").body(operation.to_string());
        assert_eq!(within("the operation", post.send()).await.unwrap().status(), 202);
        within("the end of the stream", stream.text()).await.unwrap()
    };
    let (multipart, legacy, single) = tokio::join!(multipart, legacy, single);
    assert!(multipart.contains(r#""payload":null"#) && multipart.contains("TOKEN_EXPIRED"), "{multipart}");
    assert!(multipart.ends_with("--graphql--\r\n"), "{multipart}");
    assert_eq!(legacy, (4403, "Forbidden".to_owned()));
    assert!(single.contains("TOKEN_EXPIRED"), "{single}");
    assert!(single.ends_with("event: complete\ndata: {\"id\":\"1\"}\n\n"), "{single}");
}

/// The leeway is for both: a token that was let in late ends late.
#[tokio::test]
async fn a_token_is_refused_once_it_has_expired() {
    let daemon = daemon().await;
    let expired = token_of(json!({ "sub": "alice" }), Duration::ZERO);
    let response = within("the refusal", async {
        loop {
            let response =
                super::places::ask(&daemon, "", &[("authorization", &format!("Bearer {expired}"))]).await;
            if response.status() == 401 {
                return response.text().await.unwrap();
            }
        }
    })
    .await;
    assert!(response.contains("TOKEN_EXPIRED"), "{response}");
}
