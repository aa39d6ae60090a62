//! By another's reservation: its token, its operation ids, and where its stream stood.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Arena, SECRET};
use crate::support::sse::Sse;
use crate::support::within;

const QUERY: &str = "subscription { orderInserted { note } }";

/// A request with a reservation's token, as somebody.
async fn ask(
    arena: &Arena,
    method: Method,
    parameters: &str,
    stream: &str,
    token: &str,
    body: Option<Value>,
) -> reqwest::Response {
    let accept = if method == Method::GET { "text/event-stream" } else { "application/json" };
    let request = reqwest::Client::new()
        .request(method, format!("http://{}/graphql/stream{parameters}", arena.daemon.address))
        .bearer_auth(token)
        .header("accept", accept)
        .header("x-graphql-event-stream-token", stream);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    within("an answer", request.send()).await.unwrap()
}

async fn reserve(arena: &Arena, token: &str) -> String {
    let response = ask(arena, Method::PUT, "", "", token, None).await;
    assert_eq!(response.status(), 201);
    response.text().await.unwrap()
}

async fn operate(arena: &Arena, stream: &str, token: &str, id: &str) -> u16 {
    let body = json!({"query": QUERY, "extensions": {"operationId": id}});
    ask(arena, Method::POST, "", stream, token, Some(body)).await.status().as_u16()
}

/// Status and body of an answer, without what names the moment.
async fn told(response: reqwest::Response) -> (u16, String) {
    (response.status().as_u16(), within("the body", response.text()).await.unwrap())
}

#[tokio::test]
async fn a_token_of_anothers_reservation_is_unknown() {
    let arena = Arena::new().await;
    let stream = reserve(&arena, &arena.ann()).await;
    assert_eq!(operate(&arena, &stream, &arena.ann(), "1").await, 202);
    // Mallory, and an ann of another tenant.
    for token in [arena.mallory(), arena.token("ann", "globex")] {
        let body = json!({"query": QUERY, "extensions": {"operationId": "2"}});
        for (method, parameters, body) in [
            (Method::GET, "", None),
            (Method::POST, "", Some(body)),
            (Method::DELETE, "?operationId=1", None),
        ] {
            let stolen =
                told(ask(&arena, method.clone(), parameters, &stream, &token, body.clone()).await).await;
            let made_up =
                told(ask(&arena, method.clone(), parameters, &"x".repeat(stream.len()), &token, body).await)
                    .await;
            assert_eq!(stolen.0, 404, "{method}{parameters}: {stolen:?}");
            assert_eq!(stolen, made_up, "nothing tells that there is such a reservation");
        }
    }
    let mut own = Sse::of(ask(&arena, Method::GET, "", &stream, &arena.ann(), None).await).await;
    arena.both_write().await;
    let next = own.next().await;
    assert_eq!(
        (&next["id"], &next["payload"]["data"]["orderInserted"]["note"]),
        (&json!("1"), &json!(SECRET)),
        "ann's goes on"
    );
}

#[tokio::test]
async fn operation_ids_and_positions_of_another_reservation_mean_nothing_in_ones_own() {
    let arena = Arena::new().await;
    let (anns, mallorys) = (reserve(&arena, &arena.ann()).await, reserve(&arena, &arena.mallory()).await);
    for (stream, token) in [(&anns, arena.ann()), (&mallorys, arena.mallory())] {
        assert_eq!(operate(&arena, stream, &token, "same").await, 202);
    }
    let mut own = Sse::of(ask(&arena, Method::GET, "", &anns, &arena.ann(), None).await).await;
    arena.both_write().await;
    assert_eq!(own.next().await["payload"]["data"]["orderInserted"]["note"], SECRET);
    let position = own.last_id().expect("the stream names its position");
    arena.both_write().await;
    assert_eq!(own.next().await["payload"]["data"]["orderInserted"]["note"], SECRET);
    // Where ann's stream stood, for mallory's: what mallory may see since then.
    let at = format!("?lastEventId={position}");
    let mut theirs = Sse::of(ask(&arena, Method::GET, &at, &mallorys, &arena.mallory(), None).await).await;
    let next = theirs.next().await;
    assert_eq!(
        (&next["id"], &next["payload"]["data"]["orderInserted"]["note"]),
        (&json!("same"), &json!("of globex"))
    );
    // The same id is another operation.
    let ended = ask(&arena, Method::DELETE, "?operationId=same", &mallorys, &arena.mallory(), None).await;
    assert_eq!(ended.status(), 200);
    arena.both_write().await;
    let next = own.next().await;
    assert_eq!(
        (&next["id"], &next["payload"]["data"]["orderInserted"]["note"]),
        (&json!("same"), &json!(SECRET))
    );
}
