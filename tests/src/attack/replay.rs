//! By cursors: of others, forged, and one's own from a time when one was allowed more.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_daemon::source::cursor::Cursor;
use tidings_daemon::source::snapshot::Snapshot;

use super::{Arena, SECRET};
use crate::support::daemon::token_of;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;
use crate::support::within;

const QUERY: &str = "subscription { orderInserted { note } }";

/// Ways to send a cursor.
const WAYS: [&str; 5] =
    ["last-event-id", "lastEventId", "extensions over SSE", "graphql-transport-ws", "graphql-ws"];

/// The notes that are shown to a token after a cursor, until one that everybody may see.
async fn replayed(arena: &Arena, token: &str, query: &str, cursor: &str, way: &str) -> Vec<String> {
    let end = "subscription { letter(box: 8) { body } }";
    let mut seen = Vec::new();
    let request = json!({"query": query, "extensions": {"cursor": cursor}});
    match way {
        "last-event-id" | "lastEventId" | "extensions over SSE" => {
            let mut stream = match way {
                "last-event-id" => Sse::resume(&arena.daemon, token, query, cursor).await,
                "extensions over SSE" => Sse::post(&arena.daemon, token, &request).await,
                _ => {
                    let parameters = [("query", query), ("lastEventId", cursor)];
                    let request = reqwest::Client::new()
                        .get(format!("http://{}/graphql", arena.daemon.address))
                        .query(&parameters)
                        .bearer_auth(token)
                        .header("accept", "text/event-stream");
                    Sse::of(within("the head", request.send()).await.unwrap()).await
                }
            };
            // A row of globex and of acme that is written now ends what was written before.
            arena.end_rows().await;
            loop {
                let result = stream.next().await.to_string();
                if result.contains("the end of") {
                    return seen;
                }
                seen.push(result);
            }
        }
        protocol => {
            let mut socket = Socket::connect(&arena.daemon, protocol).await;
            socket.send(json!({"type": "connection_init", "payload": {"token": token}})).await;
            let begin = if protocol == "graphql-ws" { "start" } else { "subscribe" };
            socket.send(json!({"type": begin, "id": "replay", "payload": request})).await;
            socket.send(json!({"type": begin, "id": "other", "payload": {"query": end}})).await;
            socket.send(json!({"type": begin, "id": "live", "payload": {"query": "{__typename}"}})).await;
            let mut ended = false;
            loop {
                let message = socket.receive().await;
                if message["id"] == "live" && !ended {
                    arena.end_rows().await;
                    ended = true;
                }
                if message["id"] == "replay" {
                    let text = message.to_string();
                    if text.contains("the end of") {
                        return seen;
                    }
                    seen.push(text);
                }
            }
        }
    }
}

impl Arena {
    /// Both tenants write a row that ends a wait.
    async fn end_rows(&self) {
        let row = self.row.get() + 2;
        self.row.set(row);
        let acme = row - 1;
        self.sql
            .run(&format!("insert into orders values ({acme}, 'acme', 'the end of acme'), ({row}, 'globex', 'the end of globex')"))
            .await;
    }

    /// Where somebody's stream stands now.
    async fn cursor_of(&self, token: &str) -> String {
        let mut socket = Socket::connect(&self.daemon, "graphql-transport-ws").await;
        socket.send(json!({"type": "connection_init", "payload": {"token": token}})).await;
        socket.receive().await["payload"]["cursor"].as_str().expect("the ack carries a cursor").to_owned()
    }
}

fn only(seen: &[String], text: &str) -> bool {
    seen.iter().all(|result| result.contains(text))
}

#[tokio::test]
async fn a_cursor_of_another_tenant_shows_ones_own_events_only() {
    let arena = Arena::new().await;
    let mut stream = Sse::open(&arena.daemon, &arena.ann(), QUERY).await;
    arena.both_write().await;
    let result = stream.next().await;
    let cursors =
        [arena.cursor_of(&arena.ann()).await, result["extensions"]["cursor"].as_str().unwrap().to_owned()];
    for _ in 0..3 {
        arena.both_write().await;
    }
    for (cursor, own) in cursors.iter().zip([3, 4]) {
        for way in WAYS {
            let seen = replayed(&arena, &arena.mallory(), QUERY, cursor, way).await;
            assert!(only(&seen, "of globex") && (3..=own).contains(&seen.len()), "{way}: {seen:#?}");
            let seen = replayed(&arena, &arena.ann(), QUERY, cursor, way).await;
            assert!(seen.len() == 3 && only(&seen, SECRET), "the control fails: {way}: {seen:#?}");
        }
    }
}

#[tokio::test]
async fn a_forged_cursor_shows_ones_own_events_only() {
    let arena = Arena::new().await;
    let true_one = arena.cursor_of(&arena.mallory()).await;
    for _ in 0..2 {
        arena.both_write().await;
    }
    let cursor = Cursor::decode(&true_one).unwrap();
    // Nothing but the first transactions of the database has been seen, or nothing at all by its id.
    let early = Arc::new(Snapshot::new(cursor.seen.xmax(), Vec::new()));
    for forged in [
        Cursor { top: 0, ..cursor.clone() },
        Cursor { top: -1, seen: early.clone(), within: None, ..cursor.clone() },
        Cursor { top: i64::MIN, seen: early, ..cursor.clone() },
    ] {
        let text = forged.encode();
        let seen = replayed(&arena, &arena.mallory(), QUERY, &text, "graphql-transport-ws").await;
        assert!(!seen.iter().any(|result| result.contains(SECRET)), "{forged:?}: {seen:#?}");
        let seen = replayed(&arena, &arena.ann(), QUERY, &text, "graphql-transport-ws").await;
        assert!(
            seen.iter().any(|result| result.contains(SECRET)),
            "the control fails: {forged:?}: {seen:#?}"
        );
    }
}

#[tokio::test]
async fn a_replay_shows_what_the_identity_of_the_resume_may_see() {
    let arena = Arena::with(|builder| builder.env("TIDINGS_ADMIN_ROLES", "admin")).await;
    let claims = |tenant: Value, role: &str| {
        token_of(json!({"sub": "eve", "tenant_id": tenant, "role": role}), Duration::from_secs(600))
    };
    // Eve was of acme, and an administrator, and is of globex.
    let before = [claims("acme".into(), &arena.web), claims(Value::Null, "admin")];
    let now = claims("globex".into(), &arena.web);
    let mut cursors = Vec::new();
    for token in &before {
        cursors.push(arena.cursor_of(token).await);
    }
    arena.both_write().await;
    for (token, cursor) in before.iter().zip(&cursors) {
        for way in WAYS {
            let seen = replayed(&arena, &now, QUERY, cursor, way).await;
            assert!(!seen.is_empty() && only(&seen, "of globex"), "{way}: {seen:#?}");
            let seen = replayed(&arena, token, QUERY, cursor, way).await;
            assert!(seen.iter().any(|result| result.contains(SECRET)), "the control fails: {way}: {seen:#?}");
        }
    }
}

#[tokio::test]
async fn a_field_that_ones_role_may_no_longer_see_is_not_replayed() {
    let arena = Arena::new().await;
    let of = |role: &str| {
        token_of(json!({"sub": "ben", "tenant_id": "acme", "role": role}), Duration::from_secs(600))
    };
    let (boss, web) = (of(&arena.boss), of(&arena.web));
    let query = "subscription { letter(box: 9) { body pay } }";
    let cursor = arena.cursor_of(&boss).await;
    let letter = r#"{"box": "9", "body": "b", "pay": "SECRET-OF-ACME"}"#;
    arena.sql.run(&format!("select publish_event('letters', 'sent', '{letter}', tenant_id => 'acme')")).await;
    let request = json!({"query": query, "extensions": {"cursor": cursor}});
    let replayed = Sse::post(&arena.daemon, &web, &request).await.next().await.to_string();
    assert!(replayed.contains("\"body\":\"b\"") && !replayed.contains(SECRET), "{replayed}");
    let replayed = Sse::post(&arena.daemon, &boss, &request).await.next().await.to_string();
    assert!(replayed.contains(SECRET), "the control fails: {replayed}");
}
