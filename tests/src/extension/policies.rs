//! What the extension says about the policies of a table that is attached with row_security.

use crate::support::database::{Database, Session, heard};

/// A table with a policy for everybody, and a reader that is a member of a group.
async fn documents() -> (Database, Session, String, String) {
    let database = Database::new().await;
    let session = database.connect().await;
    let (reader, group) = (database.role().await, database.role().await);
    session
        .run(&format!(
            r#"grant {group} to {reader};
               create schema "My app"; grant usage on schema "My app" to {group};
               create table "My app"."My docs" (id int primary key, tenant text, owner text, secret text);
               grant select (id, tenant, owner) on "My app"."My docs" to {group};
               alter table "My app"."My docs" enable row level security;
               select attach_trigger('"My app"."My docs"', type_name => 'Doc', row_security => true)"#
        ))
        .await;
    (database, session, reader, group)
}

async fn told(session: &Session, role: &str) -> String {
    session
        .line(&format!(
            r#"select concat_ws('|', relation, alias, regexp_replace(condition, '\s+', ' ', 'g'), reads::text, hidden::text)
               from tidings.select_policies('"My app"."My docs"'::regclass, '{role}')"#
        ))
        .await
}

const TABLE: &str = r#""My app"."My docs"|"My docs"|"#;

#[tokio::test]
async fn the_condition_is_what_a_select_would_get() {
    let (_database, session, reader, group) = documents().await;
    assert_eq!(told(&session, &reader).await, format!("{TABLE}false|{{}}|{{secret}}"), "no policy");
    session
        .run(&format!(
            r#"create policy a on "My app"."My docs" for select using (tenant = 'x');
               create policy b on "My app"."My docs" for all to {group} using (secret is null);
               create policy c on "My app"."My docs" as restrictive using (owner <> 'eve');
               create policy d on "My app"."My docs" for update using (id = 1);
               create policy e on "My app"."My docs" for select to postgres using (id = 2)"#
        ))
        .await;
    assert_eq!(
        told(&session, &reader).await,
        format!(
            "{TABLE}(((tenant = 'x'::text)) or ((secret IS NULL))) and ((owner <> 'eve'::text))\
             |{{owner,secret,tenant}}|{{secret}}"
        )
    );
    assert_eq!(told(&session, "postgres").await, format!("{TABLE}{{}}|{{}}"), "a superuser sees every row");
    session.run(&format!(r#"revoke all on "My app"."My docs" from {group}"#)).await;
    assert!(told(&session, &reader).await.starts_with(&format!("{TABLE}false|")), "no privilege");
    session.run(&format!(r#"grant select on "My app"."My docs" to {reader}"#)).await;
    session.run(&format!(r#"alter table "My app"."My docs" owner to {group}"#)).await;
    assert_eq!(told(&session, &reader).await, format!("{TABLE}{{}}|{{}}"), "an owner sees every row");
    session.run(r#"alter table "My app"."My docs" force row level security"#).await;
    assert!(told(&session, &reader).await.contains("(tenant = 'x'::text)"), "unless it is forced");
    session.run(r#"alter table "My app"."My docs" disable row level security"#).await;
    assert_eq!(told(&session, &reader).await, format!("{TABLE}{{}}|{{}}"), "row security is off");
}

#[tokio::test]
async fn whoever_is_no_role_and_what_is_not_attached_so_gets_no_condition() {
    let (_database, session, reader, _group) = documents().await;
    let of = |role: &str| {
        format!(r#"select condition from tidings.select_policies('"My app"."My docs"'::regclass, '{role}')"#)
    };
    assert!(session.lines(&of("nobody at all")).await.is_empty());
    session.run(r#"select attach_trigger('"My app"."My docs"', tenant_column => 'tenant')"#).await;
    assert!(session.lines(&of(&reader)).await.is_empty());
}

#[tokio::test]
async fn a_policy_over_what_events_do_not_have_is_refused() {
    let (_database, session, reader, _group) = documents().await;
    let attach =
        r#"select attach_trigger('"My app"."My docs"', row_security => true, columns => '{tenant}')"#;
    session.run(attach).await;
    for (condition, named) in [
        ("owner = 'x'", "\"owner\""),
        (r#"exists (select from pg_class where relname = "My docs".owner)"#, "\"owner\""),
        (r#""My docs" is not null"#, "\"owner\", \"secret\""),
        ("ctid is not null", "a system column"),
    ] {
        let create = format!(r#"create policy p on "My app"."My docs" for select using ({condition})"#);
        session.run(&create).await;
        let refusal = session.refused(attach).await;
        refusal.assert_names(named);
        refusal.assert_names("policy \"p\"");
        session.run(r#"drop policy p on "My app"."My docs""#).await;
    }
    session.run(r#"create policy p on "My app"."My docs" for select using (ctid is not null)"#).await;
    assert!(told(&session, &reader).await.starts_with(&format!("{TABLE}false|")));
}

#[tokio::test]
async fn warnings_say_who_will_see_the_changes() {
    let (_database, mut session, _reader, _group) = documents().await;
    session.notices().await;
    session.run(r#"select attach_trigger('"My app"."My docs"', row_security => true)"#).await;
    assert!(session.notices().await.is_empty());
    session
        .run(
            r#"alter table "My app"."My docs" disable row level security;
               select attach_trigger('"My app"."My docs"', row_security => true)"#,
        )
        .await;
    let notices = session.notices().await;
    assert!(notices.len() == 1 && notices[0].contains("is not enabled"), "{notices:?}");
}

#[tokio::test]
async fn whoever_follows_is_told_of_policies_and_privileges() {
    let (database, session, reader, _group) = documents().await;
    let mut listener = database.connect().await;
    listener.run("listen tidings_schema").await;
    let changes = [
        r#"create policy p on "My app"."My docs" using (true)"#.to_owned(),
        r#"alter policy p on "My app"."My docs" using (false)"#.to_owned(),
        r#"drop policy p on "My app"."My docs""#.to_owned(),
        r#"alter table "My app"."My docs" force row level security"#.to_owned(),
        format!(r#"grant select on "My app"."My docs" to {reader}"#),
        format!(r#"revoke select on "My app"."My docs" from {reader}"#),
    ];
    for change in &changes {
        session.run(change).await;
        assert_eq!(heard(&mut listener, "tidings_schema", &session).await, ["tidings_schema:"], "{change}");
    }
    session.run(r#"select attach_trigger('"My app"."My docs"', tenant_column => 'tenant')"#).await;
    heard(&mut listener, "tidings_schema", &session).await;
    for change in [0, 1, 2, 4, 5].map(|index| &changes[index]) {
        session.run(change).await;
        assert!(heard(&mut listener, "tidings_schema", &session).await.is_empty(), "{change}");
    }
}

#[tokio::test]
async fn the_daemon_may_ask_and_others_may_not() {
    let (database, session, reader, _group) = documents().await;
    let role = database.role().await;
    session
        .run(&format!("select tidings.grant_daemon('{role}'); grant usage on schema tidings to {reader}"))
        .await;
    let oid = session.line(r#"select '"My app"."My docs"'::regclass::oid"#).await;
    let ask = format!("select count(*) from tidings.select_policies({oid}, '{reader}')");
    assert_eq!(database.connect_as(&role).await.line(&ask).await, "1");
    let refusal = database.connect_as(&reader).await.refused(&ask).await;
    assert_eq!(refusal.code, tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE);
}
