//! Within a transaction, a row's events follow the order of the row's versions.

use crate::support::database::Database;

/// The version numbers of each row's events, in order of event id.
async fn versions_after(setup: &str, statements: &str) -> Vec<String> {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("create table public.t (id int primary key, v int not null default 0, parent int)").await;
    session.run(setup).await;
    session.run(statements).await;
    session
        .lines(
            "select (payload ->> 'id') || ':' || string_agg(left(event_type, 1) || (payload ->> 'v'), ' ' order by id)
             from tidings.events group by payload ->> 'id' order by 1",
        )
        .await
}

#[tokio::test]
async fn a_users_after_trigger_that_rewrites_the_same_row() {
    let seen = versions_after(
        "create function bump() returns trigger language plpgsql as $$ begin
            update t set v = v + 1 where id = new.id and v < 3; return null; end $$;
         create trigger \"!bump\" after insert or update on t for each row execute function bump();
         select attach_trigger('t')",
        "insert into t (id) values (1), (2); update t set v = 1",
    )
    .await;
    assert_eq!(seen, ["1:I0 U1 U2 U3 U1 U2 U3", "2:I0 U1 U2 U3 U1 U2 U3"]);
}

#[tokio::test]
async fn a_users_after_trigger_that_rewrites_another_row_of_the_same_statement() {
    // The trigger of row 1 updates rows 2 and 3, whose own events are still in the queue.
    let seen = versions_after(
        "insert into t (id) values (1), (2), (3);
         create function others() returns trigger language plpgsql as $$ begin
            if pg_trigger_depth() = 1 and new.id = 1 then
                update t set v = v + 10 where id > 1; update t set v = v + 100 where id = 3;
            end if; return null; end $$;
         create trigger others after update on t for each row execute function others();
         select attach_trigger('t')",
        "update t set v = v + 1",
    )
    .await;
    assert_eq!(seen, ["1:U1", "2:U1 U11", "3:U1 U11 U111"]);
}

#[tokio::test]
async fn a_nested_change_that_was_rolled_back_leaves_no_hole_in_the_order() {
    let seen = versions_after(
        "insert into t (id) values (1), (2);
         create function others() returns trigger language plpgsql as $$ begin
            if pg_trigger_depth() = 1 and new.id = 1 then
                begin update t set v = v + 10 where id = 2; raise exception 'x'; exception when others then null; end;
                update t set v = v + 100 where id = 2;
            end if; return null; end $$;
         create trigger others after update on t for each row execute function others();
         select attach_trigger('t')",
        "update t set v = v + 1",
    )
    .await;
    assert_eq!(seen, ["1:U1", "2:U1 U101"]);
}

#[tokio::test]
async fn a_nested_delete_comes_after_the_update_it_follows() {
    let seen = versions_after(
        "insert into t (id) values (1), (2);
         create function others() returns trigger language plpgsql as $$ begin
            if new.id = 1 then delete from t where id = 2; end if; return null; end $$;
         create trigger others after update on t for each row execute function others();
         select attach_trigger('t')",
        "update t set v = v + 1",
    )
    .await;
    assert_eq!(seen, ["1:U1", "2:U1 D1"]);
}

#[tokio::test]
async fn a_cascade_that_rewrites_a_row_of_the_same_statement() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, parent int references t on update cascade);
             insert into t values (1, null), (2, 1), (3, 2); select attach_trigger('t');
             update t set id = id + 10",
        )
        .await;
    assert_eq!(
        session
            .lines(
                "select string_agg(concat_ws('/', payload ->> 'id', payload ->> 'parent'), ' ' order by id)
                 from tidings.events group by payload ->> 'id' order by payload ->> 'id'"
            )
            .await,
        ["11", "12/1 12/11", "13/2 13/12"]
    );
}

#[tokio::test]
async fn a_row_that_moves_between_tenants_in_a_nested_write() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, v int, tenant text);
             insert into t values (1, 0, 'a'), (2, 0, 'a');
             create function others() returns trigger language plpgsql as $$ begin
                if pg_trigger_depth() = 1 and new.id = 1 then update t set tenant = 'b', v = v + 10 where id = 2; end if;
                return null; end $$;
             create trigger others after update on t for each row execute function others();
             select attach_trigger('t', tenant_column => 'tenant');
             update t set v = v + 1",
        )
        .await;
    assert_eq!(
        session
            .lines(
                "select concat_ws(' ', event_type, tenant_id, payload ->> 'v') from tidings.events
                 where payload ->> 'id' = '2' order by id"
            )
            .await,
        ["UPDATE a 1", "DELETE a 1", "INSERT b 11"]
    );
}

#[tokio::test]
async fn concurrent_writers_of_a_row_draw_ids_in_commit_order() {
    let database = Database::new().await;
    let admin = database.connect().await;
    admin
        .run("create table public.t (id int primary key, v int); insert into t values (1, 0); select attach_trigger('t')")
        .await;
    let writers = (0..8).map(|_| async {
        let session = database.connect().await;
        for _ in 0..25 {
            session.run("update t set v = v + 1").await;
        }
    });
    futures_util::future::join_all(writers).await;
    let seen = admin.line("select string_agg(payload ->> 'v', ' ' order by id) from tidings.events").await;
    let expected: Vec<String> = (1..=200).map(|v| v.to_string()).collect();
    assert_eq!(seen, expected.join(" "));
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_within_nested_triggers() {
    // Row 2 is rewritten twice before its own event is due; in between a block changes it and fails.
    let seen = versions_after(
        "insert into t (id) values (1), (2);
         create function nest() returns trigger language plpgsql as $$ begin
            if pg_trigger_depth() = 1 and new.id = 1 then update t set v = v + 10;
            elsif pg_trigger_depth() = 2 then update t set v = v + 10;
            elsif pg_trigger_depth() = 3 then
                begin
                    update t set v = v + 100 where id = new.id; raise exception 'undo';
                exception when raise_exception then null; end;
            end if; return null; end $$;
         create trigger \"!a\" after update on t for each row execute function nest();
         select attach_trigger('t')",
        "update t set v = v + 1",
    )
    .await;
    for row in seen {
        let (_, versions) = row.split_once(':').unwrap();
        let versions: Vec<i32> = versions.split(' ').map(|version| version[1..].parse().unwrap()).collect();
        assert!(versions.is_sorted(), "{row}");
    }
}
