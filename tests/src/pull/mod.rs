//! `tidings.read_events`: consumers that poll, with the cursors of the streams.

mod audience;

mod backlog;

mod crash;

mod mixed;

mod pollers;

mod refusals;

mod transactions;

use tokio_postgres::Client;

use crate::support::database::{Database, Session};

/// What a call returned.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) events: Vec<Event>,
    /// The cursor of the last row.
    pub(crate) end: String,
    pub(crate) more: bool,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) payload: String,
    pub(crate) cursor: String,
}

/// The next events of all channels.
pub(crate) async fn page(client: &Client, cursor: Option<&str>, max_rows: i32) -> Page {
    page_of(client, "tidings.read_events($1, null, $2)", &[&cursor, &max_rows]).await
}

/// What a call returns.
pub(crate) async fn page_of(
    client: &Client,
    call: &str,
    arguments: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Page {
    let query = format!("select id, payload::text, cursor, more from {call}");
    let rows = client.query(&query, arguments).await.unwrap_or_else(|error| panic!("{call}: {error:?}"));
    let (last, before) = rows.split_last().expect("at least the row that says where to go on");
    assert!(before.iter().all(|row| row.get(3)), "there is more behind every row but the last");
    let event = |row: &tokio_postgres::Row| {
        Some(Event { id: row.get::<_, Option<i64>>(0)?, payload: row.get(1), cursor: row.get(2) })
    };
    let events: Vec<Event> = rows.iter().filter_map(event).collect();
    assert!(events.len() == rows.len() || rows.len() == 1);
    Page { events, end: last.get(2), more: last.get(3) }
}

/// The payloads of everything that is there, in pages.
pub(crate) async fn rest(client: &Client, cursor: &str, max_rows: i32) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), cursor.to_owned());
    loop {
        let page = page(client, Some(&cursor), max_rows).await;
        found.extend(page.events.into_iter().map(|event| event.payload));
        cursor = page.end;
        if !page.more {
            return found;
        }
    }
}

/// A database with the extension, a session, and the cursor of its beginning.
async fn beginning() -> (Database, Session, String) {
    let database = Database::new().await;
    let session = database.connect().await;
    let cursor = session.line("select tidings.current_cursor()").await;
    (database, session, cursor)
}

/// Publishes an event.
async fn publish(session: &Session, payload: &str) {
    session.run(&format!("select publish_event('c', 'e', '{payload}')")).await;
}
