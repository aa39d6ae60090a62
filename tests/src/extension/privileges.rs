//! Who may do what: nothing without a grant, and nobody else's rights for anybody's code.

use crate::support::database::{Database, Session};
use tokio_postgres::error::SqlState;

/// An application with an attached table that it may write to, and no right on schema tidings.
async fn application() -> (Database, Session, Session, String) {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = database.role().await;
    admin
        .run(&format!(
            "create table public.t (id int primary key, note text); grant select, insert, update, delete, truncate on t to {role};
             select attach_trigger('t')"
        ))
        .await;
    let session = database.connect_as(&role).await;
    (database, admin, session, role)
}

#[tokio::test]
async fn a_role_without_any_right_on_the_schema_writes_and_is_captured() {
    let (_database, admin, session, _role) = application().await;
    session.run("insert into t values (1, 'a'); update t set note = 'b'; delete from t; truncate t").await;
    assert_eq!(
        admin.events().await,
        [
            r#"INSERT {"id":1,"note":"a"}"#,
            r#"UPDATE {"id":1,"note":"b"}"#,
            r#"DELETE {"id":1,"note":"b"}"#,
            "TRUNCATE {}"
        ]
    );
}

#[tokio::test]
async fn the_same_role_can_neither_read_nor_forge_events() {
    let (_database, admin, session, role) = application().await;
    let attempts = [
        "select * from tidings.events",
        "select * from tidings.events_0",
        "select * from tidings.stats",
        "select * from tidings.connections",
        "select tidings.stats()",
        "select tidings.maintain()",
        "select tidings.history_id()",
        "select tidings.begin_history(0, 0)",
        "insert into tidings.events_0 select * from tidings.events_1",
        "select nextval('tidings.events_id_seq')",
        "select publish_event('c', 'e', '{}')",
        "select attach_trigger('t')",
        "select detach_trigger('t')",
        "select tidings.grant_publisher(current_user::regrole)",
        "select tidings.grant_definer(current_user::regrole)",
        "select define_subscriptions('scalar X')",
        "select drop_subscriptions()",
        "select * from tidings.definitions",
        "select * from tidings.defined_names",
        "create temp table mine (id int); create trigger forged after insert on mine for each row
            execute function tidings.capture('{\"type_name\":\"T\",\"channel\":\"c\"}')",
    ];
    // Neither without, nor with the use of the schema's names.
    for grant in ["select", &format!("grant usage on schema tidings to {role}")] {
        admin.run(grant).await;
        for attempt in attempts {
            let refusal = session.refused(attempt).await;
            assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE, "{attempt}: {refusal:?}");
        }
    }
    assert!(admin.events().await.is_empty());
}

#[tokio::test]
async fn a_publisher_publishes_and_attaches_its_own_tables_only() {
    let (database, admin, session, role) = application().await;
    admin
        .run(&format!("select tidings.grant_publisher('{role}'); grant create on schema public to {role}"))
        .await;
    session
        .run(
            "select publish_event('c', 'e', '{}');
             create table public.mine (id int primary key, total int) partition by range (id);
             create table public.mine1 partition of mine for values from (0) to (10);
             select attach_trigger('mine', condition => 'total > 1', always => true);
             insert into mine values (1, 1), (2, 2); truncate mine1;
             select attach_trigger('mine', operations => '{DELETE}'); delete from mine; select detach_trigger('mine')",
        )
        .await;
    assert_eq!(admin.events().await, ["e {}", r#"INSERT {"id":2,"total":2}"#, "TRUNCATE {}"]);
    for call in ["attach_trigger('t')", "detach_trigger('t')"] {
        let refusal = session.refused(&format!("select {call}")).await;
        assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE);
        refusal.assert_names("target");
    }
    session.refused("select * from tidings.events").await;
    assert_eq!(admin.line("select count(*) from tidings.attachments").await, "1");
    drop(database);
}

#[tokio::test]
async fn a_definer_defines_and_does_nothing_else() {
    let (database, admin, _session, _role) = application().await;
    let (role, publisher_role) = (database.role().await, database.role().await);
    admin
        .run(&format!(
            "select tidings.grant_definer('{role}'); select tidings.grant_publisher('{publisher_role}');
             create type public.mood as enum ('ok'); alter table t add column mood public.mood;
             create function public.f(jsonb, jsonb) returns jsonb language sql stable as 'select $1'"
        ))
        .await;
    let definer = database.connect_as(&role).await;
    definer
        .run(
            "select define_subscriptions('type A { t: T mood: Mood f: JSON @resolve(function: \"public.f\") }
                 extend type Subscription { a: A @event(channel: \"a\") }');
             select define_subscriptions('scalar B', 'other'); select drop_subscriptions('other')",
        )
        .await;
    let refusal = definer.refused("select define_subscriptions('type T { a: Int }', 'other')").await;
    assert_eq!(refusal.code, SqlState::INVALID_OBJECT_DEFINITION);
    for attempt in [
        "select * from tidings.events",
        "select condition from tidings.attachments",
        "update tidings.attachments set channel = 'x'",
        "select publish_event('c', 'e', '{}')",
        "select attach_trigger('t')",
        "select tidings.attach_for_caller(null, null)",
        "select tidings.maintain()",
    ] {
        assert_eq!(definer.refused(attempt).await.code, SqlState::INSUFFICIENT_PRIVILEGE, "{attempt}");
    }
    // A publisher decides about its own tables only. Its tables still meet the names of the definitions.
    let publisher = database.connect_as(&publisher_role).await;
    admin.run(&format!("grant create on schema public to {publisher_role}")).await;
    publisher.run("create table public.mine (id int primary key)").await;
    for (attempt, code) in [
        ("select define_subscriptions('scalar C')", SqlState::INSUFFICIENT_PRIVILEGE),
        ("select * from tidings.defined_names", SqlState::INSUFFICIENT_PRIVILEGE),
        ("select attach_trigger('mine', type_name => 'A')", SqlState::UNIQUE_VIOLATION),
        ("select attach_trigger('mine', channel => 'a')", SqlState::UNIQUE_VIOLATION),
    ] {
        assert_eq!(publisher.refused(attempt).await.code, code, "{attempt}");
    }
    publisher.run("select attach_trigger('mine')").await;
}

#[tokio::test]
async fn a_definer_function_does_not_lend_its_owners_rights_to_attach() {
    let (_database, admin, session, role) = application().await;
    admin
        .run(&format!(
            "select tidings.grant_publisher('{role}');
             create function public.lend() returns void language sql security definer as $$ select attach_trigger('t') $$"
        ))
        .await;
    session.refused("select lend()").await.assert_names("target");
}

#[tokio::test]
async fn the_daemon_reads_events_and_keeps_reservations() {
    let (database, admin, _session, _role) = application().await;
    let daemon_role = database.role().await;
    admin.run(&format!("select tidings.grant_daemon('{daemon_role}'); insert into t values (1, 'a')")).await;
    let daemon = database.connect_as(&daemon_role).await;
    daemon
        .run(
            "select * from tidings.events, tidings.attachments, tidings.definitions, tidings.retention_floor, tidings.stats;
             select tidings.history_id(), tidings.begin_history(0, 0), tidings.maintain(), tidings.stats(); listen tidings;
             insert into tidings.connections (token_hash, principal, expires_at) values ('\\x00', 'ada', now() + interval '1 h');
             insert into tidings.documents (token_hash, operation_id, number, query, bytes) values ('\\x00', '1', 1, 'subscription { a }', 1);
             update tidings.connections set node = 'n1', lease_until = now(); delete from tidings.connections;
             insert into tidings.nodes values ('n1', now());
             insert into tidings.node_connections values ('0123456789abcdef', 'n1', 'sse', null, null, '[]', now());
             select * from tidings.active_connections, tidings.revocations;
             update tidings.nodes set seen_at = now(); delete from tidings.node_connections; delete from tidings.nodes",
        )
        .await;
    for attempt in [
        "delete from tidings.events",
        "truncate tidings.events_0",
        "select publish_event('c', 'e', '{}')",
        "update tidings.attachments set channel = 'x'",
        "update tidings.retention_floor set snapshot = null",
        "insert into tidings.revocations (user_id, expires_at) values ('a', now())",
        "delete from tidings.revocations",
    ] {
        assert_eq!(daemon.refused(attempt).await.code, SqlState::INSUFFICIENT_PRIVILEGE, "{attempt}");
    }
}

/// A role that plants objects, first in its search_path, which raise its flag and say as whom they ran.
const PLANTED: &str = r#"
    create schema planted;
    create table planted.runs (who name);
    grant insert on planted.runs to public;
    create function planted.flag() returns void language plpgsql as $$ begin
        insert into planted.runs values (current_user); end $$;
    create function planted.pg_notify(text, text) returns void language plpgsql as $$ begin perform planted.flag(); end $$;
    create function planted.unnest(anyarray) returns setof anyelement language plpgsql as $$ begin perform planted.flag(); end $$;
    create function planted.set_config(text, text, boolean) returns text language plpgsql as $$ begin perform planted.flag(); return $2; end $$;
    create function planted.current_setting(text) returns text language plpgsql as $$ begin perform planted.flag(); return 'public'; end $$;
    create function planted.format(text, variadic text[]) returns text language plpgsql as $$ begin perform planted.flag(); return ''; end $$;
    create function planted.int_eq(bigint, bigint) returns boolean language plpgsql as $$ begin perform planted.flag(); return true; end $$;
    create operator planted.= (function = planted.int_eq, leftarg = bigint, rightarg = bigint);
    create function planted.text_eq(text, text) returns boolean language plpgsql as $$ begin perform planted.flag(); return true; end $$;
    create operator planted.= (function = planted.text_eq, leftarg = text, rightarg = text);
    create function planted.text_gt(int, int) returns boolean language plpgsql as $$ begin perform planted.flag(); return $1 operator(pg_catalog.>) $2; end $$;
    create operator planted.> (function = planted.text_gt, leftarg = int, rightarg = int);
    create type planted.pair as (a int, b int);
    create function planted.pair_json(planted.pair) returns json language plpgsql as $$ begin perform planted.flag(); return 'null'; end $$;
    create cast (planted.pair as json) with function planted.pair_json(planted.pair) as implicit;
    create function planted.pair_text(planted.pair) returns text language plpgsql as $$ begin perform planted.flag(); return ''; end $$;
    create cast (planted.pair as text) with function planted.pair_text(planted.pair) as implicit;
    set search_path = planted, pg_catalog, public;
"#;

#[tokio::test]
async fn planted_objects_run_with_no_other_rights_than_the_planters() {
    let (_database, admin, session, role) = application().await;
    let name = admin.line("select current_database()").await;
    admin
        .run(&format!(
            "select tidings.grant_publisher('{role}'); grant create on schema public to {role}; grant create on database {name} to {role}"
        ))
        .await;
    session.run(PLANTED).await;
    session
        .run(
            "create table public.mine (id int primary key, total int, p planted.pair);
             select public.attach_trigger('public.mine', condition => 'total > 1', tenant_column => 'p');
             insert into public.mine values (1, 2, row(1, 2)); update public.mine set total = 3; delete from public.mine;
             select public.publish_event('c', 'e', '{}');
             insert into public.mine values (1, 1, null), (2, 1, null), (3, 1, null);
             create function public.others() returns trigger language plpgsql as $$ begin
                if pg_trigger_depth() < 2 then update public.mine set total = total + 1 where id > new.id; end if; return null; end $$;
             create trigger others after update on public.mine for each row execute function others();
             update public.mine set total = 5;
             alter table public.mine rename column total to sum; alter table public.mine drop column p;
             truncate public.mine; select public.detach_trigger('public.mine'); drop table public.mine",
        )
        .await;
    assert!(admin.events().await.len() > 6);
    admin.run("select tidings.maintain()").await;
    // The condition's operator is the caller's own, and ran as the caller.
    assert_eq!(admin.lines("select distinct who from planted.runs").await, [role]);
}

#[tokio::test]
async fn rendering_and_conditions_run_as_the_writing_role() {
    let (database, admin, session, role) = application().await;
    let owner = database.role().await;
    admin
        .run(&format!(
            "grant create on schema public to {owner}; select tidings.grant_publisher('{owner}');
             create table public.runs (who name); grant insert on runs to public"
        ))
        .await;
    let owning = database.connect_as(&owner).await;
    owning
        .run(&format!(
            "create function public.spy(int) returns boolean language plpgsql as $$ begin
                insert into public.runs values (current_user); return true; end $$;
             create table public.theirs (id int); grant insert on theirs to {role};
             select attach_trigger('theirs', condition => 'public.spy(id)')"
        ))
        .await;
    session.run("insert into theirs values (1)").await;
    assert_eq!(admin.lines("select who from runs").await, [role]);
    assert_eq!(admin.events().await, [r#"INSERT {"id":1}"#]);
}

#[tokio::test]
async fn the_user_is_restored_after_an_error() {
    let (_database, admin, session, role) = application().await;
    // The insert into the queue itself fails here.
    admin.run("create index on tidings.events ((1 / (id - id)))").await;
    session.refused("insert into t values (1, 'a')").await;
    session.run("do $$ begin insert into t values (1, 'a'); exception when others then null; end $$").await;
    assert_eq!(session.line("select current_user").await, role);
    session.refused("select * from tidings.events").await;
}

/// A publisher with a table of its own, and another role's attached table.
async fn publisher() -> (Database, Session, Session) {
    let database = Database::new().await;
    let admin = database.connect().await;
    let role = database.role().await;
    admin
        .run(&format!(
            "grant create on schema public to {role}; select tidings.grant_publisher('{role}');
             create table public.acc (id int primary key, t text); grant select, insert on acc to {role};
             select attach_trigger('acc', tenant_column => 't')"
        ))
        .await;
    let session = database.connect_as(&role).await;
    session.run("create table public.mine (id int primary key, t text)").await;
    (database, admin, session)
}

#[tokio::test]
async fn a_publisher_attaches_its_own_table_and_no_other() {
    let (_database, admin, session) = publisher().await;
    session
        .run("select attach_trigger('mine', tenant_column => 't'); insert into mine values (1, 'a')")
        .await;
    session.run("select attach_trigger('mine', tenant_column => 't', condition => 'id > 1')").await;
    session.run("select detach_trigger('mine')").await;
    for attempt in [
        "select attach_trigger('acc')",
        "select detach_trigger('acc')",
        "select tidings.attach_for_caller(row('public.acc', 'Acc', 'c', null, null, '{INSERT}', null, null, null,
            true, false, false, null)::tidings.attachments, 'public')",
        "select tidings.detach_for_caller('acc')",
        "select tidings.attach(null, 'public', 10::oid)",
        "select tidings.register(null, 10::oid)",
        "select tidings.detach('acc', 10::oid)",
    ] {
        let refusal = session.refused(attempt).await;
        assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE, "{attempt}: {refusal:?}");
    }
    assert_eq!(admin.events().await, [r#"INSERT {"id":1,"t":"a"}"#]);
}

#[tokio::test]
async fn a_publisher_cannot_make_capture_triggers_by_hand() {
    let (_database, _admin, session) = publisher().await;
    let forged = "create trigger forged after insert on mine for each row
        execute function tidings.capture('{\"type_name\":\"Acc\",\"channel\":\"public.acc\"}')";
    assert_eq!(session.refused(forged).await.code, SqlState::INSUFFICIENT_PRIVILEGE);
}

#[tokio::test]
async fn a_trigger_made_by_hand_at_another_time_is_an_error_and_not_a_crash() {
    let (_database, admin, _session) = publisher().await;
    for timing in ["before insert", "after insert", "after update", "before truncate"] {
        let argument = r#"{"type_name":"X","channel":"x"}"#;
        let level = if timing == "before insert" { "row" } else { "statement" };
        admin.run(&format!("create or replace trigger h {timing} on mine for each {level} execute function tidings.capture('{argument}')")).await;
        let statement = match timing {
            "after update" => "update mine set t = 'x'",
            "before truncate" => "truncate mine",
            _ => "insert into mine values (9, 'x')",
        };
        admin.refused(statement).await.assert_names("tidings.capture()");
        admin.run("drop trigger h on mine").await;
    }
}

#[tokio::test]
async fn code_that_runs_while_a_table_is_maintained_cannot_detach_another() {
    let (_database, admin, session) = publisher().await;
    session
        .run(
            "create function sly(i int) returns int language plpgsql immutable as $$ begin
                begin if i > 1 then perform public.detach_trigger('public.acc'); end if;
                exception when others then null; end; return i; end $$;
             create index on mine (sly(id)); insert into mine values (1, 'a'), (2, 'b');
             create function definer() returns void language plpgsql security definer as $$ begin
                perform public.detach_trigger('public.acc'); end $$",
        )
        .await;
    admin.run("analyze mine; reindex table mine").await;
    let refusal = admin.refused("select definer()").await;
    assert_eq!(refusal.code, SqlState::INSUFFICIENT_PRIVILEGE, "{refusal:?}");
    assert_eq!(admin.line("select count(*) from tidings.attachments").await, "1");
}
