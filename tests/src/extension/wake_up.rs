//! NOTIFY tidings: a hint, sent once per transaction, and never for what was rolled back.

use crate::support::database::{Database, heard};

async fn heard_after(statements: &str) -> Vec<String> {
    let database = Database::new().await;
    let mut listener = database.connect().await;
    let publisher = database.connect().await;
    publisher.run("create table public.t (id int primary key, note text); select attach_trigger('t')").await;
    listener.run("listen tidings").await;
    publisher.run(statements).await;
    heard(&mut listener, "tidings", &publisher).await
}

#[tokio::test]
async fn one_per_transaction_however_many_events() {
    let heard = heard_after(
        "begin; insert into t select n from generate_series(1, 50) n; select publish_event('c', 'e', '{}');
         update t set note = 'x'; commit",
    )
    .await;
    assert_eq!(heard, ["tidings:"]);
}

#[tokio::test]
async fn one_for_each_transaction() {
    let heard = heard_after("insert into t values (1)").await;
    assert_eq!(heard, ["tidings:"]);
    let heard =
        heard_after("begin; insert into t values (1); commit; begin; insert into t values (2); commit").await;
    assert_eq!(heard, ["tidings:", "tidings:"]);
}

#[tokio::test]
async fn none_after_a_rollback() {
    assert!(heard_after("begin; insert into t values (1); rollback").await.is_empty());
}

#[tokio::test]
async fn a_rolled_back_savepoint_does_not_swallow_it() {
    let heard = heard_after(
        "begin; savepoint a; insert into t values (1); rollback to a; insert into t values (2); commit",
    )
    .await;
    assert_eq!(heard, ["tidings:"]);
    let heard = heard_after(
        "begin; savepoint a; savepoint b; insert into t values (1); release b; rollback to a;
         insert into t values (2); commit",
    )
    .await;
    assert_eq!(heard, ["tidings:"]);
}

#[tokio::test]
async fn none_when_switched_off_and_the_event_is_stored() {
    let heard = heard_after("load 'tidings'; set tidings.notify = off; insert into t values (1)").await;
    assert!(heard.is_empty());
}

#[tokio::test]
async fn switched_off_a_transaction_can_be_prepared() {
    let database = Database::new().await;
    let session = database.connect().await;
    if session.line("show max_prepared_transactions").await == "0" {
        eprintln!("max_prepared_transactions is 0 on this cluster: skipped");
        return;
    }
    session.run("load 'tidings'; set tidings.notify = off").await;
    let name = session.line("select current_database()").await;
    session
        .run(&format!("begin; select publish_event('c', 'e', '{{}}'); prepare transaction '{name}'"))
        .await;
    assert!(session.events().await.is_empty());
    session.run(&format!("commit prepared '{name}'")).await;
    assert_eq!(session.events().await, ["e {}"]);
}

#[tokio::test]
async fn readers_of_the_schema_are_woken_when_it_changes() {
    let database = Database::new().await;
    let mut listener = database.connect().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key); create table public.other (id int);
             create type mood as enum ('ok'); create type pair as (a int, mood mood); create domain pairs as pair[];
             create type unused as enum ('ok'); create table public.part (id int)",
        )
        .await;
    listener.run("listen tidings_schema").await;
    let changes = [
        ("select attach_trigger('t')", true),
        ("alter table t add column note text", true),
        ("comment on column t.note is 'what it says'", true),
        ("alter table other add column note text", false),
        ("alter table t rename column note to remark", true),
        ("alter table t add column pairs pairs, add column part part", true),
        ("alter type mood add value 'sad'", true),
        ("alter type mood rename value 'sad' to 'blue'", true),
        ("alter type mood rename to feeling", true),
        ("alter type feeling set schema tidings", true),
        ("alter type pair add attribute b text", true),
        ("alter type pair rename attribute b to c", true),
        ("alter type pair drop attribute c", true),
        ("alter domain pairs add constraint few check (cardinality(value) < 10)", true),
        ("comment on type pair is 'two'", true),
        ("comment on column pair.a is 'the first'", true),
        ("comment on type tidings.feeling is 'how it feels'", true),
        ("comment on domain pairs is 'many'", true),
        ("comment on column part.id is 'its number'", true),
        ("alter table part add column more int", true),
        ("comment on type unused is 'not used'", false),
        ("comment on table other is 'not attached'", false),
        ("alter table t rename to tt", true),
        ("insert into tt values (1)", false),
        ("insert into tidings.definitions (name, sdl) values ('default', 'scalar X')", true),
        ("select detach_trigger('tt')", true),
    ];
    for (change, expected) in changes {
        session.run(change).await;
        let heard = heard(&mut listener, "tidings_schema", &session).await;
        assert_eq!(!heard.is_empty(), expected, "after {change}: {heard:?}");
    }
}
