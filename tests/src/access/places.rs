//! Where a token may be: header, payload of `connection_init`, and if configured a cookie or a query parameter.

use futures_util::SinkExt;
use reqwest::Response;
use serde_json::json;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::daemon::{Builder, Daemon, SECRET, token};
use crate::support::within;

/// A daemon without a database.
pub(super) fn builder() -> Builder {
    Daemon::builder("postgres://nobody@localhost/nothing").env("TIDINGS_SOURCE", "memory")
}

/// One that takes tokens from everywhere, and lets one foreign page in.
pub(super) fn generous() -> Builder {
    builder()
        .env("TIDINGS_JWT_COOKIE", "session")
        .env("TIDINGS_JWT_QUERY_PARAMETER", "access_token")
        .env("TIDINGS_ALLOWED_ORIGINS", "https://app.example")
}

/// GETs a query with these headers and further parameters.
pub(super) async fn ask(daemon: &Daemon, parameters: &str, headers: &[(&str, &str)]) -> Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/graphql?query=%7B__typename%7D{parameters}", daemon.address);
    let request =
        headers.iter().fold(client.get(url), |request, (name, value)| request.header(*name, *value));
    within("an answer", request.send()).await.unwrap()
}

async fn code(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    let body: serde_json::Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    (status, body["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn cookies_and_query_parameters_count_only_if_they_are_configured() {
    let daemon = builder().start().await;
    let token = token("alice", "acme");
    let response =
        ask(&daemon, &format!("&access_token={token}"), &[("cookie", &format!("session={token}"))]).await;
    assert_eq!(code(response).await, (401, "UNAUTHENTICATED".to_owned()));
}

#[tokio::test]
async fn the_first_place_with_a_token_decides() {
    let daemon = generous().start().await;
    let good = token("alice", "acme");
    let status = async |header: &str, cookie: &str, query: &str| {
        let (header, cookie) = (format!("Bearer {header}"), format!("a=b; session={cookie}"));
        let headers = [("authorization", header.as_str()), ("cookie", &cookie)];
        let headers = if header == "Bearer " { &headers[1..] } else { &headers };
        let query = if query.is_empty() { String::new() } else { format!("&access_token={query}") };
        ask(&daemon, &query, headers).await.status().as_u16()
    };
    for (header, cookie, query, wanted) in [
        (&*good, "", "", 200),
        ("", &*good, "", 200),
        ("", "", &*good, 200),
        (&*good, "bad", "bad", 200),
        ("", &*good, "bad", 200),
        ("bad", &*good, &*good, 401),
        ("", "bad", &*good, 401),
        ("", "", "bad", 401),
        ("", "", "", 401),
    ] {
        assert_eq!(status(header, cookie, query).await, wanted, "{header:.5} {cookie:.5} {query:.5}");
    }
    // Two in one place cannot be told apart.
    let twice = format!("session={good}; session={good}");
    assert_eq!(code(ask(&daemon, "", &[("cookie", &twice)]).await).await, (401, "TOKEN_INVALID".to_owned()));
    let twice = format!("&access_token={good}&access_token={good}");
    assert_eq!(code(ask(&daemon, &twice, &[]).await).await, (401, "TOKEN_INVALID".to_owned()));
    // A header for a proxy is none of ours.
    let headers = [("authorization", "Basic dTpw"), ("cookie", &*format!("session={good}"))];
    assert_eq!(ask(&daemon, "", &headers).await.status(), 200);
}

#[tokio::test]
async fn giants_are_refused_in_every_place() {
    let daemon = generous().start().await;
    let (large, giant) = ("a".repeat(9_000), "a".repeat(60_000));
    for (text, statuses) in [(&large, [401, 401, 401]), (&giant, [431, 431, 431])] {
        let cookie = format!("session={text}");
        let found = [
            ask(&daemon, "", &[("authorization", &format!("Bearer {text}"))]).await.status().as_u16(),
            ask(&daemon, "", &[("cookie", &cookie)]).await.status().as_u16(),
            ask(&daemon, &format!("&access_token={text}"), &[]).await.status().as_u16(),
        ];
        assert_eq!(found, statuses);
    }
    let payload = json!({ "token": "a".repeat(1 << 20) });
    assert_eq!(init(&daemon, "", &[], payload).await, "4403");
    assert_eq!(daemon.metric("tidings_token_refusals_total{reason=\"too_long\"}").await, "4");
}

/// What protects cookies: a browser says where a request comes from, and a foreign page cannot lie about it.
#[tokio::test]
async fn a_foreign_page_cannot_use_the_cookie() {
    let daemon = generous().start().await;
    let cookie = format!("session={}", token("alice", "acme"));
    let own = format!("http://{}", daemon.address);
    let with = async |more: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str())], more].concat();
        let response = ask(&daemon, "", &headers).await;
        let credentials = response.headers().contains_key("access-control-allow-credentials");
        (code(response).await, credentials)
    };
    let passes = |credentials| ((200, String::new()), credentials);
    let refused = ((403, "COOKIE_REFUSED".to_owned()), false);
    assert_eq!(with(&[]).await, passes(false));
    assert_eq!(with(&[("origin", &own)]).await, passes(true));
    assert_eq!(with(&[("origin", "https://app.example")]).await, passes(true));
    assert_eq!(with(&[("sec-fetch-site", "same-origin")]).await, passes(false));
    assert_eq!(with(&[("origin", "https://evil.example")]).await, refused);
    assert_eq!(with(&[("origin", "null")]).await, refused);
    assert_eq!(with(&[("sec-fetch-site", "cross-site")]).await, refused);
    assert_eq!(with(&[("sec-fetch-site", "same-site")]).await, refused);

    // A token that the page itself knows is another matter: no browser adds it.
    let bearer = format!("Bearer {}", token("alice", "acme"));
    assert_eq!(with(&[("origin", "https://evil.example"), ("authorization", &bearer)]).await, passes(false));
}

/// The answer to `connection_init` on a socket with these headers: its type, or the close code.
async fn init(
    daemon: &Daemon,
    parameters: &str,
    headers: &[(&str, &str)],
    payload: serde_json::Value,
) -> String {
    use futures_util::StreamExt;
    let url = format!("ws://{}/graphql{parameters}", daemon.address);
    let mut request = url.into_client_request().unwrap();
    for (name, value) in [("sec-websocket-protocol", "graphql-transport-ws")].iter().chain(headers) {
        let name: reqwest::header::HeaderName = name.parse().unwrap();
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (mut socket, _) = within("the upgrade", connect_async(request)).await.unwrap();
    let init = json!({ "type": "connection_init", "payload": payload });
    // A socket that is closed at once may not take it any more.
    let _ = socket.send(Message::text(init.to_string())).await;
    match within("an answer", socket.next()).await.unwrap().unwrap() {
        Message::Text(text) => {
            serde_json::from_str::<serde_json::Value>(&text).unwrap()["type"].as_str().unwrap().to_owned()
        }
        Message::Close(Some(frame)) => u16::from(frame.code).to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_websocket_takes_the_same_places_in_the_same_order() {
    let daemon = generous().start().await;
    let good = token("alice", "acme");
    let (bearer, cookie) = (format!("Bearer {good}"), format!("session={good}"));
    let query = format!("?access_token={good}");
    let (ack, forbidden) = ("connection_ack", "4403");
    for (parameters, headers, payload, wanted) in [
        ("", &[][..], json!({ "token": good }), ack),
        ("", &[("authorization", &*bearer)], json!({}), ack),
        ("", &[("cookie", &*cookie)], json!(null), ack),
        (&*query, &[], json!(null), ack),
        ("", &[], json!(null), forbidden),
        ("", &[("authorization", &*bearer)], json!({ "token": "bad" }), ack),
        ("", &[("authorization", "Bearer bad")], json!({ "token": good }), forbidden),
        ("", &[("authorization", "Basic dTpw")], json!({ "token": good }), ack),
        ("", &[("authorization", "Basic dTpw")], json!({}), forbidden),
        (&*query, &[("cookie", &*cookie)], json!({ "token": "bad" }), forbidden),
        (&*query, &[("cookie", "session=bad")], json!({}), forbidden),
        ("", &[("cookie", &*cookie), ("origin", "https://evil.example")], json!({}), forbidden),
        ("", &[("cookie", &*cookie), ("origin", "https://app.example")], json!({}), ack),
    ] {
        assert_eq!(
            init(&daemon, parameters, headers, payload.clone()).await,
            wanted,
            "{headers:?} {payload}"
        );
    }
}

#[tokio::test]
async fn tokens_of_no_place_are_logged() {
    let daemon = generous().env("TIDINGS_LOG_FILTER", "trace").start().await;
    let good = token("somebody-secret", "tenant-secret");
    let cookie = format!("session={good}");
    assert_eq!(ask(&daemon, &format!("&access_token={good}"), &[]).await.status(), 200);
    assert_eq!(ask(&daemon, &format!("&access_token={good}x"), &[]).await.status(), 401);
    assert_eq!(ask(&daemon, &format!("&access_token={good}&query=%7B"), &[]).await.status(), 400);
    assert_eq!(ask(&daemon, "", &[("cookie", &cookie)]).await.status(), 200);
    assert_eq!(ask(&daemon, "", &[("cookie", &cookie), ("origin", "null")]).await.status(), 403);
    assert_eq!(
        init(&daemon, &format!("?access_token={good}"), &[("cookie", &cookie)], json!(null)).await,
        "connection_ack"
    );
    assert_eq!(init(&daemon, &format!("?access_token={good}x"), &[], json!(null)).await, "4403");
    daemon.wait_for_logs("connection closed", 2).await;
    let log = daemon.log();
    assert!(log.contains("token refused"), "{log}");
    let (_, signature) = good.rsplit_once('.').unwrap();
    for secret in [signature, "somebody-secret", "tenant-secret", SECRET] {
        assert!(!log.contains(secret), "{secret:?} is in the log:\n{log}");
    }
}
