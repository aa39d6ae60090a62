//! Events of a statement are written together when it has fired its triggers, and nobody can tell.

use crate::support::database::{Database, Session};

const ITEMS: &str = "create table public.items (id int primary key, v int not null default 0);
    create table public.log (n bigint, at int); select attach_trigger('items')";

/// A user's trigger, of each row, after ours.
async fn with_trigger(body: &str) -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(ITEMS).await;
    session
        .run(&format!(
            "create function also() returns trigger language plpgsql as $$ declare n bigint; begin {body} return null; end $$;
             create trigger also after insert or update on items for each row execute function also()"
        ))
        .await;
    (database, session)
}

const STORED: &str = "select count(*) || ' ' || count(distinct id) || ' ' || count(distinct payload ->> 'id')
    from tidings.events";

#[tokio::test]
async fn a_trigger_sees_the_events_of_the_rows_before_it() {
    let (database, admin) =
        with_trigger("select count(*) into n from tidings.events; insert into log values (n, new.id);").await;
    let insert = "insert into items select n from generate_series(1, 4) n";
    for first in ["", "select publish_event('c', 'loaded', '{}')"] {
        admin.run("truncate items, log").await;
        // The first statement of a session loads the library in its midst; others are seen to begin.
        let session = database.connect().await;
        session.run(first).await;
        admin.run("truncate tidings.events").await;
        session.run(insert).await;
        session.run("update items set v = 1").await;
        let seen = session.lines("select n || ':' || at from log order by n").await;
        assert_eq!(seen, ["1:1", "2:2", "3:3", "4:4", "5:1", "6:2", "7:3", "8:4"], "{first}");
    }
    let other = database.connect().await;
    admin.run("truncate items, log").await;
    admin.run("truncate tidings.events").await;
    other.run(&format!("begin; {insert}; update items set v = 1; commit")).await;
    let order = "select string_agg(payload ->> 'id', ' ' order by id) from tidings.events";
    assert_eq!(other.line(order).await, "1 2 3 4 1 2 3 4");
}

#[tokio::test]
async fn a_function_sees_what_it_has_caused() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(ITEMS).await;
    session
        .run(
            "create function many(rows int) returns text language plpgsql as $$ declare n bigint; m bigint; begin
                insert into items select s + (select count(*) from items) from generate_series(1, rows) s;
                select count(*) into n from tidings.events;
                perform publish_event('c', 'e', '{}');
                select count(*) into m from tidings.events;
                return n || ' ' || m; end $$",
        )
        .await;
    let session = database.connect().await;
    assert_eq!(session.line("select many(3)").await, "3 4", "not loaded before");
    assert_eq!(session.line("select many(3)").await, "7 8");
    // A query does not see what happens while it runs.
    let itself = "select many(1500) || ' ' || (select count(*) from tidings.events)";
    assert_eq!(session.line(itself).await, "1508 1509 8");
}

#[tokio::test]
async fn savepoints_take_back_their_own_events_and_no_others() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(ITEMS).await;
    session
        .run(
            "begin; insert into items select n from generate_series(1, 3) n;
             savepoint a; insert into items select n from generate_series(4, 1500) n;
             savepoint b; update items set v = 1 where id < 3; release b; rollback to a;
             insert into items values (4); savepoint c; insert into items values (5); release c; commit",
        )
        .await;
    let order = "select string_agg(payload ->> 'id', ' ' order by id) from tidings.events";
    assert_eq!(session.line(order).await, "1 2 3 4 5");
}

#[tokio::test]
async fn blocks_of_a_trigger_that_are_rolled_back_leave_the_statements_events() {
    // Within the block those from before it are written, since somebody looks; then the block is undone.
    let (_database, session) = with_trigger(
        "begin
            select count(*) into n from tidings.events;
            insert into log values (n, new.id);
            if new.id % 2 = 0 then raise exception 'undo'; end if;
         exception when raise_exception then null; end;",
    )
    .await;
    for id in [0, 100] {
        session.run(&format!("insert into items select {id} + n from generate_series(1, 7) n")).await;
    }
    assert_eq!(session.line(STORED).await, "14 14 14");
    assert_eq!(
        session.line("select string_agg(n::text, ' ' order by n) from log").await,
        "1 3 5 7 8 10 12 14",
        "each looks when the rows up to its own have been captured"
    );
    let order = "select string_agg(payload ->> 'id', ' ' order by id) from tidings.events";
    assert_eq!(session.line(order).await, "1 2 3 4 5 6 7 101 102 103 104 105 106 107");
}

#[tokio::test]
async fn blocks_within_blocks_and_what_they_capture_themselves() {
    let (_database, session) = with_trigger(
        "if pg_trigger_depth() > 1 then return null; end if;
         begin
            begin
                select count(*) into n from tidings.events;
                update items set v = v + 1 where id = new.id;
                if new.id % 3 = 0 then raise exception 'inner'; end if;
            exception when raise_exception then null; end;
            update items set v = v + 10 where id = new.id;
            if new.id % 2 = 0 then raise exception 'outer'; end if;
         exception when raise_exception then null; end;",
    )
    .await;
    session.run("select publish_event('c', 'loaded', '{}'); truncate tidings.events").await;
    session.run("insert into items select n from generate_series(1, 6) n").await;
    let versions = "select string_agg((payload ->> 'id') || ':' || (payload ->> 'v'), ' ' order by (payload ->> 'id')::int, id)
        from tidings.events";
    assert_eq!(session.line(versions).await, "1:0 1:1 1:11 2:0 3:0 3:10 4:0 5:0 5:1 5:11 6:0");
}

#[tokio::test]
async fn nothing_is_left_of_a_statement_that_fails() {
    let (_database, session) =
        with_trigger("if new.id = 1200 then raise exception 'no'; end if; select 1 into n;").await;
    session.run("select publish_event('c', 'loaded', '{}'); truncate tidings.events").await;
    session.refused("insert into items select n from generate_series(1, 1300) n").await;
    session.run("begin; insert into items values (1); savepoint a").await;
    session.refused("insert into items select n from generate_series(2, 1300) n").await;
    session.run("rollback to a; insert into items values (2); commit").await;
    session
        .run(
            "do $$ begin insert into items select n from generate_series(3, 1300) n;
             exception when raise_exception then insert into items values (3); end $$",
        )
        .await;
    assert_eq!(session.line(STORED).await, "3 3 3");
}

#[tokio::test]
async fn errors_of_statements_keep_their_names_and_places() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.parent (id int primary key); create table public.child (id int primary key,
                parent int constraint has_parent references parent); select attach_trigger('child');
             select publish_event('c', 'loaded', '{}')",
        )
        .await;
    let error = session.batch_execute("insert into child values (1, 7)").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(
        (error.constraint(), error.table(), error.schema()),
        (Some("has_parent"), Some("child"), Some("public"))
    );
    let error = session.batch_execute("create table parent (id int, x nothing)").await.unwrap_err();
    assert!(error.as_db_error().unwrap().position().is_some());
    let raise = "do $$ begin raise exception 'x' using column = 'c', datatype = 'd'; end $$";
    let error = session.batch_execute(raise).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!((error.column(), error.datatype()), (Some("c"), Some("d")));
    assert!(error.where_().unwrap().contains("PL/pgSQL function inline_code_block line 1"));
}

#[tokio::test]
async fn copies_that_end_and_copies_that_do_not() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(ITEMS).await;
    let rows: String = (1..=2500).map(|id| format!("{id}\t0\n")).collect();
    for loaded in [false, true] {
        session.run("truncate items; truncate tidings.events").await;
        copy(&session, rows.clone()).await.unwrap();
        assert_eq!(session.line(STORED).await, "2500 2500 2500", "{loaded}");
        copy(&session, "2501\t0\n2502\t0\n7\t0\n".to_owned()).await.unwrap_err();
        assert_eq!(session.line(STORED).await, "2500 2500 2500", "{loaded}");
    }
    let order = "select bool_and((payload ->> 'id')::int = place) from
        (select payload, row_number() over (order by id) as place from tidings.events) e";
    assert_eq!(session.line(order).await, "t");
}

async fn copy(session: &Session, rows: String) -> Result<u64, tokio_postgres::Error> {
    let copy = session.copy_in::<_, std::io::Cursor<String>>("copy items from stdin").await?;
    let mut copy = std::pin::pin!(copy);
    futures_util::SinkExt::send(&mut copy, std::io::Cursor::new(rows)).await?;
    copy.finish().await
}

#[tokio::test]
async fn a_prepared_transaction_holds_the_events_of_its_statements() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(ITEMS).await;
    let gid = session.line("select current_database()").await;
    session
        .run(&format!(
            "set tidings.notify = off; begin; insert into items select n from generate_series(1, 1200) n;
             prepare transaction '{gid}'"
        ))
        .await;
    assert_eq!(session.line(STORED).await, "0 0 0");
    session.run(&format!("commit prepared '{gid}'")).await;
    assert_eq!(session.line(STORED).await, "1200 1200 1200");
}
