//! A slot is emptied just when somebody is about to read it: to a statement whose snapshot is older, the slot would be
//! empty, although the snapshot counts its events as seen. Whoever may have missed something must be told.

use std::time::Duration;

use serde_json::{Value, json};

use super::{INSERTED, REMOVE_ALL, database_with_orders, forgetful, until};
use crate::support::daemon::{token, token_of};
use crate::support::database::Session;
use crate::support::sse::Sse;

/// More than one page of a backlog or a replay.
const MANY: i64 = 60_000;

/// Nobody can read or write events, as while a slot is emptied.
const LOCK: &str = "
    begin; set local statement_timeout = '45s';
    lock table tidings.events_0, tidings.events_1, tidings.events_2 in access exclusive mode";

/// Whether a connection of the daemon waits for the lock.
fn waits(name: &str) -> String {
    format!(
        "select exists (
            select from pg_stat_activity a join pg_locks l using (pid)
            where a.datname = current_database() and a.application_name like '{name}%' and not l.granted)"
    )
}

/// What a database may have as its default, under which a snapshot is older than the locks.
const OLD_SNAPSHOTS: &str = "
    do $$ begin
        execute format('alter database %I set default_transaction_isolation = ''repeatable read''', current_database());
    end $$";

fn ann() -> String {
    token("ann", "acme")
}

fn id(result: &Value) -> i64 {
    result["data"]["orderInserted"]["id"].as_i64().unwrap_or_else(|| panic!("{result}"))
}

fn cursor(result: &Value) -> String {
    result["extensions"]["cursor"].as_str().unwrap_or_else(|| panic!("{result}")).to_owned()
}

/// The error that a stream ends with is that of expired cursors; returns where it says that one may go on.
async fn ends_expired(stream: &mut Sse, last: Option<&str>) -> String {
    let error = stream.next().await["errors"][0].take();
    assert_eq!(error["extensions"]["code"], "CURSOR_EXPIRED", "{error}");
    if let Some(last) = last {
        assert_eq!(error["extensions"]["cursor"], last, "where it stood");
    }
    assert_eq!(stream.next_event().await.unwrap().event, "complete");
    error["extensions"]["newestCursor"].as_str().unwrap_or_default().to_owned()
}

/// Reads orders in their order until the stream ends as expired; returns how many came.
async fn some_then_expired(stream: &mut Sse, first: i64) -> i64 {
    let (mut expected, mut last) = (first, String::new());
    loop {
        let result = stream.next().await;
        if !result["errors"].is_null() {
            assert_eq!(result["errors"][0]["extensions"]["code"], "CURSOR_EXPIRED", "{result}");
            assert_eq!(result["errors"][0]["extensions"]["cursor"], last, "where it stood");
            return expected - first;
        }
        assert_eq!(id(&result), expected);
        last = cursor(&result);
        expected += 1;
    }
}

/// Empties the slots as soon as whoever reads them lets go of the lock.
async fn remove_all_between_pages(remover: &Session) {
    remover.run(&format!("{LOCK}; {REMOVE_ALL}; commit")).await;
}

#[tokio::test]
async fn a_poll_that_waited_while_its_events_were_removed_tells_of_the_gap() {
    let database = database_with_orders().await;
    let (session, remover) = (database.connect().await, database.connect().await);
    session.run(OLD_SNAPSHOTS).await;
    let daemon = forgetful(&database.conninfo()).start().await;
    let mut stream = Sse::open(&daemon, &ann(), INSERTED).await;
    session.run("insert into orders values (1)").await;
    let first = stream.next().await;
    daemon.signal("STOP").await;
    session.run("insert into orders values (2)").await;
    remover.run(LOCK).await;
    daemon.signal("CONT").await;
    until(&session, &waits("tidings poll")).await;
    remover.run(&format!("{REMOVE_ALL}; commit")).await;
    let newest = ends_expired(&mut stream, Some(&cursor(&first))).await;
    let mut stream = Sse::resume(&daemon, &ann(), INSERTED, &newest).await;
    session.run("insert into orders values (3)").await;
    assert_eq!(id(&stream.next().await), 3);
    // Nor does such a default keep the daemon from maintenance.
    daemon.wait_for_log("call_again_s").await;
}

#[tokio::test]
async fn a_replay_that_waited_while_its_events_were_removed_tells_of_the_gap() {
    let database = database_with_orders().await;
    let (session, remover) = (database.connect().await, database.connect().await);
    session.run(OLD_SNAPSHOTS).await;
    let daemon = forgetful(&database.conninfo()).start().await;
    let mut stream = Sse::open(&daemon, &ann(), INSERTED).await;
    session.run("insert into orders values (1)").await;
    let first = cursor(&stream.next().await);
    session.run("insert into orders values (2)").await;
    // The daemon itself has everything when the slots go.
    let second = cursor(&stream.next().await);
    remover.run(LOCK).await;
    let mut late = Sse::resume(&daemon, &ann(), INSERTED, &first).await;
    let mut current = Sse::resume(&daemon, &ann(), INSERTED, &second).await;
    until(&session, &waits("tidings replay")).await;
    remover.run(&format!("{REMOVE_ALL}; commit")).await;
    ends_expired(&mut late, Some(&first)).await;
    session.run("insert into orders values (3)").await;
    assert_eq!(id(&current.next().await), 3, "nothing that was removed was missing from its set");
    assert_eq!(id(&stream.next().await), 3);
}

#[tokio::test]
async fn events_removed_between_two_pages_of_a_replay_are_told() {
    let database = database_with_orders().await;
    let (session, remover) = (database.connect().await, database.connect().await);
    let daemon = forgetful(&database.conninfo()).start().await;
    let mut stream = Sse::open(&daemon, &ann(), INSERTED).await;
    session.run("insert into orders values (0)").await;
    let zero = cursor(&stream.next().await);
    drop(stream);
    session.run(&format!("insert into orders select generate_series(1, {MANY})")).await;
    let mut late = Sse::resume(&daemon, &ann(), INSERTED, &zero).await;
    assert_eq!(id(&late.next().await), 1);
    remove_all_between_pages(&remover).await;
    let read = some_then_expired(&mut late, 2).await;
    assert!(read < MANY - 1, "the removal came in the middle");
    println!("of {MANY} events {} were read before the rest was removed; that was told", read + 1);
}

#[tokio::test]
async fn events_removed_between_two_pages_of_a_backlog_are_told() {
    let database = database_with_orders().await;
    let (session, remover) = (database.connect().await, database.connect().await);
    let daemon = forgetful(&database.conninfo()).start().await;
    let mut stream = Sse::open(&daemon, &ann(), INSERTED).await;
    session.run(&format!("insert into orders select generate_series(1, {MANY})")).await;
    assert_eq!(id(&stream.next().await), 1);
    remove_all_between_pages(&remover).await;
    let read = some_then_expired(&mut stream, 2).await;
    assert!(read < MANY - 1, "the removal came in the middle");
    println!("of {MANY} events {} were fetched before the rest was removed; that was told", read + 1);
}

#[tokio::test]
async fn rows_read_while_events_were_removed_leave_a_cursor_that_goes_on() {
    let database = database_with_orders().await;
    let (session, remover, role) =
        (database.connect().await, database.connect().await, database.role().await);
    session.run(&format!("grant select on orders to {role}")).await;
    let daemon = forgetful(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &role).start().await;
    let token =
        token_of(json!({ "sub": "ann", "tenant_id": "acme", "role": role }), Duration::from_secs(600));
    let rows = "subscription { orderInserted @initial { id } }";
    let mut stream = Sse::open(&daemon, &token, INSERTED).await;
    session.run("insert into orders values (1)").await;
    assert_eq!(id(&stream.next().await), 1);
    remover.run(LOCK).await;
    let mut initial = Sse::open(&daemon, &token, rows).await;
    until(&session, &waits("tidings resolve")).await;
    remover.run(&format!("{REMOVE_ALL}; commit")).await;
    let first = initial.next().await;
    assert_eq!(id(&first), 1, "the row is there, whatever became of its event");
    let mut resumed = Sse::resume(&daemon, &token, INSERTED, &cursor(&first)).await;
    session.run("insert into orders values (2)").await;
    assert_eq!(id(&resumed.next().await), 2, "the rows contain all that was removed");
    assert_eq!(id(&initial.next().await), 2);
}

#[tokio::test]
async fn rows_of_a_table_without_events_leave_a_cursor_that_goes_on() {
    let database = database_with_orders().await;
    let (session, role) = (database.connect().await, database.role().await);
    session.run(&format!("grant select on orders to {role}; insert into orders values (1)")).await;
    session.run(REMOVE_ALL).await;
    let daemon = forgetful(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &role).start().await;
    let token =
        token_of(json!({ "sub": "ann", "tenant_id": "acme", "role": role }), Duration::from_secs(600));
    let mut initial = Sse::open(&daemon, &token, "subscription { orderInserted @initial { id } }").await;
    let first = initial.next().await;
    let mut resumed = Sse::resume(&daemon, &token, INSERTED, &cursor(&first)).await;
    session.run("insert into orders values (2)").await;
    assert_eq!(id(&resumed.next().await), 2, "retention has removed nothing that it lacks");
}
