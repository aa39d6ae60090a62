//! `publish_event`.

use crate::support::database::Database;

#[tokio::test]
async fn an_event_is_stored_with_everything_it_was_given() {
    let database = Database::new().await;
    let session = database.connect().await;
    let id = session
        .line(
            r#"select publish_event('chat', 'posted', '{"room":"7"}', tenant_id => 'acme', user_id => 'ada',
               metadata => '{"actor":"bob"}')"#,
        )
        .await;
    let stored = session
        .line(
            "select concat_ws('|', id, channel, event_type, coalesce(type_name, '-'), audience, tenant_id, user_id,
                payload, coalesce(old_payload::text, '-'), metadata, truncated,
                created_at between now() - interval '1 minute' and clock_timestamp())
             from tidings.events",
        )
        .await;
    assert_eq!(
        stored,
        format!(r#"{id}|chat|posted|-|both|acme|ada|{{"room": "7"}}|-|{{"actor": "bob"}}|f|t"#)
    );
}

#[tokio::test]
async fn the_audience_is_what_was_named() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "select publish_event('c', 'e', '{}');
             select publish_event('c', 'e', '{}', tenant_id => 't');
             select publish_event('c', 'e', '{}', user_id => 'u');
             select publish_event('c', 'e', '{}', tenant_id => 't', user_id => 'u');",
        )
        .await;
    let audiences = session.lines("select audience from tidings.events order by id").await;
    assert_eq!(audiences, ["open", "tenant", "user", "both"]);
}

#[tokio::test]
async fn the_xid_is_the_top_level_transaction() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run("begin; savepoint a; savepoint b; select publish_event('c', 'e', '{}'); release b; release a")
        .await;
    let same = session.line("select xid = pg_current_xact_id() from tidings.events").await;
    session.run("commit").await;
    assert_eq!(same, "t");
}

#[tokio::test]
async fn rolled_back_events_do_not_exist() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "begin; select publish_event('c', 'gone', '{}'); rollback;
             begin; select publish_event('c', 'kept', '{}'); savepoint s; select publish_event('c', 'gone', '{}');
             rollback to s; select publish_event('c', 'kept', '{}'); commit;",
        )
        .await;
    assert_eq!(session.events().await, ["kept {}", "kept {}"]);
}

#[tokio::test]
async fn payloads_of_8_000_bytes_and_900_kilobytes_are_stored() {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "select publish_event('c', 'e', jsonb_build_object('text', repeat('x', 8000)));
             select publish_event('c', 'e', jsonb_build_object('text', repeat('x', 900000)));",
        )
        .await;
    let sizes = session.lines("select length(payload ->> 'text') from tidings.events order by id").await;
    assert_eq!(sizes, ["8000", "900000"]);
}

#[tokio::test]
async fn bad_arguments_are_named_and_store_nothing() {
    let database = Database::new().await;
    let session = database.connect().await;
    let cases = [
        ("channel", "publish_event(null, 'e', '{}')"),
        ("channel", "publish_event('', 'e', '{}')"),
        ("channel", "publish_event(repeat('c', 64), 'e', '{}')"),
        ("channel", "publish_event(repeat('ü', 32), 'e', '{}')"),
        ("event_type", "publish_event('c', null, '{}')"),
        ("event_type", "publish_event('c', '', '{}')"),
        ("event_type", "publish_event('c', repeat('e', 256), '{}')"),
        ("data", "publish_event('c', 'e', null)"),
        ("data", "publish_event('c', 'e', 'null')"),
        ("data", "publish_event('c', 'e', to_jsonb(repeat('x', 1100000)))"),
        ("metadata", "publish_event('c', 'e', '{}', metadata => to_jsonb(repeat('x', 1100000)))"),
        ("tenant_id", "publish_event('c', 'e', '{}', tenant_id => '')"),
        ("user_id", "publish_event('c', 'e', '{}', user_id => '')"),
        ("user_id", "publish_event('c', 'e', '{}', user_id => repeat('u', 256))"),
    ];
    for (argument, call) in cases {
        session.refused(&format!("select {call}")).await.assert_names(argument);
    }
    session.run("select publish_event(repeat('c', 63), 'e', '{}')").await;
    assert_eq!(session.line("select count(*) from tidings.events").await, "1");
}

#[tokio::test]
async fn a_payload_over_the_limit_names_the_setting() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("load 'tidings'; set tidings.max_event_bytes = 2000").await;
    let refusal = session.refused("select publish_event('c', 'e', to_jsonb(repeat('x', 2000)))").await;
    refusal.assert_names("tidings.max_event_bytes");
    session.run("select publish_event('c', 'e', to_jsonb(repeat('x', 1998)))").await;
}

#[tokio::test]
async fn a_read_only_transaction_is_told_so() {
    let database = Database::new().await;
    let session = database.connect().await;
    let refusal = session.refused("begin read only; select publish_event('c', 'e', '{}')").await;
    assert!(refusal.message.contains("publish_event"), "{refusal:?}");
}
