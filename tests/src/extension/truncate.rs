//! TRUNCATE: one event without data, for everybody who listens to the table.

use crate::support::database::Database;

#[tokio::test]
async fn it_is_open_to_all_and_carries_nothing() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, tenant text); select attach_trigger('t', tenant_column => 'tenant');
             insert into t values (1, 'a'); truncate t",
        )
        .await;
    let event = session
        .line("select concat_ws('|', event_type, audience, coalesce(tenant_id, '-'), payload, type_name) from tidings.events order by id desc limit 1")
        .await;
    assert_eq!(event, "TRUNCATE|open|-|{}|T");
}

#[tokio::test]
async fn cascaded_tables_are_captured_each() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.a (id int primary key); create table public.b (id int references a);
             select attach_trigger('a'); select attach_trigger('b'); truncate a cascade",
        )
        .await;
    assert_eq!(session.lines("select type_name from tidings.events order by type_name").await, ["A", "B"]);
}

#[tokio::test]
async fn a_partitioned_table_makes_one_event() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.p (id int) partition by range (id);
             create table public.p1 partition of p for values from (0) to (10);
             create table public.p2 partition of p for values from (10) to (20) partition by range (id);
             create table public.p2a partition of p2 for values from (10) to (15);
             select attach_trigger('p')",
        )
        .await;
    // Each of these is a transaction.
    session.run("truncate p").await;
    session.run("truncate p2a").await;
    session.run("truncate p1; insert into p values (1); truncate p1").await;
    assert_eq!(
        session.events().await,
        ["TRUNCATE {}", "TRUNCATE {}", "TRUNCATE {}", r#"INSERT {"id":1}"#, "TRUNCATE {}"]
    );
}

#[tokio::test]
async fn it_comes_with_delete_or_alone() {
    let database = Database::new().await;
    let session = database.connect().await;
    for (operations, expected) in [("{INSERT,UPDATE}", 0), ("{DELETE}", 1), ("{TRUNCATE}", 2)] {
        session
            .run(&format!(
                "create table if not exists public.t (id int); select attach_trigger('t', operations => '{operations}');
                 truncate t"
            ))
            .await;
        assert_eq!(session.events().await.len(), expected, "after {operations}");
    }
}
