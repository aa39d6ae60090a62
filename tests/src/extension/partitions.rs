//! Partitioned tables: attached once, captured everywhere.

use crate::support::database::{Database, Session};

async fn partitioned() -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.p (id int, note text, primary key (id)) partition by range (id);
             create table public.p1 partition of p for values from (0) to (10);
             create table public.p2 (note text, gone int, id int not null);
             alter table p2 drop column gone; alter table p attach partition p2 for values from (10) to (20);
             select attach_trigger('p', type_name => 'Part', include_old => true)",
        )
        .await;
    (database, session)
}

#[tokio::test]
async fn the_parent_and_direct_writes_to_a_partition() {
    let (_database, session) = partitioned().await;
    session
        .run("insert into p values (1, 'a'), (11, 'b'); insert into p2 (id, note) values (12, 'c'); update p2 set note = 'd' where id = 12; delete from p1")
        .await;
    let seen = session
        .lines("select concat_ws(' ', channel, type_name, event_type, payload, old_payload) from tidings.events order by id")
        .await;
    assert_eq!(
        seen,
        [
            r#"public.p Part INSERT {"id":1,"note":"a"}"#,
            r#"public.p Part INSERT {"note":"b","id":11}"#,
            r#"public.p Part INSERT {"note":"c","id":12}"#,
            r#"public.p Part UPDATE {"note":"d","id":12} {"note":"c","id":12}"#,
            r#"public.p Part DELETE {"id":1,"note":"a"}"#,
        ]
    );
}

#[tokio::test]
async fn a_row_that_moves_to_another_partition() {
    let (_database, session) = partitioned().await;
    session.run("insert into p values (1, 'a'); update p set id = 11").await;
    assert_eq!(
        session.events().await,
        [r#"INSERT {"id":1,"note":"a"}"#, r#"DELETE {"id":1,"note":"a"}"#, r#"INSERT {"note":"a","id":11}"#]
    );
}

#[tokio::test]
async fn partitions_made_or_added_later() {
    let (_database, session) = partitioned().await;
    session
        .run(
            "create table public.p3 partition of p for values from (20) to (30);
             create table public.p4 (id int not null, note text);
             alter table p attach partition p4 for values from (30) to (40);
             insert into p3 values (21, 'x'); insert into p values (31, 'y')",
        )
        .await;
    session.run("truncate p3").await;
    session.run("truncate p4").await;
    assert_eq!(
        session.events().await,
        [r#"INSERT {"id":21,"note":"x"}"#, r#"INSERT {"id":31,"note":"y"}"#, "TRUNCATE {}", "TRUNCATE {}"]
    );
}

#[tokio::test]
async fn a_detached_partition_is_left_alone() {
    let (_database, session) = partitioned().await;
    session.run("alter table p detach partition p1; insert into p1 values (1, 'a'); truncate p1").await;
    assert!(session.events().await.is_empty());
    assert_eq!(session.line("select count(*) from pg_trigger where tgrelid = 'p1'::regclass").await, "0");
    session.run("drop table p2; insert into p1 values (1, 'a'); select detach_trigger('p')").await;
}

#[tokio::test]
async fn always_and_reattaching_reach_every_partition() {
    let (_database, session) = partitioned().await;
    session
        .run("select attach_trigger('p', type_name => 'Again', always => true, when_changed => '{note}')")
        .await;
    session
        .run(
            "set session_replication_role = replica; create table public.p3 partition of p for values from (20) to (30);
             insert into p values (1, 'a'), (11, 'b'); update p set id = id; update p1 set note = 'z'; truncate p2",
        )
        .await;
    assert_eq!(
        session.lines("select type_name || ' ' || event_type from tidings.events order by id").await,
        ["Again INSERT", "Again INSERT", "Again UPDATE", "Again TRUNCATE"]
    );
    session.run("set session_replication_role = origin; select detach_trigger('p')").await;
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "0");
}

#[tokio::test]
async fn a_partition_of_an_attached_parent_cannot_be_attached_again() {
    let (_database, session) = partitioned().await;
    session
        .refused("select attach_trigger('p1')")
        .await
        .assert_names("partition of public.p, which is attached");
    session.run("select detach_trigger('p'); select attach_trigger('p1')").await;
    let refusal = session.refused("select attach_trigger('p')").await;
    refusal.assert_names("public.p1");
    assert!(refusal.hint.is_some_and(|hint| hint.contains("detach_trigger('public.p1')")));
}
