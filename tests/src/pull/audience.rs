//! Who may read what.

use tokio_postgres::error::SqlState;

use super::{beginning, page_of, publish, rest};

/// An event for each audience, for ann of acme, for others, and for a tenant that is missing.
const EVENTS: &str = r#"
    select publish_event('c', 'e', '"open"');
    select publish_event('c', 'e', '"acme"', tenant_id => 'acme');
    select publish_event('c', 'e', '"globex"', tenant_id => 'globex');
    select publish_event('c', 'e', '"ann"', user_id => 'ann');
    select publish_event('c', 'e', '"ann of acme"', tenant_id => 'acme', user_id => 'ann');
    select publish_event('c', 'e', '"bob of acme"', tenant_id => 'acme', user_id => 'bob');
    select publish_event('c', 'e', '"ann of globex"', tenant_id => 'globex', user_id => 'ann');
    create table t (id text, tenant text); select attach_trigger('t', channel => 'c', tenant_column => 'tenant');
    insert into t values ('of nobody', null), ('of acme', 'acme');
    create table secret (id text); alter table secret enable row level security;
    create policy none on secret using (false);
    select attach_trigger('secret', channel => 'c', row_security => true); insert into secret values ('secret');
    create table gone (id text); select attach_trigger('gone', channel => 'c'); insert into gone values ('gone');
    select detach_trigger('gone');
"#;

/// What somebody may see, and where that leaves off.
async fn seen(session: &tokio_postgres::Client, start: &str, of: &str) -> (Vec<String>, String) {
    let page = page_of(session, &format!("tidings.read_events('{start}', 'c', 100{of})"), &[]).await;
    let name = |payload: String| payload.replace("{\"id\":", "").replace(",\"tenant\":\"acme\"}", "");
    let names = page.events.into_iter().map(|event| name(event.payload).replace(['"', '}'], ""));
    (names.collect(), page.end)
}

#[tokio::test]
async fn the_audience_of_an_event_decides_and_what_is_missing_admits_nobody() {
    let (_database, session, start) = beginning().await;
    session.run(EVENTS).await;
    for (of, expected) in [
        (", 'acme', 'ann'", "open acme ann|ann of acme|of acme"),
        (", 'acme'", "open acme|of acme"),
        (", tenant_id => 'acme', user_id => null", "open acme|of acme"),
        (", tenant_id => null, user_id => 'ann'", "open ann"),
        // By accident, perhaps: less, and never everything.
        (", null", "open"),
        (", null, null", "open"),
        (", '', ''", "open"),
        (", 'acme ', 'ANN'", "open"),
    ] {
        let (seen, end) = seen(&session, &start, of).await;
        assert_eq!(
            seen.join("|"),
            expected.replace("open ", "open|").replace("acme ann", "acme|ann"),
            "{of}"
        );
        assert!(rest(&session, &end, 100).await.is_empty(), "the cursor has passed what was left out");
    }
    let (all, _) = seen(&session, &start, "").await;
    assert_eq!(all.len(), 11, "{all:?}");
}

#[tokio::test]
async fn other_channels_are_passed_over() {
    let (_database, session, start) = beginning().await;
    publish(&session, "1").await;
    session.run("select publish_event('other', 'e', '2')").await;
    publish(&session, "3").await;
    let read = page_of(&session, "tidings.read_events($1, 'other', 10)", &[&start]).await;
    assert_eq!(read.events.len(), 1);
    assert!(rest(&session, &read.end, 10).await.is_empty());
    let nothing = page_of(&session, "tidings.read_events($1, 'unknown', 10)", &[&start]).await;
    assert!(nothing.events.is_empty() && !nothing.more);
    publish(&session, "4").await;
    assert_eq!(rest(&session, &nothing.end, 10).await, ["4"], "only what is new");
}

#[tokio::test]
async fn a_reader_reads_events_by_these_functions_and_nothing_else() {
    let (database, session, start) = beginning().await;
    publish(&session, "1").await;
    let (role, nobody) = (database.role().await, database.role().await);
    session.run(&format!("select tidings.grant_reader('{role}')")).await;
    let reader = database.connect_as(&role).await;
    assert_eq!(rest(&reader, &start, 10).await, ["1"]);
    reader
        .run("select tidings.current_cursor(); select * from tidings.read_events(null, null, 1, 'acme')")
        .await;
    for attempt in [
        "select * from tidings.events",
        "select * from tidings.history",
        "select * from tidings.retention_floor",
        "select last_value from tidings.events_id_seq",
        "select publish_event('c', 'e', '{}')",
        "select tidings.read_after(null, null, 1, false, null, null)",
    ] {
        let refusal = reader.refused(attempt).await;
        assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE, "{attempt}: {refusal:?}");
    }
    let may = format!(
        "select p.oid::regprocedure::text from pg_proc p
         where p.pronamespace = 'tidings'::regnamespace and has_function_privilege('{role}', p.oid, 'execute')
         union all
         select c.oid::regclass::text from pg_class c
         where c.relnamespace = 'tidings'::regnamespace and c.relkind in ('r', 'p', 'v', 'S')
             and case c.relkind when 'S' then has_sequence_privilege('{role}', c.oid, 'usage, select, update')
                 else has_any_column_privilege('{role}', c.oid, 'select, insert, update') end
         order by 1"
    );
    let allowed = [
        "tidings.current_cursor()",
        "tidings.read_events(text,text,integer)",
        "tidings.read_events(text,text,integer,text,text)",
    ];
    assert_eq!(session.lines(&may).await, allowed);
    let nobody = database.connect_as(&nobody).await;
    let refusal = nobody.refused("select * from tidings.read_events(null, null, 1)").await;
    assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE);
}

#[tokio::test]
async fn what_a_reader_plants_is_not_run() {
    let (database, session, start) = beginning().await;
    publish(&session, "1").await;
    let role = database.role().await;
    let name = session.line("select current_database()").await;
    session
        .run(&format!("select tidings.grant_reader('{role}'); grant create on database {name} to {role}"))
        .await;
    let reader = database.connect_as(&role).await;
    reader
        .run(
            "create schema planted;
             create function planted.raise(xid8, xid8) returns boolean language plpgsql as $$ begin raise 'planted'; end $$;
             create operator planted.<> (function = planted.raise, leftarg = xid8, rightarg = xid8);
             create operator planted.>= (function = planted.raise, leftarg = xid8, rightarg = xid8);
             create function planted.unnest(anyarray) returns setof anyelement language plpgsql as $$ begin raise 'planted'; end $$;
             create function planted.pg_current_snapshot() returns pg_snapshot language plpgsql as $$ begin raise 'planted'; end $$;
             set search_path = planted, pg_catalog",
        )
        .await;
    assert_eq!(rest(&reader, &start, 1).await, ["1"]);
}
