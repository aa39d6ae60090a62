//! Maintenance that stopped, and transactions that stay open: nothing goes that somebody could still be told of, and
//! everything goes in the end.

use std::time::{Duration, Instant};

use super::{INSERTED, database_with_orders, forgetful, until};
use crate::support::daemon::{Daemon, token};
use crate::support::database::{Database, Session};
use crate::support::sse::Sse;
use crate::support::within;

const RETENTION: &str = "
    do $$ begin execute format('alter database %I set tidings.retention = %L', current_database(), '1s'); end $$";

/// A database whose slots are over after a second, and a daemon that may not call `tidings.maintain()`.
async fn unmaintained() -> (Database, Session, Daemon) {
    let database = database_with_orders().await;
    let role = database.role().await;
    let session = database.connect().await;
    session.run(RETENTION).await;
    session.run(&format!("select tidings.grant_daemon('{role}')")).await;
    session.run(&format!("revoke execute on function tidings.maintain() from {role}")).await;
    let conninfo = database.conninfo().replace("user='postgres'", &format!("user='{role}'"));
    assert!(conninfo.contains(&role), "{conninfo}");
    let daemon = forgetful(&conninfo).start().await;
    // Its own sessions know the retention that was set for the database.
    let session = database.connect().await;
    session.run("load 'tidings'").await;
    (database, session, daemon)
}

async fn open(daemon: &Daemon, cursor: Option<&str>) -> Sse {
    let token = token("ann", "acme");
    match cursor {
        None => Sse::open(daemon, &token, INSERTED).await,
        Some(cursor) => Sse::resume(daemon, &token, INSERTED, cursor).await,
    }
}

/// The next order on a stream, and the cursor after it.
async fn next(stream: &mut Sse) -> (i64, String) {
    let result = stream.next().await;
    let id = result["data"]["orderInserted"]["id"].as_i64().unwrap_or_else(|| panic!("{result}"));
    (id, result["extensions"]["cursor"].as_str().unwrap().to_owned())
}

/// The code of the error that a stream begins with.
async fn refused(daemon: &Daemon, cursor: &str) -> String {
    let error = open(daemon, Some(cursor)).await.next().await;
    error["errors"][0]["extensions"]["code"].as_str().unwrap_or_else(|| panic!("{error}")).to_owned()
}

/// Has maintenance called until a query says yes; the time that took.
async fn maintain_until(session: &Session, query: &str) -> Duration {
    let began = Instant::now();
    within(query, async {
        while session.line(query).await != "t" {
            session.run("select tidings.maintain()").await;
        }
    })
    .await;
    began.elapsed()
}

/// Lets slots turn over: it is the time that is tested.
async fn wait_for_slots(slots: u32) {
    tokio::time::sleep(Duration::from_secs(1) * slots).await;
}

#[tokio::test]
async fn after_a_week_without_maintenance_everything_is_there_and_then_it_is_cleaned_up() {
    let (database, session, daemon) = unmaintained().await;
    session.run("select tidings.maintain()").await;
    let mut stream = open(&daemon, None).await;
    let mut cursors = Vec::new();
    for id in 1..=30 {
        session.run(&format!("insert into orders values ({id})")).await;
        cursors.push(next(&mut stream).await.1);
        // Over several rounds of the ring: it is the time that is tested.
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let rounds = "
        select min(rounds) >= 2 from (
            select count(distinct floor(extract(epoch from created_at))) rounds from tidings.events group by slot) s";
    assert_eq!(session.line(rounds).await, "t", "all three slots hold several rounds");
    assert_eq!(session.line("select count(*) from tidings.events").await, "30");
    let mut late = open(&daemon, Some(&cursors[0])).await;
    for id in 2..=30 {
        assert_eq!(next(&mut late).await.0, id, "nothing was removed, however old");
    }

    // Writers go on while maintenance begins again, and whoever is connected misses nothing.
    let writer = async {
        for id in 31..=60 {
            session.run(&format!("insert into orders values ({id})")).await;
            let (found, cursor) = next(&mut stream).await;
            assert_eq!(found, id);
            cursors.push(cursor);
            // As long as it takes until the old slots are due.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let maintenance = async {
        let session = database.connect().await;
        session.run("load 'tidings'").await;
        maintain_until(&session, "select not exists (select from tidings.events where id <= 30)").await
    };
    let ((), took) = tokio::join!(writer, maintenance);
    println!(
        "the events of the week were gone {took:.1?} after maintenance had begun again, at a retention of 1 s"
    );
    for cursor in [&cursors[0], &cursors[15]] {
        assert_eq!(refused(&daemon, cursor).await, "CURSOR_EXPIRED");
    }
    let mut last = open(&daemon, Some(&cursors[59])).await;
    session.run("insert into orders values (61)").await;
    assert_eq!(next(&mut last).await.0, 61);
}

#[tokio::test]
async fn a_writer_that_stays_open_past_the_retention_keeps_its_slot_until_its_events_are_old() {
    stays_open("commit").await;
}

#[tokio::test]
async fn a_prepared_transaction_keeps_its_slot_until_its_events_are_old() {
    stays_open("prepare transaction 'NAME'").await;
}

async fn stays_open(end: &str) {
    let (database, session, daemon) = unmaintained().await;
    let name = session.line("select 'late in ' || current_database()").await;
    let mut stream = open(&daemon, None).await;
    session.run("insert into orders values (1)").await;
    let (_, before) = next(&mut stream).await;
    session.run("insert into orders values (2)").await;
    assert_eq!(next(&mut stream).await.0, 2);
    wait_for_slots(1).await;
    // Two writers, neither of whom is in the slot of what shall be removed meanwhile. To read events would lock all slots.
    let slot = session.line("select slot from tidings.events where id = 2").await;
    let apart = format!(
        "select not exists (select from pg_locks where pid = pg_backend_pid() and mode = 'RowExclusiveLock'
            and relation = 'tidings.events_{slot}'::regclass)"
    );
    let (first, second) = (database.connect().await, database.connect().await);
    for (writer, id) in [(&first, 10), (&second, 20)] {
        writer.run("set tidings.notify = off").await;
        loop {
            writer.run(&format!("begin; insert into orders values ({id})")).await;
            if writer.line(&apart).await == "t" {
                break;
            }
            writer.run("rollback").await;
            wait_for_slots(1).await;
        }
        wait_for_slots(1).await;
    }
    let is_prepared = end != "commit";
    if is_prepared {
        first.run(&end.replace("NAME", &name)).await;
    }
    let held = session
        .line("select unsettled_xid || ' ' || coalesce(unsettled_gid, '-') from tidings.stats()")
        .await;
    assert_eq!(held.ends_with(&name), is_prepared, "{held}");

    // Four slots, in which everybody else's events go.
    for id in 3..=6 {
        session.run(&format!("insert into orders values ({id})")).await;
        assert_eq!(next(&mut stream).await.0, id);
        wait_for_slots(1).await;
        session.run("select tidings.maintain()").await;
    }
    let (_, middle) = {
        session.run("insert into orders values (7)").await;
        next(&mut stream).await
    };
    wait_for_slots(2).await;
    maintain_until(&session, "select not exists (select from tidings.events where id = 2)").await;
    assert_eq!(refused(&daemon, &before).await, "CURSOR_EXPIRED", "it lacks events that have gone");

    if is_prepared {
        session.run(&format!("commit prepared '{name}'")).await;
    } else {
        first.run("commit").await;
    }
    second.run("commit").await;
    let arrived = [next(&mut stream).await.0, next(&mut stream).await.0];
    assert_eq!(arrived, [10, 20], "to whoever was connected");
    let mut late = open(&daemon, Some(&middle)).await;
    let arrived = [next(&mut late).await.0, next(&mut late).await.0];
    assert_eq!(arrived, [10, 20], "and by a cursor that is older than the retention, and lacks nothing else");
    let took = maintain_until(&session, "select not exists (select from tidings.events)").await;
    println!("{held}: its events were gone {took:.1?} after it had ended");
    assert_eq!(refused(&daemon, &middle).await, "CURSOR_EXPIRED", "now its cursor lacks them");
    until(&session, "select unsettled_xid is null from tidings.stats()").await;
}
