//! By what is told besides results: metrics, introspection, pages, the log, and time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Arena, SECRET};
use crate::support::note;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

async fn get(arena: &Arena, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let request = reqwest::Client::new().get(format!("http://{}{path}", arena.daemon.address));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = within("an answer", request.send()).await.unwrap();
    (response.status().as_u16(), within("a body", response.text()).await.unwrap())
}

#[tokio::test]
async fn metrics_pages_and_log_name_no_tenant_no_user_and_no_content() {
    let arena = Arena::with(|builder| builder.env("TIDINGS_LOG_FILTER", "trace")).await;
    let request = json!({"query": "subscription { letter(box: 7) { body vault(tenant: \"acme\") broken } }"});
    // Traffic of which there would be something to tell.
    let seen = arena.seen(&arena.ann(), "acme", &request).await;
    assert!(seen.iter().any(|text| text.contains(SECRET) || text.contains("errors")), "{seen:?}");
    let (status, metrics) = get(&arena, "/metrics", &[]).await;
    assert!(status == 200 && metrics.contains("tidings_"), "{metrics}");
    for (path, headers) in [
        ("/metrics", &[][..]),
        ("/healthz", &[]),
        ("/readyz", &[]),
        ("/graphql", &[("accept", "text/html")]),
        ("/graphql", &[("accept", "application/json")]),
        ("/admin", &[]),
        ("/nothing", &[]),
    ] {
        let (_, body) = get(&arena, path, headers).await;
        for secret in [SECRET, "acme", "globex", "mallory", "\"ann\"", arena.web.as_str()] {
            assert!(!body.contains(secret), "{path} names {secret}: {body}");
        }
    }
    // A reverse proxy on the same machine does not open it to the world.
    assert_eq!(get(&arena, "/metrics", &[("x-forwarded-for", "192.0.2.7")]).await.0, 403);
    let log = arena.daemon.log();
    assert!(log.contains("subscription is live"), "the log is detailed");
    for secret in [SECRET, "globex", "mallory"] {
        assert!(!log.contains(secret), "the log names {secret}");
    }
}

#[tokio::test]
async fn introspection_is_the_same_for_all_tenants_and_holds_no_data() {
    let arena = Arena::new().await;
    arena.both_write().await;
    let query = json!({"query": "{ __schema { description types { name description fields { name description args { name defaultValue } } enumValues { name } } } tidings { __typename } }"});
    let mut told = Vec::new();
    for token in [arena.mallory(), arena.ann()] {
        told.push(Sse::post(&arena.daemon, &token, &query).await.next().await);
    }
    assert_eq!(told[0], told[1]);
    assert!(told[0].to_string().contains("orderInserted"), "it is the schema");
    for secret in [SECRET, "acme", "globex"] {
        assert!(!told[0].to_string().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn errors_are_the_same_whether_or_not_another_tenant_has_what_they_are_about() {
    let arena = Arena::new().await;
    arena.sql.run(&format!("insert into orders values (77, 'acme', '{SECRET}')")).await;
    let of = |id: i32, field: &str| json!({"query": format!("subscription {{ orderChanged(id: {id}) {{ record {{ {field} }} }} }}")});
    let told = async |request: Value| {
        let mut socket = Socket::open(&arena.daemon, &arena.mallory()).await;
        socket.send(json!({"type": "subscribe", "id": "1", "payload": request})).await;
        socket.send(json!({"type": "ping"})).await;
        socket.receive().await.to_string().replace("77", "N").replace("78", "N")
    };
    for field in ["note", "qwerty", "note(x: 77)"] {
        assert_eq!(told(of(77, field)).await, told(of(78, field)).await, "{field}");
    }
    assert!(told(of(77, "qwerty")).await.contains("qwerty"), "errors are told at all");
}

/// Rounds of the measurement, and how far apart two medians may be: several times what they scatter here, and far
/// below what reading the row itself would take.
const ROUNDS: usize = 120;

/// The time from a subscription with `@initial` to its first sign of life, in alternating rounds for each id.
async fn medians(arena: &Arena, token: &str, ids: [i32; 2]) -> [Duration; 2] {
    let mut socket = Socket::open(&arena.daemon, token).await;
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS * 2 {
        let which = round % 2;
        let query =
            format!("subscription {{ orderChanged(id: {}) @initial {{ record {{ note }} }} }}", ids[which]);
        let id = round.to_string();
        let payload = json!({"query": query, "extensions": {"acknowledge": true}});
        let began = Instant::now();
        socket.send(json!({"type": "subscribe", "id": id, "payload": payload})).await;
        loop {
            let result = socket.next().await;
            if result["extensions"]["subscribed"] == true {
                break;
            }
            assert!(result.get("errors").is_none(), "{result}");
        }
        times[which].push(began.elapsed());
        socket.send(json!({"type": "complete", "id": id})).await;
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

#[tokio::test]
async fn how_long_an_answer_takes_does_not_tell_whether_another_tenant_has_a_row() {
    let arena = Arena::new().await;
    // Large enough that reading it takes time.
    arena
        .sql
        .run("insert into orders select id, tenant, repeat('x', 900000) from (values (1, 'acme'), (2, 'globex')) v (id, tenant)")
        .await;
    let [of_acme, of_nobody] = medians(&arena, &arena.mallory(), [1, 99]).await;
    let [own, none] = medians(&arena, &arena.mallory(), [2, 99]).await;
    let apart = of_acme.abs_diff(of_nobody);
    let bound = own.saturating_sub(none) / 3;
    note(&format!("{apart:?} apart; one's own row {:?}", own.saturating_sub(none)));
    assert!(
        own > none + Duration::from_millis(1),
        "the control: reading a row takes time: {own:?}, {none:?}"
    );
    assert!(apart < bound, "another tenant's row: {of_acme:?}, no row: {of_nobody:?}, bound {bound:?}");
}
