//! Cursors that are no good, and good ones under odd circumstances, over both transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tidings_daemon::source::cursor::{Cursor, Within};

use super::database_with_orders;
use super::resume::Stream;
use crate::support::daemon::{Daemon, token};
use crate::support::database::Session;
use crate::support::sse::Sse;
use crate::support::websocket::Socket;

const INSERTED: &str = "subscription { orderInserted { id } }";

/// Server-sent events or WebSocket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Way {
    Sse,
    Socket,
}

pub(super) const WAYS: [Way; 2] = [Way::Sse, Way::Socket];

pub(super) async fn resume(daemon: &Daemon, way: Way, query: &str, cursor: &str) -> Stream {
    let token = token("ann", "acme");
    let payload = json!({ "query": query, "extensions": { "cursor": cursor } });
    match way {
        Way::Sse => Stream::Sse(Sse::post(daemon, &token, &payload).await),
        Way::Socket => {
            let mut socket = Socket::open(daemon, &token).await;
            socket.send(json!({ "type": "subscribe", "id": "1", "payload": payload })).await;
            Stream::Socket(Box::new(socket))
        }
    }
}

/// The first thing that is said: a result, or the error instead of it.
async fn first(stream: &mut Stream) -> Value {
    match stream {
        Stream::Sse(stream) => stream.next().await,
        Stream::Socket(socket) => {
            let message = socket.receive().await;
            match message["type"].as_str() {
                Some("error") => json!({ "errors": message["payload"] }),
                _ => message["payload"].clone(),
            }
        }
    }
}

async fn insert(session: &Session, id: i32) {
    session.run(&format!("insert into orders values ({id}, 'acme', 'new', 1)")).await;
}

async fn current_cursor(session: &Session) -> String {
    session.line("select tidings.current_cursor()").await
}

#[tokio::test]
async fn a_truncated_or_altered_cursor_is_an_error_or_a_set_and_never_anothers_events() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    insert(&session, 1).await;
    let whole = current_cursor(&session).await;
    session.run("insert into orders values (2, 'globex', 'new', 1)").await;
    insert(&session, 3).await;
    for way in WAYS {
        for end in 0..whole.len() {
            let answer = first(&mut resume(&daemon, way, INSERTED, &whole[..end]).await).await;
            let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
            assert!(code.starts_with("CURSOR_"), "{way:?} {end}: {answer}");
        }
        for index in 0..whole.len() {
            let letter = if whole.as_bytes()[index] == b'Q' { "A" } else { "Q" };
            let mut altered = whole.clone();
            altered.replace_range(index..=index, letter);
            let answer = first(&mut resume(&daemon, way, INSERTED, &altered).await).await;
            let code = answer["errors"][0]["extensions"]["code"].as_str().unwrap_or_default();
            let id = &answer["data"]["orderInserted"]["id"];
            assert!(code.starts_with("CURSOR_") || id == 1 || id == 3, "{way:?} {altered}: {answer}");
        }
        let answer = first(&mut resume(&daemon, way, INSERTED, &whole).await).await;
        assert_eq!(answer["data"]["orderInserted"]["id"], 3);
    }
}

#[tokio::test]
async fn a_cursor_of_the_future_is_another_history() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    insert(&session, 1).await;
    let cursor = Cursor::decode(&current_cursor(&session).await).unwrap();
    let beyond = Within { snapshot: cursor.seen.clone(), upto: 1_000_000 };
    for way in WAYS {
        for future in [
            Cursor { top: 1_000_000, ..cursor.clone() },
            Cursor { within: Some(beyond.clone()), ..cursor.clone() },
        ] {
            let answer = first(&mut resume(&daemon, way, INSERTED, &future.encode()).await).await;
            let extensions = &answer["errors"][0]["extensions"];
            assert_eq!(extensions["code"], "CURSOR_HISTORY_CHANGED", "{way:?}: {answer}");
            let oldest = extensions["oldestCursor"].as_str().unwrap();
            let answer = first(&mut resume(&daemon, way, INSERTED, oldest).await).await;
            assert_eq!(answer["data"]["orderInserted"]["id"], 1);
        }
    }
}

#[tokio::test]
async fn two_clients_with_one_cursor_both_get_everything() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let cursor = current_cursor(&session).await;
    for id in 1..=20 {
        insert(&session, id).await;
    }
    let mut streams = Vec::new();
    for way in [WAYS, WAYS].concat() {
        streams.push(resume(&daemon, way, INSERTED, &cursor).await);
    }
    for id in 21..=40 {
        insert(&session, id).await;
    }
    for stream in &mut streams {
        for id in 1..=40 {
            assert_eq!(stream.next().await["data"]["orderInserted"]["id"], id);
        }
    }
}

#[tokio::test]
async fn a_changed_document_applies_from_the_cursor_on() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let start = current_cursor(&session).await;
    insert(&session, 1).await;
    for (way, documents) in WAYS.into_iter().zip([
        ["subscription { orderInserted { id } }", "subscription { orderUpdated { name: status total } }"],
        [
            "subscription { orderInserted { total } }",
            "subscription { orderUpdated(filter: {id: {gt: 1}}) { status } }",
        ],
    ]) {
        let mut stream = resume(&daemon, way, documents[0], &start).await;
        let cursor = stream.next().await["extensions"]["cursor"].as_str().unwrap().to_owned();
        drop(stream);
        session
            .run("update orders set status = 'paid'; insert into orders values (2, 'acme', 'new', 5)")
            .await;
        session.run("update orders set status = 'sent' where id = 2").await;
        let mut stream = resume(&daemon, way, documents[1], &cursor).await;
        let first = stream.next().await["data"]["orderUpdated"].take();
        match way {
            Way::Sse => {
                assert_eq!(first, json!({ "name": "paid", "total": "1" }));
                assert_eq!(stream.next().await["data"]["orderUpdated"]["name"], "sent");
            }
            Way::Socket => {
                assert_eq!(first, json!({ "status": "sent" }), "the first update is not of the filter")
            }
        }
        session.run("delete from orders where id = 2").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumes_while_the_schema_reloads_get_each_event_once() {
    let database = database_with_orders().await;
    let session = database.connect().await;
    let daemon = Arc::new(Daemon::start(&database.conninfo()).await);
    let start = current_cursor(&session).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for way in [WAYS, WAYS].concat() {
        let (daemon, start, done) = (daemon.clone(), start.clone(), done.clone());
        clients.push(tokio::spawn(async move {
            let (mut cursor, mut seen, mut resumes) = (start, Vec::new(), 0);
            loop {
                let mut stream = resume(&daemon, way, INSERTED, &cursor).await;
                resumes += 1;
                for _ in 0..1 + resumes % 7 {
                    let result = stream.next().await;
                    let id = result["data"]["orderInserted"]["id"].as_i64();
                    let id = id.unwrap_or_else(|| panic!("{way:?}: {result}"));
                    result["extensions"]["cursor"].as_str().unwrap().clone_into(&mut cursor);
                    if id == 0 {
                        done.store(true, Ordering::Relaxed);
                        return (seen, resumes);
                    }
                    seen.push(id);
                }
            }
        }));
    }
    let reloads = AtomicBool::new(false);
    let changes = database.connect().await;
    let change = async {
        let mut number = 0;
        while !reloads.load(Ordering::Relaxed) {
            number += 1;
            changes.run(&format!("alter table orders add column extra_{number} int")).await;
            changes.run(&format!("alter table orders drop column extra_{number}")).await;
        }
        number
    };
    let write = async {
        for id in 1..=400 {
            insert(&session, id).await;
        }
        insert(&session, 0).await;
        reloads.store(true, Ordering::Relaxed);
    };
    let (changes, ()) = tokio::join!(change, write);
    for client in clients {
        let (seen, resumes) = client.await.unwrap();
        println!("{resumes} resumes, {} events, {changes} columns that came and went", seen.len());
        assert_eq!(seen, (1..=400).collect::<Vec<_>>());
    }
    assert!(changes > 3);
}
