//! Attachments follow their tables.

use crate::support::database::{Database, Session};

async fn attached() -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            r#"create schema shop; create table shop.t (id int primary key, tenant text, owner text, total int, secret text);
               select attach_trigger('shop.t', type_name => 'T', tenant_column => 'tenant', user_column => 'owner',
                   columns => '{id,total}', when_changed => '{total}', condition => 'total > 1', always => true)"#,
        )
        .await;
    (database, session)
}

const LAST: &str = "select concat_ws('|', channel, event_type, tenant_id, user_id, payload, changed_columns)
    from tidings.events order by id desc limit 1";

#[tokio::test]
async fn renames_of_table_schema_and_columns() {
    let (_database, session) = attached().await;
    session
        .run(
            r#"alter table shop.t rename column tenant to "The Tenant"; alter table shop.t rename column owner to o;
               alter table shop.t rename column total to "it's \ total"; alter table shop.t rename column id to key;
               alter table shop.t rename to tt; alter schema shop rename to store;
               insert into store.tt values (1, 'acme', 'ada', 5, 'x'), (2, 'acme', 'ada', 0, 'x');"#,
        )
        .await;
    assert_eq!(session.line(LAST).await, r#"shop.t|INSERT|acme|ada|{"key":1,"it's \\ total":5}"#);
    session
        .run(r#"update store.tt set secret = 'y'; update store.tt set "it's \ total" = 6 where key = 1"#)
        .await;
    assert_eq!(
        session.line(LAST).await,
        r#"shop.t|UPDATE|acme|ada|{"key":1,"it's \\ total":6}|{"it's \\ total"}"#
    );
    assert_eq!(session.line("select count(*) from tidings.events").await, "2");
    let registered = session
        .line("select concat_ws('|', target, tenant_column, user_column, columns, when_changed) from tidings.attachments")
        .await;
    assert_eq!(registered, r#"store.tt|The Tenant|o|{key,"it's \\ total"}|{"it's \\ total"}"#);
    // Still replaced, enabled and removed as a whole.
    assert_eq!(
        session.lines("select distinct tgenabled from pg_trigger where tgname like '!tidings%'").await,
        ["A"]
    );
    session.run("select detach_trigger('store.tt')").await;
    assert_eq!(session.line("select count(*) from pg_trigger where tgname like '!tidings%'").await, "0");
}

#[tokio::test]
async fn two_columns_that_swap_their_names() {
    let (_database, session) = attached().await;
    session
        .run(
            "alter table shop.t rename column tenant to x; alter table shop.t rename column owner to tenant;
             alter table shop.t rename column x to owner; insert into shop.t values (1, 'acme', 'ada', 5, 'x')",
        )
        .await;
    assert_eq!(session.line(LAST).await, r#"shop.t|INSERT|acme|ada|{"id":1,"total":5}"#);
}

#[tokio::test]
async fn a_renamed_column_of_a_partitioned_table() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.p (id int, tenant text) partition by range (id);
             create table public.p1 partition of p for values from (0) to (10);
             select attach_trigger('p', tenant_column => 'tenant', condition => 'tenant <> ''x''');
             alter table p rename column tenant to customer; insert into p values (1, 'acme'), (2, 'x'); insert into p1 values (3, 'b')",
        )
        .await;
    assert_eq!(
        session.lines("select tenant_id || payload from tidings.events order by id").await,
        [r#"acme{"id":1,"customer":"acme"}"#, r#"b{"id":3,"customer":"b"}"#]
    );
}

#[tokio::test]
async fn a_dropped_tenant_column_fails_closed_with_a_warning() {
    let (_database, mut session) = attached().await;
    session.notices().await;
    session.run("alter table shop.t drop column tenant").await;
    let notices = session.notices().await;
    assert!(
        notices.iter().any(|notice| notice.contains("\"tenant\"") && notice.starts_with("WARNING")),
        "{notices:?}"
    );
    session.run("insert into shop.t values (1, 'ada', 5, 'x')").await;
    let event = session
        .line("select concat_ws('|', audience, coalesce(tenant_id, 'nobody'), user_id) from tidings.events")
        .await;
    assert_eq!(event, "both|nobody|ada");
}

#[tokio::test]
async fn dropped_listed_columns_leave_the_list() {
    let (_database, session) = attached().await;
    session
        .run("select attach_trigger('shop.t', columns => '{id,secret,total}', when_changed => '{secret}')")
        .await;
    session.run("alter table shop.t drop column secret").await;
    assert_eq!(session.line("select columns || ' ' || coalesce(when_changed, 'all') from (select columns::text, when_changed::text from tidings.attachments) a").await, "{id,total} all");
    // Nothing is left to watch: too many events are better than none at all.
    session.run("insert into shop.t values (1, 'a', 'b', 5); update shop.t set total = 6").await;
    assert_eq!(session.events().await, [r#"INSERT {"id":1,"total":5}"#, r#"UPDATE {"id":1,"total":6}"#]);
}

#[tokio::test]
async fn dropping_the_table_removes_the_attachment() {
    let (_database, session) = attached().await;
    for statement in ["drop table shop.t", "drop schema shop cascade"] {
        session.run(statement).await;
        assert_eq!(session.line("select count(*) from tidings.attachments").await, "0", "after {statement}");
        assert_eq!(session.line("select count(*) from tidings.attached_columns").await, "0");
        session
            .run("create schema if not exists shop; create table shop.t (id int); select attach_trigger('shop.t')")
            .await;
    }
}

#[tokio::test]
async fn a_dropped_trigger_is_warned_about() {
    let (_database, mut session) = attached().await;
    session.notices().await;
    session.run("drop trigger \"!tidings_delete\" on shop.t").await;
    assert_eq!(session.notices().await, ["WARNING: DELETE of shop.t is no longer captured"]);
}

#[tokio::test]
async fn the_owner_needs_no_grant_for_a_rename() {
    let (database, session) = attached().await;
    let owner = database.role().await;
    session
        .run(&format!("grant usage, create on schema shop to {owner}; alter table shop.t owner to {owner}"))
        .await;
    let owning = database.connect_as(&owner).await;
    owning
        .run("alter table shop.t rename column tenant to customer; insert into shop.t values (1, 'acme', 'ada', 5, 'x'); drop table shop.t")
        .await;
    assert_eq!(session.line(LAST).await, r#"shop.t|INSERT|acme|ada|{"id":1,"total":5}"#);
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "0");
}

#[tokio::test]
async fn a_rename_in_a_rolled_back_transaction_changes_nothing() {
    let (_database, session) = attached().await;
    session.run("begin; alter table shop.t rename column tenant to x; rollback; insert into shop.t values (1, 'acme', 'ada', 5, 'x')").await;
    assert_eq!(session.line(LAST).await, r#"shop.t|INSERT|acme|ada|{"id":1,"total":5}"#);
    assert_eq!(session.line("select tenant_column from tidings.attachments").await, "tenant");
}

#[tokio::test]
async fn a_rename_reaches_a_session_that_has_written_before() {
    let (database, session) = attached().await;
    let writer = database.connect().await;
    writer.run("insert into shop.t values (1, 'acme', 'ada', 5, 'x')").await;
    session.run("alter table shop.t rename column total to sum; alter table shop.t rename column tenant to customer").await;
    writer.run("insert into shop.t values (2, 'acme', 'ada', 5, 'x')").await;
    assert_eq!(session.line(LAST).await, r#"shop.t|INSERT|acme|ada|{"id":2,"sum":5}"#);
}

#[tokio::test]
async fn what_a_replica_session_dropped_is_forgotten_by_maintenance() {
    let (_database, session) = attached().await;
    session.run("set session_replication_role = replica; drop table shop.t").await;
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "1");
    session.run("set session_replication_role = origin; select tidings.maintain()").await;
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "0");
    assert_eq!(session.line("select count(*) from tidings.attached_columns").await, "0");
}
