//! Row changes become events, whatever statement makes them.

use crate::support::database::{Database, Session};

async fn attached(table: &str, attach: &str) -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(&format!("{table}; select attach_trigger({attach})")).await;
    (database, session)
}

const ITEMS: &str = "create table public.items (id int primary key, name text)";

#[tokio::test]
async fn insert_update_and_delete_of_several_rows() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session
        .run(
            "insert into items values (1, 'a'), (2, 'b');
             update items set name = name || '!' where id = 2;
             delete from items;",
        )
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"INSERT {"id":1,"name":"a"}"#,
            r#"INSERT {"id":2,"name":"b"}"#,
            r#"UPDATE {"id":2,"name":"b!"}"#,
            r#"DELETE {"id":1,"name":"a"}"#,
            r#"DELETE {"id":2,"name":"b!"}"#,
        ]
    );
    let described = session
        .lines("select distinct concat_ws('|', channel, type_name, audience) from tidings.events")
        .await;
    assert_eq!(described, ["public.items|Items|open"]);
}

#[tokio::test]
async fn copy_merge_and_on_conflict() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    let copy = session.copy_in::<_, &[u8]>("copy items from stdin").await.expect("copy should start");
    let mut copy = std::pin::pin!(copy);
    futures_util::SinkExt::send(&mut copy, b"1\tcopied\n2\t\\N\n".as_slice())
        .await
        .expect("copy should take rows");
    copy.finish().await.expect("copy should end");
    session
        .run(
            "insert into items values (1, 'upsert'), (3, 'new') on conflict (id) do update set name = excluded.name;
             insert into items values (1, 'ignored') on conflict do nothing;
             merge into items i using (values (2, 'merged'), (3, null), (4, 'made')) v (id, name) on i.id = v.id
             when matched and v.name is null then delete
             when matched then update set name = v.name
             when not matched then insert values (v.id, v.name);",
        )
        .await;
    let mut events = session.events().await;
    let merged = events.split_off(4);
    assert_eq!(
        events,
        [
            r#"INSERT {"id":1,"name":"copied"}"#,
            r#"INSERT {"id":2,"name":null}"#,
            r#"UPDATE {"id":1,"name":"upsert"}"#,
            r#"INSERT {"id":3,"name":"new"}"#,
        ]
    );
    assert_eq!(
        std::collections::BTreeSet::from_iter(merged.iter().map(String::as_str)),
        std::collections::BTreeSet::from([
            r#"UPDATE {"id":2,"name":"merged"}"#,
            r#"DELETE {"id":3,"name":"new"}"#,
            r#"INSERT {"id":4,"name":"made"}"#,
        ])
    );
}

#[tokio::test]
async fn a_changed_primary_key_is_an_update_with_both_keys() {
    let (_database, session) = attached(ITEMS, "'items', include_old => true").await;
    session.run("insert into items values (1, 'a'); update items set id = 10").await;
    let update = session
        .line("select concat_ws('|', payload, old_payload, changed_columns) from tidings.events where event_type = 'UPDATE'")
        .await;
    assert_eq!(update, r#"{"id":10,"name":"a"}|{"id":1,"name":"a"}|{id}"#);
}

#[tokio::test]
async fn old_records_are_there_only_if_asked_for() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session.run("insert into items values (1, 'a'); update items set name = 'b'; delete from items").await;
    assert_eq!(session.line("select count(old_payload) from tidings.events").await, "0");
    session
        .run(
            "select attach_trigger('items', include_old => true); truncate tidings.events;
             insert into items values (1, 'a'); update items set name = 'b'; delete from items",
        )
        .await;
    assert_eq!(
        session.lines("select coalesce(old_payload::text, '-') from tidings.events order by id").await,
        ["-", r#"{"id":1,"name":"a"}"#, "-"]
    );
}

#[tokio::test]
async fn only_the_listed_columns_and_the_key_are_published() {
    let (_database, session) = attached(
        "create table public.people (secret text, id int primary key, name text, age int)",
        "'people', columns => '{name}', include_old => true",
    )
    .await;
    session.run("insert into people values ('s1', 1, 'ada', 36); update people set secret = 's2', age = 37, name = 'Ada'").await;
    assert_eq!(
        session.events().await,
        [r#"INSERT {"id":1,"name":"ada"}"#, r#"UPDATE {"id":1,"name":"Ada"}"#]
    );
    let everything = session.line("select string_agg(e::text, '') from tidings.events e").await;
    assert!(!everything.contains("s1") && !everything.contains("s2"), "{everything}");
    // Not even the name of a column that is not published.
    assert_eq!(
        session.line("select changed_columns from tidings.events order by id desc limit 1").await,
        "{name}"
    );
}

#[tokio::test]
async fn when_changed_ignores_other_updates_and_updates_without_a_change() {
    let (_database, session) = attached(
        "create table public.t (id int primary key, status text, seen int, doc json)",
        "'t', when_changed => '{status,doc}'",
    )
    .await;
    session
        .run(
            r#"insert into t values (1, 'new', 0, '{"a":1}');
            update t set seen = 1;
            update t set status = 'new', doc = '{"a":1}';
            update t set status = 'paid';
            update t set doc = '{"a": 1}';
            update t set status = null;
            update t set status = null;"#,
        )
        .await;
    assert_eq!(
        session
            .lines("select concat_ws(' ', event_type, changed_columns) from tidings.events order by id")
            .await,
        ["INSERT", "UPDATE {status}", "UPDATE {doc}", "UPDATE {status}"]
    );
}

#[tokio::test]
async fn a_condition_decides_with_bare_new_and_old_names() {
    let (_database, session) = attached(
        r#"create table public.t (id int primary key, total numeric, "Mixed Case" text, tags text[])"#,
        r#"'t', operations => '{INSERT,UPDATE}',
           condition => '"Mixed Case" <> ''new.total'' /* old.x */ and (total > 100 or ''vip'' = any (tags)) -- why'"#,
    )
    .await;
    session
        .run(
            "insert into t values (1, 50, 'a', '{}'), (2, 150, 'a', null), (3, 50, 'a', '{vip}'), (4, 200, null, null);
             update t set total = 101 where id = 1; update t set total = 1",
        )
        .await;
    let seen = session.lines("select concat_ws(' ', event_type, payload ->> 'id', payload ->> 'total') from tidings.events order by id").await;
    assert_eq!(seen, ["INSERT 2 150", "INSERT 3 50", "UPDATE 1 101", "UPDATE 3 1"]);

    session
        .run(
            "select attach_trigger('t', operations => '{UPDATE}', condition => 'new.total > old.total'); truncate tidings.events;
             update t set total = 5 where id = 1; update t set total = 4 where id = 1",
        )
        .await;
    assert_eq!(session.line("select payload ->> 'total' from tidings.events").await, "5");

    session
        .run(
            "select attach_trigger('t', condition => 'total > 100'); truncate tidings.events;
             delete from t; insert into t values (1, 500); delete from t",
        )
        .await;
    assert_eq!(
        session
            .lines("select concat_ws(' ', event_type, payload ->> 'total') from tidings.events order by id")
            .await,
        ["INSERT 500", "DELETE 500"]
    );
}

#[tokio::test]
async fn foreign_key_cascades_are_captured() {
    let (_database, session) = attached(
        "create table public.parents (id int primary key);
         create table public.children (id int primary key, parent int references parents on update cascade on delete cascade);
         create table public.notes (id int primary key, parent int references parents on delete set null)",
        "'children'",
    )
    .await;
    session
        .run(
            "select attach_trigger('notes'); insert into parents values (1), (2);
             insert into children values (10, 1); insert into notes values (20, 2);
             update parents set id = 3 where id = 1; delete from parents;",
        )
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"INSERT {"id":10,"parent":1}"#,
            r#"INSERT {"id":20,"parent":2}"#,
            r#"UPDATE {"id":10,"parent":3}"#,
            r#"UPDATE {"id":20,"parent":null}"#,
            r#"DELETE {"id":10,"parent":3}"#,
        ]
    );
}

#[tokio::test]
async fn generated_dropped_and_added_columns() {
    let (_database, session) = attached(
        "create table public.t (id int primary key, gone text, net int, gross int generated always as (net * 2) stored);
         insert into t (id, gone, net) values (1, 'x', 5); alter table t drop column gone",
        "'t'",
    )
    .await;
    session
        .run("update t set net = 6; alter table t add column note text default 'fast'; update t set net = 7; alter table t drop column net cascade; update t set note = 'z'")
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"UPDATE {"id":1,"net":6,"gross":12}"#,
            r#"UPDATE {"id":1,"net":7,"gross":14,"note":"fast"}"#,
            r#"UPDATE {"id":1,"note":"z"}"#,
        ]
    );
}

#[tokio::test]
async fn quoted_and_mixed_case_names() {
    let (_database, session) = attached(
        r#"create schema "My Schema";
           create table "My Schema"."Odd ""Table"" it's" ("Id" int primary key, "new" text, "a ""q"" \ b" text, "select" int)"#,
        r#"'"My Schema"."Odd ""Table"" it''s"', type_name => 'Odd', tenant_column => 'new', condition => '"select" > 0 and new.new is not null'"#,
    )
    .await;
    session
        .run(r#"insert into "My Schema"."Odd ""Table"" it's" values (1, 'acme', E'x', 7), (2, null, 'y', 8)"#)
        .await;
    let stored = session.line("select concat_ws('|', channel, tenant_id, payload) from tidings.events").await;
    assert_eq!(
        stored,
        r#"My Schema.Odd "Table" it's|acme|{"Id":1,"new":"acme","a \"q\" \\ b":"x","select":7}"#
    );
}

#[tokio::test]
async fn savepoints_and_failures_leave_no_event() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session
        .run(
            "begin; insert into items values (1, 'kept'); savepoint s; insert into items values (2, 'gone');
             rollback to s; insert into items values (3, 'kept'); commit;",
        )
        .await;
    session.refused("insert into items values (4, 'gone'), (1, 'duplicate')").await;
    session.refused("begin; insert into items values (5, 'gone'); select 1 / 0").await;
    session.run("rollback").await;
    session
        .run("do $$ begin insert into items values (6, 'gone'); raise exception 'x'; exception when others then null; end $$")
        .await;
    assert_eq!(
        session.events().await,
        [r#"INSERT {"id":1,"name":"kept"}"#, r#"INSERT {"id":3,"name":"kept"}"#]
    );
}

#[tokio::test]
async fn a_row_that_changes_tenant_leaves_one_and_enters_the_other() {
    let (_database, session) = attached(
        "create table public.t (id int primary key, tenant text, owner int, note text)",
        "'t', tenant_column => 'tenant', user_column => 'owner', include_old => true, when_changed => '{note}'",
    )
    .await;
    session
        .run(
            "insert into t values (1, 'a', 7, 'x'); update t set tenant = 'b'; update t set owner = 8;
             update t set note = 'y'; update t set tenant = null;",
        )
        .await;
    assert_eq!(
        session
            .lines(
                "select concat_ws('|', event_type, audience, coalesce(tenant_id, '-'), user_id, payload ->> 'tenant',
                    coalesce(old_payload ->> 'note', '-')) from tidings.events order by id"
            )
            .await,
        [
            "INSERT|both|a|7|a|-",
            "DELETE|both|a|7|a|-",
            "INSERT|both|b|7|b|-",
            "DELETE|both|b|7|b|-",
            "INSERT|both|b|8|b|-",
            "UPDATE|both|b|8|b|x",
            "DELETE|both|b|8|b|-",
            "INSERT|both|-|8|-",
        ]
    );
}

#[tokio::test]
async fn tenants_of_any_scalar_type_are_texts_and_unusable_ones_reach_nobody() {
    let database = Database::new().await;
    let session = database.connect().await;
    let cases = [
        ("int", "7", "7"),
        ("bigint", "9007199254740993", "9007199254740993"),
        ("uuid", "6ccd780c-baba-1026-9564-5b8c656024db", "6ccd780c-baba-1026-9564-5b8c656024db"),
        ("varchar(9)", "acme", "acme"),
        ("boolean", "t", "true"),
        ("text", "", "null"),
        ("text[]", "{a}", "null"),
        ("jsonb", "\"a\"", "null"),
    ];
    for (number, (kind, value, expected)) in cases.iter().enumerate() {
        session
            .run(&format!(
                "create table public.t{number} (id int primary key, tenant {kind});
                 select attach_trigger('t{number}', tenant_column => 'tenant');
                 insert into t{number} values (1, '{value}')"
            ))
            .await;
        let tenant = session
            .line(&format!(
                "select tenant_id from tidings.events where audience = 'tenant' and type_name = 'T{number}'"
            ))
            .await;
        assert_eq!(tenant, *expected, "a tenant of type {kind}");
    }
    session
        .run(
            "truncate tidings.events; update t3 set tenant = null; insert into t3 values (2, repeat('x', 9))",
        )
        .await;
    session
        .run("alter table t3 alter tenant type text; truncate tidings.events; insert into t3 values (3, repeat('x', 300))")
        .await;
    assert_eq!(session.line("select coalesce(tenant_id, 'nobody') from tidings.events").await, "nobody");
}

#[tokio::test]
async fn an_oversize_record_is_stored_with_its_key() {
    let (_database, session) = attached(
        "create table public.t (a int, body text, b text, primary key (b, a))",
        "'t', include_old => true, tenant_column => 'b'",
    )
    .await;
    session
        .run(
            "set tidings.max_event_bytes = 5000;
             insert into t values (1, repeat('x', 6000), 'k'); update t set body = 'small'; update t set body = 'tiny';
             insert into t values (2, repeat(E'\\n', 3000), 'k');",
        )
        .await;
    assert_eq!(
        session
            .lines("select concat_ws('|', event_type, truncated, payload, old_payload, tenant_id) from tidings.events order by id")
            .await,
        [
            r#"INSERT|t|{"a":1,"b":"k"}|k"#,
            r#"UPDATE|t|{"a":1,"body":"small","b":"k"}|{"a":1,"b":"k"}|k"#,
            r#"UPDATE|f|{"a":1,"body":"tiny","b":"k"}|{"a":1,"body":"small","b":"k"}|k"#,
            r#"INSERT|t|{"a":2,"b":"k"}|k"#,
        ]
    );
}

#[tokio::test]
async fn a_table_without_a_key_works() {
    let (_database, session) = attached("create table public.log (line text)", "'log'").await;
    session.run("set tidings.max_event_bytes = 1024; insert into log values ('x'), (repeat('x', 2000)); update log set line = 'y' where line = 'x'").await;
    assert_eq!(session.events().await, [r#"INSERT {"line":"x"}"#, "INSERT {}", r#"UPDATE {"line":"y"}"#]);
}

#[tokio::test]
async fn a_replica_session_is_captured_only_with_always() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session.run("set session_replication_role = replica; insert into items values (1, 'a')").await;
    assert!(session.events().await.is_empty());
    session
        .run("set session_replication_role = origin; select attach_trigger('items', always => true)")
        .await;
    session
        .run("set session_replication_role = replica; insert into items values (2, 'b'); truncate items")
        .await;
    assert_eq!(session.events().await, [r#"INSERT {"id":2,"name":"b"}"#, "TRUNCATE {}"]);
}

#[tokio::test]
async fn a_trigger_without_registration_does_not_fail_the_writer() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session.run("delete from tidings.attachments; delete from tidings.attached_columns").await;
    session.run("insert into items values (1, 'a'); truncate items").await;
    assert_eq!(session.events().await, [r#"INSERT {"id":1,"name":"a"}"#, "TRUNCATE {}"]);
}

#[tokio::test]
async fn reattaching_replaces_everything() {
    let (_database, session) =
        attached(ITEMS, "'items', condition => 'id > 5', channel => 'one', always => true").await;
    session
        .run(
            "select attach_trigger('items', channel => 'two', operations => '{insert}', type_name => 'Item')",
        )
        .await;
    session.run("insert into items values (1, 'a'); update items set name = 'b'; truncate items").await;
    assert_eq!(
        session.lines("select channel || type_name || event_type from tidings.events").await,
        ["twoItemINSERT"]
    );
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "1");
    assert_eq!(session.line("select tgenabled from pg_trigger where tgname like '!tidings%'").await, "O");
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "1");
}

#[tokio::test]
async fn detaching_ends_the_capture() {
    let (_database, session) = attached(ITEMS, "'items'").await;
    session
        .run("insert into items values (1, 'a'); select detach_trigger('items'); update items set name = 'b'")
        .await;
    assert_eq!(session.events().await.len(), 1);
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "0");
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "0");
    session.refused("select detach_trigger('items')").await.assert_names("items");
}
