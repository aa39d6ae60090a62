//! Statements whose events are of several tables, of several slots, many, or large.

use crate::support::database::Database;

#[tokio::test]
async fn several_tables_of_one_statement() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.a (id int primary key); create table public.b (id int primary key);
             create table public.p (id int primary key) partition by range (id);
             create table public.p1 partition of p for values from (0) to (3);
             create table public.p2 partition of p for values from (3) to (9);
             select attach_trigger('a'), attach_trigger('b'), attach_trigger('p');
             select publish_event('c', 'loaded', '{}'); truncate tidings.events",
        )
        .await;
    session
        .run(
            "with a as (insert into a select n from generate_series(1, 4) n returning id),
                  p as (insert into p select id from a returning id)
             insert into b select id from p",
        )
        .await;
    let seen = session
        .lines("select type_name || ' ' || string_agg(payload ->> 'id', ' ' order by id) from tidings.events group by type_name")
        .await;
    let mut seen = seen;
    seen.sort();
    assert_eq!(seen, ["A 1 2 3 4", "B 1 2 3 4", "P 1 2 3 4"].map(str::to_owned));
}

#[tokio::test]
async fn cascades_of_foreign_keys() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.parent (id int primary key);
             create table public.child (id int primary key, parent int references parent on delete cascade on update cascade);
             insert into parent select n from generate_series(1, 50) n;
             insert into child select n, n % 50 + 1 from generate_series(1, 3000) n;
             select attach_trigger('parent'), attach_trigger('child')",
        )
        .await;
    session.run("update parent set id = id + 1000 where id <= 25").await;
    session.run("delete from parent").await;
    let counts = "select type_name || ' ' || event_type || ' ' || count(*) from tidings.events group by type_name, event_type
        order by 1";
    assert_eq!(
        session.lines(counts).await,
        ["Child DELETE 3000", "Child UPDATE 1500", "Parent DELETE 50", "Parent UPDATE 25"]
    );
    // A child's delete comes after its parent's.
    let late = "select bool_and(c.id > p.id) from tidings.events c join tidings.events p
        on p.type_name = 'Parent' and p.event_type = 'DELETE' and p.payload ->> 'id' = c.payload ->> 'parent'
        where c.type_name = 'Child' and c.event_type = 'DELETE'";
    assert_eq!(session.line(late).await, "t");
}

#[tokio::test]
async fn constraint_triggers_that_wait_for_the_commit() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.a (id int primary key); create table public.b (id int primary key, seen bigint);
             select attach_trigger('a'), attach_trigger('b');
             create function late() returns trigger language plpgsql as $$ declare n bigint; begin
                select count(*) into n from tidings.events; insert into b values (new.id, n); return null; end $$;
             create constraint trigger late after insert on a deferrable initially deferred
                for each row execute function late();
             begin; insert into a values (1), (2); commit",
        )
        .await;
    assert_eq!(
        session.events().await,
        [
            r#"INSERT {"id":1}"#,
            r#"INSERT {"id":2}"#,
            r#"INSERT {"id":1,"seen":2}"#,
            r#"INSERT {"id":2,"seen":3}"#
        ]
    );
}

#[tokio::test]
async fn a_statement_that_writes_into_several_slots() {
    let database = Database::new().await;
    let session = database.connect().await;
    // Which slot is written to follows from the time, and from this setting.
    session
        .run(
            "create table public.t (id int primary key); select attach_trigger('t');
             create function slot() returns trigger language plpgsql as $$ begin
                perform set_config('tidings.retention', s::text, true)
                from generate_series(86400, 1000000, 3600) s
                where floor(extract(epoch from clock_timestamp()) / s)::bigint % 3 = new.id % 3 limit 1;
                return null; end $$;
             create trigger slot after insert on t for each row execute function slot();
             insert into t values (-1)",
        )
        .await;
    session.run("insert into t select n from generate_series(0, 8) n").await;
    let slots =
        "select string_agg(slot::text, ' ' order by id) from tidings.events where payload ->> 'id' > '0'";
    assert_eq!(session.line(slots).await, "0 1 2 0 1 2 0 1");
}

#[tokio::test]
async fn large_records_in_bulk() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, body text); select attach_trigger('t', include_old => true);
             select publish_event('c', 'loaded', '{}'); truncate tidings.events;
             insert into t select n, (select string_agg(md5(n::text || s), '') from generate_series(1, n * 10) s)
             from generate_series(1, 200) n;
             update t set body = body || '!'",
        )
        .await;
    let same = "select count(*) from tidings.events e join t on t.id = (e.payload ->> 'id')::int
        where case e.event_type when 'INSERT' then e.payload ->> 'body' || '!' = t.body
            else e.payload ->> 'body' = t.body and e.old_payload ->> 'body' || '!' = t.body end";
    assert_eq!(session.line(same).await, "400");
}

#[tokio::test]
async fn what_is_collected_is_bounded() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, body text); create table public.log (bytes bigint);
             select attach_trigger('t');
             create function memory() returns trigger language plpgsql as $$ begin
                if new.id % 499 = 0 then
                    insert into log select coalesce(sum(total_bytes), 0) from pg_backend_memory_contexts
                    where name = 'tidings rows';
                end if; return null; end $$;
             create trigger memory after insert on t for each row execute function memory();
             select publish_event('c', 'loaded', '{}')",
        )
        .await;
    session.run("insert into t select n, repeat(n::text, 2000) from generate_series(1, 5000) n").await;
    session.run("insert into t select n, 'narrow' from generate_series(5001, 10000) n").await;
    assert_eq!(session.line("select count(*) = 10001 from tidings.events").await, "t");
    assert_eq!(session.line("select max(bytes) between 1 and 4000000 from log").await, "t");
}

#[tokio::test]
async fn indexes_that_somebody_adds_get_their_entries() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key); select attach_trigger('t');
             create index by_key on tidings.events ((payload ->> 'id')) where event_type = 'INSERT';
             create index by_channel on tidings.events using brin (channel);
             insert into t select n from generate_series(1, 1500) n; update t set id = -id;
             set enable_seqscan = off; set enable_bitmapscan = off",
        )
        .await;
    let found = "select id from tidings.events where event_type = 'INSERT' and payload ->> 'id' = '1234'";
    assert!(
        session.lines(&format!("explain {found}")).await.join("").contains("payload"),
        "the index is used"
    );
    assert_eq!(session.lines(found).await.len(), 1);
    assert_eq!(
        session
            .line("select count(*) from tidings.events where event_type = 'INSERT' and payload ->> 'id' > ''")
            .await,
        "1500"
    );
}
