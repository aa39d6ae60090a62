//! Part A, S4, S5 and S20 to the byte: what a stream of results looks like on the socket.

use super::alice;
use super::raw::Raw;
use crate::support::daemon::Daemon;
use crate::support::database::Database;

/// The chunks of a chunked body: each is one write of the daemon.
fn chunks(received: &str) -> Vec<&str> {
    let (_, mut body) = received.split_once("\r\n\r\n").unwrap();
    let mut chunks = Vec::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if rest.len() < size + 2 {
            break;
        }
        chunks.push(&rest[..size]);
        body = &rest[size + 2..];
    }
    chunks
}

#[tokio::test]
async fn s04_s20_every_event_has_an_id_is_one_line_and_is_written_whole() {
    let database = Database::new().await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let authorization = format!("authorization: Bearer {}", alice());
    let get = "GET /graphql/stream?query=subscription%7Bevents(channel:%22c%22)%7Bid%20data%7D%7D";
    let mut stream = Raw::request(&daemon, get, &["accept: text/event-stream", &authorization], "").await;
    stream.until("id: ").await;
    let sql = database.connect().await;
    // Large enough that a write is more than one segment, with line breaks that must not end a line.
    sql.run("select publish_event('c', 't', jsonb_build_object('n', n, 'lines', repeat(E'a\\r\\nb\\n', 20000))) from generate_series(1, 3) n").await;
    sql.run("select publish_event('c', 't', '\"last\"')").await;
    let received = stream.until("\"last\"").await;
    let mut nexts = 0;
    for chunk in chunks(&received) {
        assert!(
            chunk.ends_with("\n\n"),
            "a write ends with an event: {:?}",
            &chunk[chunk.len().saturating_sub(80)..]
        );
        assert!(!chunk.contains('\r'), "line feeds only");
        for event in chunk.split_terminator("\n\n") {
            if !event.contains("event: next\n") {
                continue;
            }
            nexts += 1;
            let lines: Vec<_> = event.lines().collect();
            let [id, "event: next", data] = lines[..] else { panic!("three lines: {} of them", lines.len()) };
            let cursor = id.strip_prefix("id: ").expect("an id");
            let result: serde_json::Value =
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(result["extensions"]["cursor"], cursor);
            let keys: Vec<_> = result.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["data", "extensions"], "no wrapper, and never an id at the top");
        }
    }
    assert_eq!(nexts, 4);
}

#[tokio::test]
async fn s05_s20_complete_has_no_id() {
    let database = Database::new().await;
    let sql = database.connect().await;
    sql.run("create table notes (id int primary key); select attach_trigger('notes', 'Note')").await;
    let daemon = Daemon::start(&database.conninfo()).await;
    let authorization = format!("authorization: Bearer {}", alice());
    let get = "GET /graphql/stream?query=subscription%7BnoteInserted%7Bid%7D%7D";
    let mut stream = Raw::request(&daemon, get, &["accept: text/event-stream", &authorization], "").await;
    stream.until("id: ").await;
    sql.run("insert into notes values (1)").await;
    stream.until("\"noteInserted\":{\"id\":1}").await;
    sql.run("select detach_trigger('notes')").await;
    let response = stream.response().await;
    let (before, _) = response.body.split_once("event: complete\ndata:\n\n").expect("a complete");
    assert!(before.ends_with("\n\n"), "nothing stands before the name in its block: {before:?}");
    assert!(response.body.ends_with("event: complete\ndata:\n\n") && before.contains("SCHEMA_CHANGED"));
}
