//! CREATE EXTENSION and DROP EXTENSION.

use crate::support::database::Database;

#[tokio::test]
async fn the_functions_go_to_the_chosen_schema() {
    let database = Database::empty().await;
    let session = database.connect().await;
    session.run("create schema \"My Apps\"; create extension tidings schema \"My Apps\"").await;
    let role = database.role().await;
    session
        .run(&format!(
            "create table public.t (id int); select \"My Apps\".attach_trigger('t'); insert into t values (1);
             select \"My Apps\".publish_event('c', 'e', '{{}}'); select tidings.grant_publisher('{role}');
             select \"My Apps\".detach_trigger('t')"
        ))
        .await;
    assert_eq!(session.line("select count(*) from tidings.events").await, "2");
}

#[tokio::test]
async fn the_internal_schema_is_refused() {
    let database = Database::empty().await;
    let session = database.connect().await;
    session.run("create schema tidings").await;
    session.refused("create extension tidings schema tidings").await.assert_names("schema tidings");
    // A schema that is already there may hold anything, so it is not taken over.
    session.refused("create extension tidings").await;
    session.run("drop schema tidings; create extension tidings").await;
}

#[tokio::test]
async fn drop_extension_leaves_nothing_behind() {
    let database = Database::empty().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, total int); create table public.p (id int) partition by range (id);
             create table public.p1 partition of p for values from (0) to (10)",
        )
        .await;
    let everything = "select string_agg(kind || ':' || name, ' ' order by kind, name) from (
            select 'relation', oid::regclass::text from pg_class where relnamespace not in
                ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace, 'information_schema'::regnamespace)
            union all select 'function', oid::regprocedure::text from pg_proc where oid >= 16384
            union all select 'trigger', tgname || tgrelid::regclass from pg_trigger
            union all select 'event trigger', evtname from pg_event_trigger
            union all select 'schema', nspname from pg_namespace where oid >= 16384 and nspname !~ '^pg_'
            union all select 'type', typname from pg_type where oid >= 16384
        ) o (kind, name)";
    let before = session.line(everything).await;
    session
        .run(
            "create extension tidings; select attach_trigger('t', condition => 'total > 1', always => true);
             select attach_trigger('p'); alter table p rename column id to key; alter table p rename column key to id;
             insert into t values (1, 2); insert into p values (1); select publish_event('c', 'e', '{}');
             select tidings.maintain()",
        )
        .await;
    session.run("drop extension tidings").await;
    assert_eq!(session.line(everything).await, before);
    session.run("insert into t values (2, 2); update t set total = 3; truncate t, p").await;
    // And it can come back, also in the session that has the library and its plans.
    session.run("create extension tidings; select attach_trigger('t'); insert into t values (3, 3)").await;
    session.run("select publish_event('c', 'e', '{}')").await;
    assert_eq!(session.events().await, [r#"INSERT {"id":3,"total":3}"#, "e {}"]);
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let database = Database::empty().await;
    let session = database.connect().await;
    let other = format!("{}_latin", session.line("select current_database()").await);
    session.run(&format!("create database {other} encoding 'LATIN1' locale 'C' template template0")).await;
    let conninfo = format!("{} dbname={other}", database.conninfo());
    let tried = tokio::process::Command::new("psql")
        .args(["-X", "--dbname", &conninfo, "-c", "create extension tidings"])
        .output()
        .await
        .expect("psql should run");
    session.run(&format!("drop database {other} with (force)")).await;
    let said = String::from_utf8_lossy(&tried.stderr).into_owned();
    assert!(said.contains("UTF8") && said.contains("HINT"), "{said}");
}

#[tokio::test]
async fn the_history_id_is_stable_within_a_history() {
    let database = Database::new().await;
    let (one, two) = (database.connect().await, database.connect().await);
    let id = one.line("select tidings.history_id()").await;
    assert_eq!(id, two.line("select tidings.history_id()").await);
    for known in ["null, null".into(), format!("{id}, null"), format!("{id}, 0"), "0, 1000".into()] {
        let begun = one.line(&format!("select tidings.begin_history({known})")).await;
        assert_eq!(begun, "f", "nobody has seen more than there is: {known}");
    }
    assert_eq!(id, two.line("select tidings.history_id()").await);
    one.run("drop extension tidings; create extension tidings").await;
    assert_ne!(id, one.line("select tidings.history_id()").await);
}
