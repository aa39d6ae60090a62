//! What cannot be read is told, with the cursors after which one can go on.

use std::sync::Arc;

use serde_json::Value;
use tidings_daemon::source::cursor::{Cursor, Within};
use tidings_daemon::source::snapshot::Snapshot;
use tokio_postgres::error::SqlState;

use super::{beginning, page, publish, rest};
use crate::streaming::exactly_once::connect;
use crate::support::cluster::Cluster;
use crate::support::database::{Refusal, Session};
use crate::support::within;

const REMOVE_ALL: &str =
    "select tidings.remove_slot(slot, pg_current_snapshot()) from generate_series(0, 2) slot";

async fn refused(session: &Session, cursor: &str) -> Refusal {
    session.refused(&format!("select * from tidings.read_events('{cursor}', null, 10)")).await
}

/// The oldest and the newest cursor of an ERROR about a cursor.
fn bounds(refusal: &Refusal, state: &str, code: &str) -> [String; 2] {
    assert_eq!(refusal.code.code(), state, "{refusal:?}");
    refusal.assert_names(code);
    let detail: Value = serde_json::from_str(refusal.detail.as_deref().unwrap()).unwrap();
    ["oldestCursor", "newestCursor"].map(|name| detail[name].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_text_that_is_no_cursor_is_refused_wherever_it_was_cut_or_altered() {
    let (_database, session, _start) = beginning().await;
    publish(&session, "1").await;
    let whole = session.line("select tidings.current_cursor()").await;
    // More parts than can be gone on from: none is the later one of another.
    let part = |number: u64| Within {
        snapshot: Arc::new(Snapshot::new(
            1_000_000,
            (1_000..1_015).filter(|xid| *xid != 1_000 + number).collect(),
        )),
        upto: number as i64 % 2,
    };
    let crowded = Cursor {
        within: Some(part(0)),
        left: (1..15).map(part).collect(),
        ..Cursor::decode(&whole).unwrap()
    };
    bounds(&refused(&session, &crowded.encode()).await, "TD001", "CURSOR_INVALID");
    for text in ["", "*", " ", "AAAA", "1", &format!("{whole}A"), &format!("{whole}="), &"A".repeat(70_000)] {
        bounds(&refused(&session, text).await, "TD001", "CURSOR_INVALID");
    }
    for end in 0..whole.len() {
        let refusal = refused(&session, &whole[..end]).await;
        assert!(refusal.code.code().starts_with("TD00"), "{refusal:?}");
    }
    // Whatever bit is turned: an ERROR that says so, or a set of the same history, and never anything else.
    for index in 0..whole.len() {
        for letter in ['A', 'Q', '_', '9'] {
            let mut altered = whole.clone();
            altered.replace_range(index..=index, &letter.to_string());
            let query = format!("select count(*) from tidings.read_events('{altered}', null, 10)");
            if let Err(error) = session.simple_query(&query).await {
                let code = error.as_db_error().unwrap().code().code().to_owned();
                assert!(code.starts_with("TD00"), "{altered}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn cursors_of_elsewhere_or_of_the_future_are_another_history() {
    let (_database, session, start) = beginning().await;
    let (_other, _session, elsewhere) = beginning().await;
    publish(&session, "1").await;
    let cursor = Cursor::decode(&start).unwrap();
    let beyond = Within { snapshot: cursor.seen.clone(), upto: 1_000 };
    let future = [
        Cursor { top: 1_000, ..cursor.clone() },
        Cursor { within: Some(beyond), ..cursor.clone() },
        Cursor { history: cursor.history ^ 1, ..cursor.clone() },
    ];
    let future = future.iter().map(|cursor| cursor.encode().to_string());
    for cursor in future.chain([elsewhere]) {
        let [oldest, newest] = bounds(&refused(&session, &cursor).await, "TD003", "CURSOR_HISTORY_CHANGED");
        assert_eq!(rest(&session, &oldest, 10).await, ["1"]);
        assert!(rest(&session, &newest, 10).await.is_empty());
    }
}

#[tokio::test]
async fn what_retention_removed_is_told_and_one_can_go_on_from_the_oldest() {
    let (_database, session, start) = beginning().await;
    publish(&session, "1").await;
    let all = page(&session, Some(&start), 10).await.end;
    session.run(REMOVE_ALL).await;
    publish(&session, "2").await;
    let [oldest, newest] = bounds(&refused(&session, &start).await, "TD002", "CURSOR_EXPIRED");
    assert_eq!(rest(&session, &oldest, 10).await, ["2"]);
    assert_eq!(rest(&session, &all, 10).await, ["2"], "who had it all lacks nothing");
    publish(&session, "3").await;
    assert_eq!(rest(&session, &newest, 10).await, ["3"]);
    let kept = session.lines("select payload from tidings.read_events(null, null, 10)").await;
    assert_eq!(kept, ["2", "3"], "without a cursor: everything that is kept");
}

#[tokio::test]
async fn a_removal_behind_the_back_of_an_older_snapshot_is_told() {
    let (database, session, start) = beginning().await;
    let remover = database.connect().await;
    publish(&session, "1").await;
    // Between two statements of a transaction that keeps its snapshot.
    session.run("begin isolation level repeatable read; select 1").await;
    remover.run(REMOVE_ALL).await;
    bounds(&refused(&session, &start).await, "TD002", "CURSOR_EXPIRED");
    session.run("rollback").await;
    // And within a statement: it has its snapshot, and waits for the table.
    let start = session.line("select tidings.current_cursor()").await;
    publish(&session, "2").await;
    remover.run(&format!("begin; {REMOVE_ALL}")).await;
    let pid = session.line("select pg_backend_pid()").await;
    let watcher = database.connect().await;
    let waits = async {
        let waiting = format!("select count(*) from pg_locks where not granted and pid = {pid}");
        while watcher.line(&waiting).await == "0" {}
        remover.run("commit").await;
    };
    let (refusal, ()) = tokio::join!(refused(&session, &start), within("the wait for the lock", waits));
    bounds(&refusal, "TD002", "CURSOR_EXPIRED");
}

#[tokio::test]
async fn events_that_are_being_read_are_not_removed() {
    let (database, session, start) = beginning().await;
    publish(&session, "1").await;
    let remover = database.connect().await;
    session.run("begin").await;
    page(&session, Some(&start), 10).await;
    let why = remover.lines(REMOVE_ALL).await;
    assert_eq!(why, ["locked", "locked", "locked"]);
    session.run("commit").await;
    assert_eq!(remover.lines(REMOVE_ALL).await, ["null", "null", "null"]);
}

#[tokio::test]
async fn a_standby_is_not_read() {
    let primary = Cluster::start_primary();
    let client = connect(&primary.url("postgres")).await.unwrap();
    client.batch_execute("create extension tidings").await.unwrap();
    let standby = primary.standby_by(primary.port);
    let client = connect(&standby.url("postgres")).await.unwrap();
    for call in ["* from tidings.read_events(null, null, 1)", "tidings.current_cursor()"] {
        let error = client.batch_execute(&format!("select {call}")).await.unwrap_err();
        let refusal = Refusal::from(error.as_db_error().unwrap());
        assert_eq!(refusal.code, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{refusal:?}");
        refusal.assert_names("standby");
    }
}

#[tokio::test]
async fn arguments_out_of_bounds_are_named() {
    let (_database, session, _start) = beginning().await;
    for (call, name) in [
        ("null, null, 0", "max_rows"),
        ("null, null, -1", "max_rows"),
        ("null, null, 10001", "max_rows"),
        ("null, null, null", "max_rows"),
        ("null, '', 1", "channel"),
        ("null, repeat('x', 64), 1", "channel"),
    ] {
        let refusal = session.refused(&format!("select * from tidings.read_events({call})")).await;
        assert_eq!(refusal.code, SqlState::INVALID_PARAMETER_VALUE, "{call}");
        refusal.assert_names(name);
    }
}
