//! pg_dump and restore keep what is attached and carry no events.

use crate::support::daemon::{Daemon, token};
use crate::support::database::{Database, within};
use crate::support::sse::Sse;
use tokio::process::Command;

async fn output(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    let done = within(program, command.output())
        .await
        .unwrap_or_else(|error| panic!("{program} should run: {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("a dump is text")
}

async fn copy(from: &Database, to: &Database, options: &[&str]) {
    let source = from.conninfo();
    let dump = output("pg_dump", &[options, &["--dbname", &source]].concat()).await;
    let file = std::env::temp_dir().join(format!("tidings-dump-{}-{:p}.sql", std::process::id(), to));
    std::fs::write(&file, dump).expect("the dump should be written");
    let target = to.conninfo();
    output(
        "psql",
        &["-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", &target, "-f", &file.to_string_lossy()],
    )
    .await;
    std::fs::remove_file(&file).expect("the dump should be removed");
}

const SETUP: &str = r#"
    create schema shop;
    create table shop.t (id int primary key, gone int, tenant text, total int);
    alter table shop.t drop column gone;
    create table shop.p (id int, "It's" text) partition by range (id);
    create table shop.p1 partition of shop.p for values from (0) to (10);
    select attach_trigger('shop.t', type_name => 'T', tenant_column => 'tenant', condition => 'total > 1', always => true);
    select attach_trigger('shop.p', type_name => 'P', tenant_column => 'It''s', columns => '{id}');
    select define_subscriptions('type Seen { by: String } extend type Subscription { seen: Seen @event(channel: "seen") }', 'seen');
    select define_subscriptions('extend type Seen { change: TChange }');
    insert into shop.t values (1, 'acme', 5);
    insert into shop.p values (1, 'acme');
    select publish_event('c', 'e', '{}');
    select tidings.kick(user_id => 'alice');
"#;

#[tokio::test]
async fn attachments_are_kept_and_events_are_not() {
    let (original, restored) = (Database::new().await, Database::empty().await);
    let session = original.connect().await;
    session.run(SETUP).await;
    copy(&original, &restored, &[]).await;

    let copied = restored.connect().await;
    assert!(copied.events().await.is_empty());
    assert_eq!(copied.line("select tidings.kick(user_id => 'bob')").await, "2", "numbers go on");
    copied.run("select tidings.lift_kick(2)").await;
    let registered =
        "select string_agg(to_jsonb(a)::text, ' ' order by type_name) from tidings.attachments a";
    assert_eq!(copied.line(registered).await, session.line(registered).await);
    for kept in ["tidings.definitions", "tidings.defined_names", "tidings.revocations"] {
        let lines = format!("select to_jsonb(d)::text from {kept} d order by 1");
        assert_eq!(copied.lines(&lines).await, session.lines(&lines).await);
    }
    copied.refused("select attach_trigger('shop.t', type_name => 'Seen')").await.assert_names("Seen");
    copied.refused("select drop_subscriptions('seen')").await.assert_names("default");
    copied.run("select define_subscriptions('scalar X'), drop_subscriptions('seen')").await;
    assert_ne!(
        copied.line("select tidings.history_id()").await,
        session.line("select tidings.history_id()").await
    );

    copied
        .run(
            "insert into shop.t values (2, 'acme', 5), (3, 'acme', 0); insert into shop.p values (2, 'b');
             set session_replication_role = replica; delete from shop.t where id = 2",
        )
        .await;
    copied.run("truncate shop.p1").await;
    assert_eq!(
        copied
            .lines("select concat_ws(' ', event_type, tenant_id, payload) from tidings.events order by id")
            .await,
        [
            r#"INSERT acme {"id":2,"tenant":"acme","total":5}"#,
            r#"INSERT b {"id":2}"#,
            r#"DELETE acme {"id":2,"tenant":"acme","total":5}"#,
        ]
    );
}

#[tokio::test]
async fn a_restored_attachment_follows_renames_and_goes_with_the_extension() {
    let (original, restored) = (Database::new().await, Database::empty().await);
    original.connect().await.run(SETUP).await;
    copy(&original, &restored, &[]).await;
    let session = restored.connect().await;
    session
        .run("alter table shop.t rename column tenant to customer; alter table shop.t rename column total to sum")
        .await;
    session.run("insert into shop.t values (2, 'acme', 5)").await;
    assert_eq!(
        session.lines("select tenant_id || payload from tidings.events").await,
        [r#"acme{"id":2,"customer":"acme","sum":5}"#]
    );
    session.run("drop extension tidings; insert into shop.t values (3, 'x', 1)").await;
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "0");
}

#[tokio::test]
async fn one_dumped_table_without_its_registration_can_be_written() {
    let (original, restored) = (Database::new().await, Database::new().await);
    original.connect().await.run(SETUP).await;
    let session = restored.connect().await;
    session.run("create schema shop").await;
    copy(&original, &restored, &["--table", "shop.t"]).await;
    session.run("insert into shop.t values (2, 'acme', 5)").await;
    assert_eq!(session.events().await.len(), 1);
    session.run("select detach_trigger('shop.t')").await;
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "0");
}

/// What a restored copy has is another history: the place of the original is taken while a daemon follows it.
#[tokio::test]
async fn a_copy_that_takes_the_place_of_the_original_is_told_to_everybody() {
    let (original, restored) = (Database::new().await, Database::empty().await);
    original.connect().await.run("select publish_event('c', 'e', '1')").await;
    copy(&original, &restored, &[]).await;
    let daemon = Daemon::start(&original.conninfo()).await;
    let ann = token("ann", "acme");
    let query = r#"subscription { events(channel: "c") { data } }"#;
    let mut stream = Sse::open(&daemon, &ann, query).await;
    let session = original.connect().await;
    session.run("select publish_event('c', 'e', '2')").await;
    let cursor = stream.next().await["extensions"]["cursor"].as_str().unwrap().to_owned();
    let old = session.line("select current_database()").await;
    let new = restored.connect().await.line("select current_database()").await;
    drop(session);
    let elsewhere = Database::empty().await;
    let operator = elsewhere.connect().await;
    operator.run(&format!("alter database {old} allow_connections false")).await;
    let others = format!("from pg_stat_activity where datname in ('{old}', '{new}')");
    within("the end of all connections", async {
        operator.run(&format!("select pg_terminate_backend(pid) {others}")).await;
        while operator.line(&format!("select count(*) {others}")).await != "0" {}
    })
    .await;
    for (from, to) in [(&old, "put_aside"), (&new, old.as_str()), (&"put_aside".to_owned(), new.as_str())] {
        operator.run(&format!("alter database {from} rename to {to}")).await;
    }
    let told = stream.next().await["errors"][0]["extensions"].take();
    assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
    let mut back = Sse::resume(&daemon, &ann, query, &cursor).await;
    let told = back.next().await["errors"][0]["extensions"].take();
    assert_eq!(told["code"], "CURSOR_HISTORY_CHANGED", "{told}");
    let mut back = Sse::resume(&daemon, &ann, query, told["oldestCursor"].as_str().unwrap()).await;
    original.connect().await.run("select publish_event('c', 'e', '3')").await;
    assert_eq!(back.next().await["data"]["events"]["data"], 3, "a copy has no events of the original");
}
