//! Bad arguments of `attach_trigger`: named, explained, and nothing is left half attached.

use crate::support::database::{Database, Session};

async fn prepared() -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session
        .run(
            "create table public.t (id int primary key, tenant text, total int);
             create table public.string (id int); create table public.other (id int);
             create view public.v as select * from t; create materialized view public.mv as select * from t;
             create sequence public.s; create temp table temporary (id int);
             create foreign data wrapper nowhere; create server nowhere foreign data wrapper nowhere;
             create foreign table public.ft (id int) server nowhere;
             create table public.\"日本\" (id int);
             select attach_trigger('other', type_name => 'Other')",
        )
        .await;
    (database, session)
}

#[tokio::test]
async fn each_bad_argument_is_named_with_a_hint_and_changes_nothing() {
    let (_database, session) = prepared().await;
    let state = "select (select count(*) from tidings.attachments) || '/' || (select count(*) from tidings.attached_columns)
        || '/' || (select count(*) from pg_trigger where tgname like '!tidings%')";
    let before = session.line(state).await;
    let cases = [
        ("target", "null"),
        ("a view", "'v'"),
        ("a materialized view", "'mv'"),
        ("a foreign table", "'ft'"),
        ("a sequence", "'s'"),
        ("an index", "'t_pkey'"),
        ("a temporary table", "'temporary'"),
        ("a system catalog", "'pg_class'"),
        ("the extension itself", "'tidings.events'"),
        ("there is no relation", "4000000000::oid"),
        ("type_name", "'t', type_name => ''"),
        ("type_name", "'t', type_name => '1st'"),
        ("type_name", "'t', type_name => '__T'"),
        ("type_name", "'t', type_name => 'Över'"),
        ("type_name", "'t', type_name => 'Subscription'"),
        ("type_name", "'string'"),
        ("type_name", "'日本'"),
        ("type_name", "'t', type_name => 'Other'"),
        ("type_name", "'t', type_name => 'other'"),
        ("type_name", "'t', type_name => 'OtherChange'"),
        ("channel", "'t', channel => ''"),
        ("channel", "'t', channel => repeat('c', 64)"),
        ("tenant_column", "'t', tenant_column => 'nope'"),
        ("user_column", "'t', user_column => 'nope'"),
        ("columns", "'t', columns => '{id,nope}'"),
        ("columns", "'t', columns => '{}'"),
        ("columns", "'t', columns => array[null]::name[]"),
        ("when_changed", "'t', when_changed => '{nope}'"),
        ("when_changed", "'t', when_changed => '{total}', operations => '{INSERT}'"),
        ("operations", "'t', operations => '{}'"),
        ("operations", "'t', operations => null"),
        ("operations", "'t', operations => '{SELECT}'"),
        ("operations", "'t', operations => array[null]"),
        ("condition", "'t', condition => ''"),
        ("condition", "'t', condition => 'total >'"),
        ("condition", "'t', condition => 'total > 1, true'"),
        ("condition", "'t', condition => 'total > 1 from t'"),
        ("condition", "'t', condition => 'true) execute function boom() --'"),
        ("condition", "'t', condition => 'true) or (true'"),
        ("condition", "'t', condition => 'true; drop table t'"),
        ("condition", "'t', condition => 'true /*'"),
        ("condition", "'t', condition => 'true union select true'"),
        ("condition", "'t', condition => 'nope = 1'"),
        ("condition", "'t', condition => 'total'"),
        ("condition", "'t', condition => 'total = ''x''::date'"),
        ("condition", "'t', condition => 'total > (select 1)'"),
        ("condition", "'t', condition => 'no_such_function(total)'"),
        ("condition", "'t', condition => 'max(total) > 1'"),
        ("condition", "'t', condition => 'old.total > 1'"),
        ("condition", "'t', condition => 'new.total > 1'"),
        ("condition", "'t', condition => 'old.total > 1', operations => '{INSERT}'"),
        ("condition", "'t', condition => repeat(' ', 10000) || 'true'"),
    ];
    for (names, arguments) in cases {
        session.refused(&format!("select attach_trigger({arguments})")).await.assert_names(names);
        assert_eq!(session.line(state).await, before, "after {arguments}");
    }
}

#[tokio::test]
async fn a_failed_reattach_keeps_the_attachment() {
    let (_database, session) = prepared().await;
    session.run("select attach_trigger('t', condition => 'total > 1')").await;
    session.refused("select attach_trigger('t', operations => '{DELETE}', condition => 'nope')").await;
    session.run("insert into t values (1, 'a', 0), (2, 'a', 2); truncate t").await;
    assert_eq!(session.events().await.len(), 2);
}

#[tokio::test]
async fn without_tenant_and_user_there_is_a_warning() {
    let (_database, mut session) = prepared().await;
    session.notices().await;
    session.run("select attach_trigger('t')").await;
    let notices = session.notices().await;
    assert_eq!(notices, ["WARNING: every subscriber will see the changes of public.t"]);
    session.run("select attach_trigger('t', tenant_column => 'tenant')").await;
    assert!(session.notices().await.is_empty());
}

/// Odd names, each list the columns of one table.
const ODD_NAMES: [&[&str]; 8] = [
    &["2fa Code", "total", "größe", "日本", "--", "a.b"],
    &["a b", "a_b", "a-b", "a_b_2", "a+b", "a_b_4"],
    &["_", "-", "+", "_2", "__", "___x", "_x", "__x"],
    &["1", "_1", "01", "__1", "1 "],
    &["new\nline", "tab\there", "quote\"d", "back\\slash", "it's", "$1", "percent%s"],
    &["A", "a", "Ä", "ä", "ß", "e\u{301}", "\u{e9}", "😀"],
    &["id", "ID", "type", "__typename", "__schema", "_typename"],
    &[" ", "  ", "   ", "_ _", "_3"],
];

#[tokio::test]
async fn field_names_are_those_of_the_daemon() {
    use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
    use tidings_daemon::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

    let (_database, session) = prepared().await;
    for names in ODD_NAMES {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            comment: None,
            not_null: false,
            primary_key: false,
            column_type: ColumnType::Base("text".to_owned()),
        };
        let table = AttachedTable {
            oid: 1,
            table: "t".to_owned(),
            type_name: "Odd".to_owned(),
            channel: "t".to_owned(),
            comment: None,
            operations: Vec::new(),
            include_old: false,
            tenant_column: None,
            user_column: None,
            row_security: None,
            columns: names.iter().map(column).collect(),
        };
        let schema = Schema::build(
            &Catalog { tables: vec![table], definitions: Vec::new() },
            SchemaOptions::default(),
        );
        let schema = schema.expect("a schema");
        assert!(schema.problems().is_empty(), "{names:?}: {:?}", schema.problems());
        let sdl = schema.sdl();
        let fields =
            sdl.split_once("\ntype Odd {\n").expect("the type").1.split_once('}').expect("its end").0;
        let fields: Vec<&str> =
            fields.lines().filter_map(|line| Some(line.trim().split_once(": ")?.0)).collect();
        let row = session.query_one("select tidings.field_names($1)", &[&names]).await;
        assert_eq!(row.expect("field names").get::<_, Vec<String>>(0), fields, "{names:?}");
    }
}

#[tokio::test]
async fn types_that_lose_their_name_to_a_table_are_told() {
    let (_database, mut session) = prepared().await;
    session
        .run(
            "create type public.tint as enum ('a'); create type public.hue_filter as (x int);
             create table public.paints (id int primary key, tenant text, tint tint[], other hue_filter);
             create table public.tint2 (id int primary key, tenant text)",
        )
        .await;
    session.notices().await;
    session.run("select attach_trigger('paints', tenant_column => 'tenant')").await;
    assert!(session.notices().await.is_empty());
    let warning = |name: &str, called: &str| {
        format!(
            "WARNING: in the GraphQL schema, type {name} is not called {called} any more, because the table is"
        )
    };
    session.run("select attach_trigger('tint2', type_name => 'Tint', tenant_column => 'tenant')").await;
    assert_eq!(session.notices().await, [warning("public.tint", "Tint")]);
    session.run("select attach_trigger('tint2', type_name => 'Hue', tenant_column => 'tenant')").await;
    assert_eq!(session.notices().await, [warning("public.hue_filter", "HueFilter")]);
    session.run("select attach_trigger('tint2', tenant_column => 'tenant')").await;
    assert!(session.notices().await.is_empty());
}

#[tokio::test]
async fn columns_with_other_field_names_are_told() {
    let (_database, mut session) = prepared().await;
    session
        .run("create table public.odd (id int primary key, tenant text, \"2fa Code\" text, \"a b\" int, a_b int, \"c-d\" int)")
        .await;
    session.notices().await;
    session.run("select attach_trigger('odd', tenant_column => 'tenant')").await;
    assert_eq!(
        session.notices().await,
        [
            "NOTICE: column \"2fa Code\" is the field _2fa_Code, column \"a b\" is the field a_b_2, column \"c-d\" is the field c_d"
        ]
    );
    session.run("select attach_trigger('odd', tenant_column => 'tenant', columns => '{id,a b,a_b}')").await;
    assert_eq!(session.notices().await, ["NOTICE: column \"a b\" is the field a_b_2"]);
    session.run("select attach_trigger('odd', tenant_column => 'tenant', columns => '{a b}')").await;
    assert_eq!(session.notices().await, ["NOTICE: column \"a b\" is the field a_b"]);
    session.run("select attach_trigger('odd', tenant_column => 'tenant', columns => '{a_b}')").await;
    assert!(session.notices().await.is_empty());
    let many: String = (0..25).map(|number| format!(", \"x {number}\" int")).collect();
    session.run(&format!("create table public.many (id int, tenant text{many})")).await;
    session.run("select attach_trigger('many', tenant_column => 'tenant')").await;
    let notices = session.notices().await;
    assert!(notices[0].ends_with("column \"x 19\" is the field x_19, and 5 more"), "{notices:?}");
}

#[tokio::test]
async fn names_are_derived_from_the_table() {
    let (_database, session) = prepared().await;
    session
        .run(
            "create schema shop; create table shop.order_items (id int); create table shop.\"userAccounts 2\" (id int);
             select attach_trigger('shop.order_items'); select attach_trigger('shop.\"userAccounts 2\"')",
        )
        .await;
    assert_eq!(
        session.lines("select type_name || ' ' || channel from tidings.attachments order by 1").await,
        ["OrderItems shop.order_items", "Other public.other", "UserAccounts2 shop.userAccounts 2"]
    );
}

#[tokio::test]
async fn the_key_is_always_among_the_columns() {
    let (_database, session) = prepared().await;
    session.run("select attach_trigger('t', columns => '{total,total}')").await;
    assert_eq!(
        session.line("select columns from tidings.attachments where type_name = 'T'").await,
        "{id,total}"
    );
}

#[tokio::test]
async fn a_column_called_new_must_be_told_from_the_record() {
    let (_database, session) = prepared().await;
    session.run("create table public.odd (id int, new text)").await;
    session
        .refused("select attach_trigger('odd', condition => 'new is not null')")
        .await
        .assert_names("condition");
    session
        .run("select attach_trigger('odd', operations => '{INSERT}', condition => 'new.new is not null'); insert into odd values (1, 'x'), (2, null)")
        .await;
    assert_eq!(session.events().await, [r#"INSERT {"id":1,"new":"x"}"#]);
}

#[tokio::test]
async fn clumsy_arguments_are_named() {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run("create table t (id int primary key, a int, b int)").await;
    for (statement, name) in [
        ("select tidings.grant_daemon(null)", "role"),
        ("select tidings.grant_publisher(null)", "role"),
        ("select tidings.grant_publisher(0)", "role"),
        ("select attach_trigger('t', operations => '{{INSERT},{UPDATE}}')", "operations"),
        ("select attach_trigger('t', columns => '{{a,b},{id,a}}')", "columns"),
        ("select attach_trigger('t', when_changed => '{{a},{b}}')", "when_changed"),
    ] {
        session.refused(statement).await.assert_names(name);
    }
    let own = "create function own() returns trigger language plpgsql as $$ begin return null; end $$;
        create trigger \"!tidings_insert\" after insert on t for each row execute function own()";
    session.run(own).await;
    session.refused("select attach_trigger('t')").await.assert_names("!tidings_insert");
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "0");
}

#[tokio::test]
async fn without_any_watched_column_left_every_update_counts() {
    let database = Database::new().await;
    let mut session = database.connect().await;
    session.run("create table t (id int primary key, a int, b int)").await;
    session.run("select attach_trigger('t', when_changed => '{a}'); insert into t values (1, 1, 1)").await;
    session.run("update t set b = 2; alter table t drop column a").await;
    let notices = session.notices().await;
    assert!(notices.iter().any(|notice| notice.contains("when_changed")), "{notices:?}");
    session.run("update t set b = 3").await;
    assert_eq!(session.events().await, [r#"INSERT {"id":1,"a":1,"b":1}"#, r#"UPDATE {"id":1,"b":3}"#]);
}
