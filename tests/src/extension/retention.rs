//! `tidings.maintain()`: removes what is old enough and settled, and says so in the floor.

use crate::support::database::{Database, Session};

const MAINTAIN: &str = "select tidings.maintain()";

/// A session whose retention is a second, so that a slot is over after one.
async fn impatient() -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("load 'tidings'; set tidings.retention = '1s'").await;
    (database, session)
}

/// Moves the log into the past instead of waiting for it.
const A_DAY_LATER: &str = "update tidings.snapshot_log set taken_at = taken_at - interval '1 day'";

#[tokio::test]
async fn settled_slots_older_than_the_retention_are_emptied_and_the_floor_moves() {
    let (_database, session) = impatient().await;
    session.run("select publish_event('c', 'e', '{}')").await;
    assert_eq!(session.line("select snapshot from tidings.retention_floor").await, "null");
    session.run(MAINTAIN).await;
    assert_eq!(session.events().await.len(), 1);
    let newest = session.line("select xid from tidings.events").await;
    // A transaction without events, which the logged snapshot sees, too.
    session.run("select pg_current_xact_id()").await;
    session.run(A_DAY_LATER).await;
    let done = session.line("select tidings.maintain() -> 'removed_slots'").await;
    assert_ne!(done, "[]");
    assert!(session.events().await.is_empty());
    let floor =
        "select (pg_snapshot_xmax(snapshot)::text::bigint - 1) || ' ' || top from tidings.retention_floor";
    assert_eq!(session.line(floor).await, format!("{newest} 1"), "no later than what was removed");
}

#[tokio::test]
async fn the_floor_sees_what_any_of_the_removed_slots_held_and_no_more() {
    let (_database, session) = impatient().await;
    for (one, other, both) in [
        ("10:10:", "12:12:", "12:12:"),
        ("10:20:10,15", "12:18:12,15", "15:20:15"),
        ("10:20:10,15,19", "8:18:8,10,16", "10:20:10,19"),
        ("10:20:10,15", "10:20:10", "10:20:10"),
    ] {
        for (one, other) in [(one, other), (other, one)] {
            assert_eq!(
                session.line(&format!("select tidings.snapshot_union('{one}', '{other}')")).await,
                both
            );
        }
    }
    for (newest, part) in [("19", "10:20:10,15"), ("14", "10:15:10"), ("9", "10:10:")] {
        assert_eq!(
            session.line(&format!("select tidings.snapshot_up_to('10:20:10,15', '{newest}')")).await,
            part
        );
    }
}

#[tokio::test]
async fn younger_events_keep_their_slot() {
    let (_database, session) = impatient().await;
    session.run("set tidings.retention = '1d'").await;
    session.run("select publish_event('c', 'old', '{}')").await;
    session.run(MAINTAIN).await;
    // Stored after the snapshot that is about to be old enough, in the same slot.
    session.run("select publish_event('c', 'new', '{}')").await;
    session.run("update tidings.snapshot_log set taken_at = taken_at - interval '2 days'").await;
    let done = session.line(MAINTAIN).await;
    assert!(done.contains("in use"), "{done}");
    assert_eq!(session.events().await.len(), 2);
    assert_eq!(session.line("select snapshot from tidings.retention_floor").await, "null");
}

#[tokio::test]
async fn a_transaction_that_stays_open_keeps_its_slot() {
    let (database, session) = impatient().await;
    let slow = database.connect().await;
    slow.run("begin; select publish_event('c', 'slow', '{}')").await;
    session.run(MAINTAIN).await;
    session.run(A_DAY_LATER).await;
    // Its lock on the slot is in the way as well.
    session.run("select publish_event('c', 'other', '{}')").await;
    session.run(MAINTAIN).await;
    slow.run("commit").await;
    let done = session.line(MAINTAIN).await;
    assert!(done.contains("in use"), "{done}");
    assert!(session.events().await.contains(&"slow {}".to_owned()));
}

#[tokio::test]
async fn a_locked_slot_is_left_for_later() {
    let (database, session) = impatient().await;
    session.run("select publish_event('c', 'e', '{}')").await;
    session.run(MAINTAIN).await;
    session.run(A_DAY_LATER).await;
    let reader = database.connect().await;
    reader.run("begin; select * from tidings.events").await;
    let done = session.line(MAINTAIN).await;
    assert!(done.contains("locked"), "{done}");
    reader.run("commit").await;
    assert_ne!(session.line("select tidings.maintain() -> 'removed_slots'").await, "[]");
}

#[tokio::test]
async fn only_one_at_a_time() {
    let (database, session) = impatient().await;
    let other = database.connect().await;
    other.run(&format!("begin; {MAINTAIN}")).await;
    assert_eq!(session.line("select tidings.maintain() -> 'busy'").await, "true");
    other.run("commit").await;
    assert_eq!(session.line("select tidings.maintain() -> 'busy'").await, "false");
}

#[tokio::test]
async fn an_old_snapshot_is_refused() {
    let (_database, session) = impatient().await;
    let refusal = session.refused(&format!("begin isolation level repeatable read; {MAINTAIN}")).await;
    refusal.assert_names("read committed");
}

#[tokio::test]
async fn above_the_size_cap_it_warns_and_keeps_by_default() {
    let (_database, mut session) = impatient().await;
    session.run("set tidings.max_size = '1MB'; set tidings.retention = '1d'").await;
    session
        .run("select publish_event('c', 'e', to_jsonb(md5(n::text))) from generate_series(1, 20000) n")
        .await;
    session.notices().await;
    assert!(session.line(MAINTAIN).await.contains("warned"));
    let notices = session.notices().await;
    assert!(notices[0].contains("tidings.max_size"), "{notices:?}");
    assert_eq!(session.line("select count(*) from tidings.events").await, "20000");

    let newest = session.line("select max(xid::text::bigint) from tidings.events").await;
    session.run("set tidings.size_cap_action = 'remove_oldest'").await;
    assert!(session.line(MAINTAIN).await.contains("removed slot"));
    assert_eq!(session.line("select count(*) from tidings.events").await, "0");
    let floor = format!("select pg_visible_in_snapshot('{newest}', snapshot) from tidings.retention_floor");
    assert_eq!(session.line(&floor).await, "t");
}

#[tokio::test]
async fn expired_reservations_are_removed_with_their_documents() {
    let (_database, session) = impatient().await;
    session
        .run(
            "insert into tidings.connections (token_hash, principal, expires_at)
                values ('\\x00', 'ada', now() - interval '1s'), ('\\x01', 'ada', now() + interval '1h');
             insert into tidings.documents (token_hash, operation_id, number, query, bytes)
                values ('\\x00', '1', 1, 'q', 1), ('\\x01', '1', 1, 'q', 1)",
        )
        .await;
    assert_eq!(session.line("select tidings.maintain() -> 'expired_connections'").await, "1");
    assert_eq!(session.lines("select token_hash from tidings.documents").await, ["\\x01"]);
}

#[tokio::test]
async fn slots_follow_the_clock() {
    let (_database, session) = impatient().await;
    session.run("set tidings.retention = '1h'").await;
    session.run("select publish_event('c', 'e', '{}')").await;
    let expected =
        "select slot = floor(extract(epoch from created_at) / 3600)::bigint % 3 from tidings.events";
    assert_eq!(session.line(expected).await, "t");
}

#[tokio::test]
async fn stats_tell_what_is_there_and_what_holds_it_back() {
    let (database, session) = impatient().await;
    session.run("select publish_event('c', 'e', '{}') from generate_series(1, 3)").await;
    assert_eq!(
        session
            .line("select concat_ws('|', channel, event_type, events, payload_bytes) from tidings.stats")
            .await,
        "c|e|3|6"
    );
    let slow = database.connect().await;
    slow.run("begin; select publish_event('c', 'slow', '{}')").await;
    let pid = slow.line("select pg_backend_pid()").await;
    let told = session
        .line(
            "select concat_ws('|', unsettled_pid, unsettled_age >= interval '0', newest_event_id = 3, size_bytes > 0,
                notify_queue_usage >= 0, retention, attached_tables, reservations) from tidings.stats()",
        )
        .await;
    assert_eq!(told, format!("{pid}|t|t|t|t|00:00:01|0|0"));
}

#[tokio::test]
async fn a_writer_does_not_wait_for_maintenance() {
    // A reader holds the slot, so maintenance cannot have it; meanwhile writers go on.
    let (database, session) = impatient().await;
    session.run("select publish_event('c', 'e', '{}')").await;
    session.run(MAINTAIN).await;
    session.run(A_DAY_LATER).await;
    let reader = database.connect().await;
    reader.run("begin; select * from tidings.events").await;
    let writer = database.connect().await;
    let rounds = async {
        for _ in 0..20 {
            session.run(MAINTAIN).await;
        }
    };
    let writes = async {
        for _ in 0..200 {
            writer.run("set statement_timeout = '5s'; select publish_event('c', 'e', '{}')").await;
        }
    };
    futures_util::future::join(rounds, writes).await;
    reader.run("commit").await;
    assert!(session.events().await.len() >= 200);
}

#[tokio::test]
async fn what_clean_up_waits_for_holds_up_nobody_who_reads_or_writes_events() {
    let (database, session) = impatient().await;
    session
        .run(
            "select publish_event('c', 'e', '{}');
             insert into tidings.connections (token_hash, principal, expires_at)
                values ('\\x00', 'ada', now() - interval '1s')",
        )
        .await;
    session.run(MAINTAIN).await;
    session
        .run(
            "insert into tidings.connections (token_hash, principal, expires_at)
                values ('\\x01', 'ada', now() - interval '1s')",
        )
        .await;
    session.run(A_DAY_LATER).await;
    let (holder, writer) = (database.connect().await, database.connect().await);
    holder.run("begin; select from tidings.connections for update").await;
    let maintenance = session.line("select tidings.maintain() -> 'removed_slots'");
    let others = async {
        let waits = "select exists (select from pg_stat_activity where datname = current_database()
            and pid <> pg_backend_pid() and query like '%maintain%' and wait_event_type = 'Lock')";
        while writer.line(waits).await != "t" {
            tokio::task::yield_now().await;
        }
        writer.run("set statement_timeout = '5s'; select count(*) from tidings.events").await;
        writer.run("select publish_event('c', 'young', '{}')").await;
        holder.run("commit").await;
    };
    futures_util::future::join(maintenance, others).await;
    assert!(session.events().await.contains(&"young {}".to_owned()));
    assert_eq!(session.line("select count(*) from tidings.connections").await, "0");
}

#[tokio::test]
async fn it_asks_to_be_called_again_when_there_is_more_to_do() {
    let (database, session) = impatient().await;
    let pause = "select tidings.maintain() ->> 'call_again_s'";
    session.run("set tidings.retention = '48h'").await;
    assert_eq!(session.line(pause).await, "60");
    session.run("set tidings.retention = '10min'").await;
    assert!(session.line(pause).await.starts_with("6.0"), "a hundred times in a retention");
    session.run("set tidings.retention = '1s'; select publish_event('c', 'e', '{}')").await;
    session.run("delete from tidings.snapshot_log").await;
    session.run(MAINTAIN).await;
    session.run(A_DAY_LATER).await;
    session.run("set tidings.retention = '48h'").await;
    session.run(A_DAY_LATER).await;
    session.run(A_DAY_LATER).await;
    let reader = database.connect().await;
    reader.run("begin; select * from tidings.events").await;
    assert_eq!(session.line(pause).await, "1", "a lock is in the way");
    reader.run("commit").await;
    assert_eq!(session.line(pause).await, "0", "there may be another slot");
    assert_eq!(session.line(pause).await, "60");
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_no_event_older() {
    let (_database, session) = impatient().await;
    session.run("set tidings.retention = '1h'; select publish_event('c', 'e', '{}')").await;
    session.run(MAINTAIN).await;
    session.run("update tidings.snapshot_log set taken_at = taken_at + interval '7 days'").await;
    session.run(MAINTAIN).await;
    assert_eq!(session.line("select count(*) from tidings.snapshot_log where taken_at > now()").await, "0");
    session.run(MAINTAIN).await;
    assert_eq!(session.line("select count(*) from tidings.snapshot_log").await, "1", "it counts from now");
    assert_eq!(session.events().await.len(), 1);
    session.run(A_DAY_LATER).await;
    assert_ne!(session.line("select tidings.maintain() -> 'removed_slots'").await, "[]");
}
