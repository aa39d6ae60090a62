//! What each request is answered with.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Reservation, answer, request};
use crate::protocol::raw::Raw;
use crate::protocol::{QUIET, alice, builder, code, daemon};
use crate::support::daemon::{Daemon, token, token_of};

/// The code of the first error of a body.
fn code_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    code(&body).to_owned()
}

async fn status(reservation: &Reservation, daemon: &Daemon, method: Method, path: &str) -> (u16, String) {
    let (status, body) = answer(reservation.request(daemon, method, path)).await;
    (status, code_of(&body))
}

#[tokio::test]
async fn s08_put_reserves_and_always_mints_a_new_token() {
    let daemon = daemon().await;
    let authorization = format!("authorization: Bearer {}", alice());
    let response = Raw::request(&daemon, "PUT /graphql/stream", &[&authorization], "").await.response().await;
    assert_eq!(response.status, 201);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.body.len(), 43, "256 bits as base64url");
    let resent = format!("x-graphql-event-stream-token: {}", response.body);
    let headers = [authorization.as_str(), &resent];
    let again = Raw::request(&daemon, "PUT /graphql", &headers, "").await.response().await;
    assert_eq!(again.status, 201);
    assert_ne!(again.body, response.body);
    let stale = ["x-graphql-event-stream-token: stale", authorization.as_str()];
    let stale = Raw::request(&daemon, "PUT /graphql?token=stale", &stale, "").await.response().await;
    assert_eq!(stale.status, 201);
    let nobody = Raw::request(&daemon, "PUT /graphql", &[], "").await.response().await;
    assert_eq!((nobody.status, code(&nobody.json())), (401, "UNAUTHENTICATED"));
}

#[tokio::test]
async fn s08_another_principal_gets_404() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let issued = |claims: Value| token_of(claims, std::time::Duration::from_secs(600));
    for other in [
        token("bob", "acme"),
        token("alice", "globex"),
        issued(json!({ "tenant_id": "acme" })),
        issued(json!({ "sub": "alice" })),
        issued(json!({ "sub": "alice", "tenant_id": "acme", "iss": "elsewhere" })),
    ] {
        let stolen = reservation.stolen_by(&other);
        let refused = stolen.get(&daemon, None).await;
        assert_eq!(refused.status(), 404);
        assert_eq!(code_of(&refused.text().await.unwrap()), "RESERVATION_UNKNOWN");
        assert_eq!(stolen.get(&daemon, Some("1.x")).await.status(), 400);
        assert_eq!(stolen.post(&daemon, "1", QUIET).await.0, 404);
        assert_eq!(stolen.delete(&daemon, "1").await.0, 404);
    }
    let again = issued(json!({ "sub": "alice", "tenant_id": "acme", "role": "other" }));
    reservation.stolen_by(&again).open(&daemon, None).await;
}

#[tokio::test]
async fn s09_the_token_is_in_the_header_or_the_query_string() {
    let daemon = daemon().await;
    let Reservation { token, .. } = Reservation::make(&daemon, &alice()).await;
    let path = |more: &str| format!("/graphql/stream?token={token}{more}");
    let body = json!({ "query": QUIET, "extensions": { "operationId": "1" } }).to_string();
    let post = request(&daemon, Method::POST, &path(""), &alice());
    let post = post.header("content-type", "application/json").body(body);
    assert_eq!(answer(post).await, (202, String::new()));
    let delete = request(&daemon, Method::DELETE, &path("&operationId=1"), &alice());
    assert_eq!(answer(delete).await, (200, String::new()));
    let get = request(&daemon, Method::GET, &path(""), &alice()).header("accept", "text/event-stream");
    assert_eq!(get.send().await.unwrap().status(), 200);
    let twice = request(&daemon, Method::DELETE, &path(&format!("&token={token}&operationId=1")), &alice());
    assert_eq!(answer(twice).await.0, 400);
}

#[tokio::test]
async fn s10_a_second_stream_gets_409_until_the_first_has_gone() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let first = reservation.open(&daemon, None).await;
    let second = reservation.get(&daemon, None).await;
    assert_eq!(second.status(), 409);
    assert_eq!(code_of(&second.text().await.unwrap()), "STREAM_OPEN");
    drop(first);
    // The one that was refused, and the first.
    daemon.wait_for_logs("connection closed", 2).await;
    assert_eq!(reservation.get(&daemon, None).await.status(), 200);
}

#[tokio::test]
async fn s11_get_or_post_with_an_sse_accept_opens_the_stream() {
    let daemon = daemon().await;
    for method in [Method::GET, Method::POST] {
        let reservation = Reservation::make(&daemon, &alice()).await;
        let open = reservation.request(&daemon, method, "/graphql");
        let open = open.header("accept", "application/json;q=0.5, text/event-stream").send().await.unwrap();
        assert_eq!(open.status(), 200);
        assert_eq!(open.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(open.headers()["cache-control"], "no-cache, no-transform");
        assert_eq!(open.headers()["x-accel-buffering"], "no");
    }
}

#[tokio::test]
async fn s12_an_operation_is_taken_before_the_stream_is_open() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    assert_eq!(reservation.post(&daemon, "1", QUIET).await, (202, String::new()));
    let query = "query=%7B__typename%7D&extensions=%7B%22operationId%22%3A%222%22%7D";
    let get = reservation.request(&daemon, Method::GET, &format!("/graphql?{query}"));
    assert_eq!(answer(get).await, (202, String::new()));
}

#[tokio::test]
async fn s13_what_is_wrong_is_the_answer_to_the_post_and_the_id_stays_free() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    for (query, expected) in [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED"),
    ] {
        let (status, body) = reservation.post(&daemon, "1", query).await;
        assert_eq!((status, code_of(&body).as_str()), (400, expected), "{query}");
    }
    reservation.subscribe(&daemon, "1", QUIET).await;
}

#[tokio::test]
async fn s14_an_operation_needs_an_id_that_is_free() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    for extensions in [json!({}), json!(null), json!({ "operationId": "" }), json!({ "operationId": 1 })] {
        let body = json!({ "query": QUIET, "extensions": extensions });
        let (status, body) = reservation.post_value(&daemon, &body).await;
        assert_eq!((status, code_of(&body).as_str()), (400, "BAD_REQUEST"));
    }
    reservation.subscribe(&daemon, "1", QUIET).await;
    let (status, body) = reservation.post(&daemon, "1", QUIET).await;
    assert_eq!((status, code_of(&body).as_str()), (409, "OPERATION_ID_TAKEN"));
    Reservation::make(&daemon, &alice()).await.subscribe(&daemon, "1", QUIET).await;
}

#[tokio::test]
async fn s15_delete_is_200_for_an_unknown_id_and_400_without_one() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    assert_eq!(reservation.delete(&daemon, "unknown").await, (200, String::new()));
    assert_eq!(reservation.delete(&daemon, &"x".repeat(300)).await, (200, String::new()));
    assert_eq!(reservation.delete(&daemon, "a%00").await, (200, String::new()));
    for path in ["/graphql", "/graphql?operationId="] {
        assert_eq!(status(&reservation, &daemon, Method::DELETE, path).await, (400, "BAD_REQUEST".into()));
    }
}

#[tokio::test]
async fn s17_an_unknown_token_is_404_and_other_things_are_their_own_status() {
    let daemon = daemon().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let unknown = Reservation { token: "unknown".into(), ..reservation.stolen_by(&alice()) };
    let not_found = (404, "RESERVATION_UNKNOWN".to_owned());
    let json = |body: &'static str| {
        reservation
            .request(&daemon, Method::POST, "/graphql")
            .header("content-type", "application/json")
            .body(body)
    };
    assert_eq!(status(&unknown, &daemon, Method::POST, "/graphql").await, not_found);
    assert_eq!(status(&unknown, &daemon, Method::DELETE, "/graphql").await, not_found);
    assert_eq!(status(&unknown, &daemon, Method::DELETE, "/graphql?operationId=1").await, not_found);
    assert_eq!(unknown.get(&daemon, None).await.status(), 404);
    for missing in ["", &"x".repeat(200)] {
        let bad = Reservation { token: missing.to_owned(), ..reservation.stolen_by(&alice()) };
        assert_eq!(status(&bad, &daemon, Method::POST, "/graphql").await, not_found);
    }
    let without = request(&daemon, Method::DELETE, "/graphql?operationId=1", &alice());
    assert_eq!(answer(without).await.0, 404);

    let patch = reservation.request(&daemon, Method::PATCH, "/graphql").send().await.unwrap();
    assert_eq!(
        (patch.status().as_u16(), &patch.headers()["allow"]),
        (405, &"GET, POST, PUT, DELETE".parse().unwrap())
    );
    assert_eq!(
        status(&reservation, &daemon, Method::POST, "/graphql").await,
        (415, "UNSUPPORTED_MEDIA_TYPE".into())
    );
    assert_eq!(answer(json("{")).await.0, 400);
    assert_eq!(answer(json("[]")).await.0, 400);
    let mutation = "/graphql?query=mutation%7Ba%7D&extensions=%7B%22operationId%22%3A%222%22%7D";
    let mutation = reservation.request(&daemon, Method::GET, mutation).send().await.unwrap();
    assert_eq!((mutation.status().as_u16(), &mutation.headers()["allow"]), (405, &"POST".parse().unwrap()));
    let nul = json!({ "query": format!("{QUIET} #\0"), "extensions": { "operationId": "n" } });
    assert_eq!(reservation.post_value(&daemon, &nul).await.0, 400);
}

#[tokio::test]
async fn s17_a_reservation_that_nobody_fulfils_expires() {
    let daemon = builder().env("TIDINGS_RESERVATIONS_UNFULFILLED_S", "1").start().await;
    let (kept, unused) =
        (Reservation::make(&daemon, &alice()).await, Reservation::make(&daemon, &alice()).await);
    let _stream = kept.open(&daemon, None).await;
    crate::support::within("the reservation's expiry", async {
        while unused.delete(&daemon, "1").await.0 == 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(unused.get(&daemon, None).await.status(), 404);
    assert_eq!(kept.delete(&daemon, "1").await.0, 200);
}

#[tokio::test]
async fn s22_overload_is_503_or_for_who_resumes_retry_and_close() {
    let daemon = builder().env("TIDINGS_LIMITS_CONNECTIONS", "1").start().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let stream = reservation.open(&daemon, None).await;
    let id = stream.last_id().expect("s20: a stream says at its start where it stands");
    let other = Reservation::make(&daemon, &alice()).await;
    let refused = other.get(&daemon, None).await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let shed = other.get(&daemon, Some(&id)).await;
    assert_eq!(shed.status(), 200);
    let text = shed.text().await.unwrap();
    assert!(text.starts_with("retry: ") && text.ends_with("\n\n"), "{text:?}");
}

#[tokio::test]
async fn a_user_has_so_many_reservations_and_a_flood_of_put_is_bounded() {
    let daemon = builder()
        .env("TIDINGS_RESERVATIONS_PER_USER", "2")
        .env("TIDINGS_RESERVATIONS_TOTAL", "3")
        .start()
        .await;
    let first = Reservation::make(&daemon, &alice()).await;
    let second = Reservation::make(&daemon, &alice()).await;
    let _stream = first.open(&daemon, None).await;
    let third = Reservation::make(&daemon, &alice()).await;
    assert_eq!(second.delete(&daemon, "1").await.0, 404, "it was idle, and made room");
    assert_eq!(daemon.metric("tidings_reservations_evicted_total").await, "1");
    let _other = third.open(&daemon, None).await;
    let (status, body) = answer(request(&daemon, Method::PUT, "/graphql", &alice())).await;
    assert_eq!((status, code_of(&body).as_str()), (429, "TOO_MANY_RESERVATIONS"));
    Reservation::make(&daemon, &token("bob", "acme")).await;
    let (status, body) = answer(request(&daemon, Method::PUT, "/graphql", &token("eve", "acme"))).await;
    assert_eq!((status, code_of(&body).as_str()), (503, "RESERVATIONS_FULL"));
}

#[tokio::test]
async fn a_reservation_has_so_many_operations() {
    let daemon = builder().env("TIDINGS_LIMITS_SUBSCRIPTIONS", "2").start().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    reservation.subscribe(&daemon, "1", QUIET).await;
    reservation.subscribe(&daemon, "2", QUIET).await;
    let (status, body) = reservation.post(&daemon, "3", QUIET).await;
    assert_eq!((status, code_of(&body).as_str()), (429, "TOO_MANY_SUBSCRIPTIONS"));
    reservation.delete(&daemon, "1").await;
    reservation.subscribe(&daemon, "3", QUIET).await;
}

#[tokio::test]
async fn the_operations_of_a_reservation_take_so_many_bytes() {
    let daemon = builder().env("TIDINGS_RESERVATIONS_BYTES", "1024").start().await;
    let reservation = Reservation::make(&daemon, &alice()).await;
    let large = format!("{QUIET} # {}", "x".repeat(400));
    reservation.subscribe(&daemon, "1", &large).await;
    let (status, body) = reservation.post(&daemon, "2", &large).await;
    assert_eq!((status, code_of(&body).as_str()), (413, "RESERVATION_TOO_LARGE"));
    reservation.delete(&daemon, "1").await;
    reservation.subscribe(&daemon, "2", &large).await;
}

#[tokio::test]
async fn pages_of_other_origins_are_told_what_they_may_send() {
    let daemon = builder().env("TIDINGS_ALLOWED_ORIGINS", "https://app.example").start().await;
    let headers = ["origin: https://app.example", "access-control-request-method: PUT"];
    let preflight = Raw::request(&daemon, "OPTIONS /graphql/stream", &headers, "").await.response().await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, POST, PUT, DELETE, OPTIONS"));
    let allowed = preflight.header("access-control-allow-headers").unwrap();
    for name in ["content-type", "authorization", "x-graphql-event-stream-token", "last-event-id"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    let authorization = format!("authorization: Bearer {}", alice());
    let put = ["origin: https://app.example", authorization.as_str()];
    let put = Raw::request(&daemon, "PUT /graphql/stream", &put, "").await.response().await;
    assert_eq!(put.header("access-control-allow-origin"), Some("https://app.example"));
}
