//! The GUCs.

use crate::support::database::Database;

#[tokio::test]
async fn metadata_set_once_goes_with_every_event_of_the_transaction() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            r#"create table public.t (id int primary key); select attach_trigger('t');
            begin; select set_config('tidings.metadata', '{"actor":"ada"}', true);
            insert into t values (1); select publish_event('c', 'e', '{}');
            select publish_event('c', 'e', '{}', metadata => '{"own":1}'); commit;
            insert into t values (2);"#,
        )
        .await;
    let metadata = session.lines("select metadata from tidings.events order by id").await;
    assert_eq!(metadata, [r#"{"actor":"ada"}"#, r#"{"actor":"ada"}"#, r#"{"own": 1}"#, "null"]);
}

#[tokio::test]
async fn bad_metadata_is_stored_as_null_with_one_warning() {
    let database = Database::new().await;
    let mut session = database.connect().await;
    session
        .run("create table public.t (id int primary key); select attach_trigger('t', tenant_column => 'id')")
        .await;
    session.notices().await;
    for bad in ["{oops", "{} {}", "nul"] {
        session
            .run(&format!(
                "begin; set local tidings.metadata = '{bad}'; insert into t select max(id) + n from
                 (select coalesce(max(id), 0) id from t) t, generate_series(1, 3) n group by n; commit"
            ))
            .await;
        let warnings = session.notices().await;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("tidings.metadata is not valid JSON"), "{warnings:?}");
    }
    assert_eq!(session.line("select count(*) from tidings.events where metadata is null").await, "9");
}

#[tokio::test]
async fn an_application_cannot_change_what_administrators_decide() {
    let database = Database::new().await;
    let role = database.role().await;
    let session = database.connect_as(&role).await;
    database.connect().await.run(&format!("grant create on schema public to {role}")).await;
    // Loads the library, which then knows its settings.
    session.run("create table public.mine (id int)").await;
    let admin = database.connect().await;
    admin.run("select attach_trigger('mine', operations => '{INSERT}')").await;
    session.run("insert into mine values (1)").await;
    for setting in
        ["max_event_bytes = 100000000", "retention = 10", "force_sync_commit = off", "max_size = 1"]
    {
        let refusal = session.refused(&format!("set tidings.{setting}")).await;
        assert!(refusal.message.contains("permission denied"), "{refusal:?}");
    }
    session.run("set tidings.notify = off").await;
}

#[tokio::test]
async fn a_mistyped_setting_is_refused() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("load 'tidings'").await;
    session.refused("set tidings.metdata = 'x'").await;
}

#[tokio::test]
async fn a_transaction_with_events_commits_synchronously() {
    // Its commit record is on disk when the client hears of it, although the session asked for less.
    // Many rounds, because somebody else's flush could cover one by chance.
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("set synchronous_commit = off").await;
    for _ in 0..30 {
        session.run("begin; select publish_event('c', 'e', '{}')").await;
        let before_commit = session.line("select pg_current_wal_insert_lsn()").await;
        session.run("commit").await;
        let flushed = session.line(&format!("select pg_current_wal_flush_lsn() > '{before_commit}'")).await;
        assert_eq!(flushed, "t");
    }
}
