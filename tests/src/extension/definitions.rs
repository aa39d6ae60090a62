//! `define_subscriptions`: what is stored, what is refused and in which words, and how documents compose.
//!
//! The tables of refused documents are in `testdata/`: a document, `----`, what is said, `====`.

use crate::support::database::{Database, Session, heard, within};
use tokio_postgres::error::SqlState;

const SETUP: &str = include_str!("testdata/definitions_setup.sql");

pub(super) async fn prepared() -> (Database, Session) {
    let database = Database::new().await;
    let session = database.connect().await;
    session.run(SETUP).await;
    (database, session)
}

pub(super) fn define(sdl: &str, name: &str) -> String {
    format!("select define_subscriptions($sdl${sdl}$sdl$, '{name}')")
}

/// Documents with what is said of them.
fn cases(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.trim_end_matches('\n').split("\n====\n").map(|case| {
        case.split_once("\n----\n").unwrap_or_else(|| panic!("{case}\nneeds a line ---- and what is said"))
    })
}

#[tokio::test]
async fn every_error_of_a_document_is_told_at_once() {
    let (_database, session) = prepared().await;
    for (document, expected) in cases(include_str!("testdata/definitions_refused.txt")) {
        let refusal = session.refused(&define(document, "mine")).await;
        assert_eq!(refusal.detail.as_deref(), Some(expected), "{document}");
        let errors = match expected.lines().count() {
            1 => "an error".to_owned(),
            count => format!("{count} errors"),
        };
        assert_eq!(refusal.message, format!("document \"mine\" has {errors}"), "{document}");
        assert_eq!(refusal.code, SqlState::INVALID_OBJECT_DEFINITION);
        refusal.assert_names("mine");
    }
    assert_eq!(session.lines("select name from tidings.definitions").await, ["shared"]);
}

#[tokio::test]
async fn syntax_errors_have_line_and_column() {
    let (_database, session) = prepared().await;
    for (document, expected) in cases(include_str!("testdata/definitions_syntax.txt")) {
        let refusal = session.refused(&define(document, "mine")).await;
        let said = refusal.message.replace("syntax error in document \"mine\" at ", "");
        let said = [Some(said), refusal.detail.clone()].into_iter().flatten().collect::<Vec<_>>().join("\n");
        assert_eq!(said, expected, "{document}");
        assert_eq!(refusal.code, SqlState::SYNTAX_ERROR);
        refusal.assert_names("mine");
    }
}

#[tokio::test]
async fn lines_and_columns_do_not_depend_on_the_line_ending() {
    let (_database, session) = prepared().await;
    for ending in ["\n", "\r\n", "\r"] {
        let document =
            ["# one", "type A {", "  \"\"\"", "  two", "  \"\"\"", "\ta: Foo, b: Bar", "}"].join(ending);
        let refusal = session.refused(&define(&document, "mine")).await;
        assert_eq!(
            refusal.detail.as_deref(),
            Some(
                "6:2: field \"a\" has type \"Foo\", which is unknown\n6:10: field \"b\" has type \"Bar\", which is unknown"
            ),
            "{ending:?}"
        );
    }
}

#[tokio::test]
async fn more_than_fifty_errors_are_counted() {
    let (_database, session) = prepared().await;
    let fields: String = (0..60).map(|number| format!("f{number}: Foo\n")).collect();
    let refusal = session.refused(&define(&format!("type A {{ {fields} }}"), "mine")).await;
    assert_eq!(refusal.message, "document \"mine\" has 60 errors");
    let detail = refusal.detail.expect("errors are listed");
    assert_eq!(detail.lines().count(), 51);
    assert!(detail.ends_with("\nand 10 more"), "{detail}");
    // Many more are not even counted.
    let fields: String = (0..5_000).map(|number| format!("f{number}: Foo\n")).collect();
    let refusal = session.refused(&define(&format!("type A {{ {fields} }}"), "mine")).await;
    assert_eq!(refusal.message, "document \"mine\" has 1000 errors or more");
}

/// Everything that the documentation shows, and everything that is legal though it looks odd.
pub(super) const GOOD: &str = r#"
"Where a message was posted."
interface Located { room: ID! }
type ChatMessage implements Located {
  room: ID!
  body: String!
  "Only administrators see it."
  sender: String @visibleTo(roles: ["admin"])
  secret: Int! @visibleTo(roles: "admin")
  room_details(language: String = "en"): RoomDetails @resolve(function: "app.resolve", scope: TENANT)
  parts: [Part!]! loudness: Loudness
}
type RoomDetails { name: String  order: Order  change: OrderChange  mood: Mood  place: GeoPoint  event: Event }
union Part = Text | Picture
type Text { text: String! }
type Picture { url: Url!  at: Datetime  size: BigInt  price: BigFloat  id: UUID  day: Date  time: Time  any: JSON }
scalar Url @specifiedBy(url: "https://url.spec.whatwg.org/")
enum Loudness { LOW  HIGH @deprecated }
input Filter @oneOf { loudness: Loudness  level: Level  and: [Filter!] }
extend enum Loudness { MIDDLE @deprecated(reason: """ never used """) }
extend type Text { bold: Boolean }
extend type Subscription {
  messagePosted(room: ID!, from: [String!] @match(field: "sender")): ChatMessage! @event(channel: "chat", type: "posted")
  messageChanged(filter: Filter @match(field: null), room: ID): ChatMessage
    @event(channel: "chat", types: ["edited", "removed"]) @authorize(function: "app.allow") @visibleTo(roles: ["admin"])
}
extend type Subscription { anything: [JSON!]! @event(channel: "any") @resolve(function: "app.\"Resolve\"", scope: EVENT) }
"#;

#[tokio::test]
async fn a_good_document_is_stored_as_it_is() {
    let (_database, mut session) = prepared().await;
    session.notices().await;
    session.run(&define(GOOD, "default")).await;
    assert!(session.notices().await.is_empty());
    assert_eq!(session.line("select sdl from tidings.definitions where name = 'default'").await, GOOD);
    let names = "select string_agg(name, ' ' order by name) from tidings.defined_names
        where document = 'default' group by kind order by kind";
    assert_eq!(
        session.lines(names).await,
        [
            "any chat",
            "anything messageChanged messagePosted",
            "ChatMessage Filter Located Loudness Part Picture RoomDetails Text Url"
        ]
    );
    // Replaced as a whole, under the default name.
    session.run("select define_subscriptions('scalar Other')").await;
    assert_eq!(session.lines(names).await, ["Other"]);
    assert_eq!(session.line("select count(*) from tidings.definitions").await, "2");
    session.run("select drop_subscriptions()").await;
    assert!(session.lines(names).await.is_empty());
    assert_eq!(session.lines("select name from tidings.definitions").await, ["shared"]);
}

#[tokio::test]
async fn the_examples_of_the_documentation_run() {
    let database = Database::new().await;
    let session = database.connect().await;
    let (_, section) =
        include_str!("../../../docs/sql.md").split_once("### define_subscriptions").expect("a section");
    let (section, _) = section.split_once("### read_events").expect("its end");
    // Indented lines, with the empty ones between them.
    let mut examples: Vec<String> = vec![String::new()];
    for line in section.lines() {
        match (line.strip_prefix("    "), examples.last_mut()) {
            (Some(code), Some(example)) => example.push_str(&format!("{code}\n")),
            _ if line.is_empty() => {}
            _ => examples.push(String::new()),
        }
    }
    examples.retain(|example| example.starts_with("select") || example.starts_with("create"));
    assert_eq!(examples.len(), 3, "{examples:?}");
    for example in examples {
        let Some((call, answer)) = example.split_once("-- ERROR:  ") else {
            session.run(&example).await;
            continue;
        };
        let refusal = session.refused(call).await;
        let said = format!(
            "{}\nDETAIL:  {}\nHINT:  {}\n",
            refusal.message,
            refusal.detail.expect("errors"),
            refusal.hint.expect("a hint")
        );
        assert_eq!(said, answer.replace("-- ", ""));
    }
}

#[tokio::test]
async fn only_a_change_wakes_readers_of_the_schema() {
    let (database, session) = prepared().await;
    let mut listener = database.connect().await;
    listener.run("listen tidings_schema").await;
    for (call, expected) in [
        (define("scalar X", "mine"), 1),
        (define("scalar X", "mine"), 0),
        (define("scalar Y", "mine"), 1),
        ("select drop_subscriptions('mine')".to_owned(), 1),
    ] {
        session.run(&call).await;
        let heard = heard(&mut listener, "tidings_schema", &session).await;
        assert_eq!(heard.len(), expected, "after {call}: {heard:?}");
    }
}

#[tokio::test]
async fn clumsy_calls_are_named() {
    let (_database, session) = prepared().await;
    for (call, names) in [
        ("define_subscriptions(null)", "sdl"),
        ("define_subscriptions('scalar X', null)", "name"),
        ("define_subscriptions('scalar X', '')", "name"),
        ("define_subscriptions('scalar X', repeat('x', 64))", "name"),
        ("define_subscriptions('')", "\"default\" is empty"),
        ("define_subscriptions(E'# only a comment\n, ,', 'mine')", "\"mine\" is empty"),
        ("define_subscriptions(repeat('#', 1024 * 1024 + 1))", "1048577 bytes"),
        ("drop_subscriptions()", "\"default\""),
        ("drop_subscriptions(null)", "name"),
        ("tidings.grant_definer(null)", "role"),
    ] {
        session.refused(&format!("select {call}")).await.assert_names(names);
    }
    let refusal = session.refused("select define_subscriptions('#', 'mine')").await;
    assert!(refusal.hint.expect("a hint").contains("drop_subscriptions"));
    session
        .refused("begin isolation level repeatable read; select define_subscriptions('scalar X')")
        .await
        .assert_names("repeatable read");
}

#[tokio::test]
async fn the_number_of_documents_and_their_size_are_bounded() {
    let (_database, session) = prepared().await;
    session.run("select define_subscriptions('scalar S' || n, 'd' || n) from generate_series(1, 99) n").await;
    session.refused(&define("scalar X", "mine")).await.assert_names("100 documents");
    session.run(&define("scalar Y", "d1")).await;
    session.run("select drop_subscriptions('d' || n) from generate_series(1, 99) n").await;
    let large = "'scalar L' || n || ' ' || repeat('#', 1024 * 1024 - 20)";
    session
        .run(&format!("select define_subscriptions({large}, 'd' || n) from generate_series(1, 3) n"))
        .await;
    session
        .refused(&format!("select define_subscriptions({large}, 'd' || n) from generate_series(4, 4) n"))
        .await
        .assert_names("d4");
}

#[tokio::test]
async fn what_another_document_needs_cannot_be_taken_away() {
    let (_database, session) = prepared().await;
    session.run(&define("type User implements Named { name: String! likes: [Shared] }", "users")).await;
    session.run(&define("extend type User { level: Level }", "levels")).await;
    // Another field is no harm; a type, an interface's new field, a value of another kind are.
    let keeping = "type Shared { b: Int } interface Named { name: String } enum Level { LOW }";
    session.run(&define(keeping, "shared")).await;
    let refusal = session.refused(&define("interface Named { name: String id: ID }", "shared")).await;
    assert_eq!(refusal.message, "document \"shared\" cannot be stored: it would break \"levels\", \"users\"");
    assert_eq!(
        refusal.detail.as_deref(),
        Some(
            "document \"levels\", 1:20: field \"level\" has type \"Level\", which is unknown\n\
             document \"users\", 1:1: object type \"User\" lacks field \"id: ID\" of interface \"Named\"\n\
             document \"users\", 1:44: field \"likes\" has type \"Shared\", which is unknown"
        )
    );
    assert_eq!(refusal.code, SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
    // A new document can break others as well, by what it adds.
    let refusal = session.refused(&define("extend interface Named { id: ID }", "ids")).await;
    assert_eq!(refusal.message, "document \"ids\" cannot be stored: it would break \"users\"");
    for (name, needed_by) in [("shared", "\"levels\", \"users\""), ("users", "\"levels\"")] {
        let refusal = session.refused(&format!("select drop_subscriptions('{name}')")).await;
        assert_eq!(
            refusal.message,
            format!("document \"{name}\" cannot be dropped: it is needed by {needed_by}")
        );
    }
    assert_eq!(session.line("select sdl from tidings.definitions where name = 'shared'").await, keeping);
    session.run("select drop_subscriptions(n) from unnest('{levels,users,shared}'::text[]) n").await;
}

#[tokio::test]
async fn what_was_wrong_before_is_not_the_new_documents_fault() {
    let (_database, session) = prepared().await;
    session.run(&define("type Uses { order: Order }", "uses")).await;
    session.run("select detach_trigger('app.orders')").await;
    session.run("insert into tidings.definitions (name, sdl) values ('broken', 'type {')").await;
    session.run(&define("scalar X", "mine")).await;
    session.run("select drop_subscriptions('mine')").await;
    session.refused(&define("type Uses { order: Order } scalar X", "uses")).await.assert_names("an error");
}

#[tokio::test]
async fn names_may_move_from_one_document_to_another_in_one_transaction() {
    let (_database, session) = prepared().await;
    session.refused(&define("scalar Level", "mine")).await;
    session
        .run(&format!(
            "begin; {}; {}; commit",
            define("scalar Rest", "shared"),
            define("enum Level { A }", "mine")
        ))
        .await;
    assert_eq!(session.line("select document from tidings.defined_names where name = 'Level'").await, "mine");
}

#[tokio::test]
async fn functions_that_may_surprise_are_warned_about() {
    let (_database, mut session) = prepared().await;
    session
        .run(
            "create function app.writes(jsonb, jsonb) returns jsonb language sql as 'select $1';
             create function app.trusts(jsonb, jsonb) returns boolean language sql stable security definer as 'select true'",
        )
        .await;
    session.notices().await;
    session
        .run(&define(
            "extend type Subscription {\n  a: JSON @event(channel: \"x\") @resolve(function: \"app.writes\") @authorize(function: \"app.trusts\") }",
            "mine",
        ))
        .await;
    assert_eq!(
        session.notices().await,
        [
            "WARNING: 2:32: function \"app.writes\" of @resolve: it is volatile, but is called in a read-only \
             transaction: declare it stable if it writes nothing",
            "WARNING: 2:65: function \"app.trusts\" of @authorize: it is security definer, so row level security of \
             its owner counts, not that of the subscriber"
        ]
    );
}

#[tokio::test]
async fn attaching_a_table_does_not_take_what_a_document_has() {
    let (_database, session) = prepared().await;
    session.run("create table public.t (id int primary key)").await;
    session
        .run(&define(
            "type Item { a: Int } type GoodsChange { a: Int }
             extend type Subscription { wareDeleted: Int @event(channel: \"wares\") }",
            "mine",
        ))
        .await;
    for (arguments, names) in [
        ("type_name => 'Item'", "type \"Item\" of document \"mine\""),
        ("type_name => 'Goods'", "type \"GoodsChange\""),
        ("type_name => 'Ware'", "field \"wareDeleted\""),
        ("channel => 'wares'", "document \"mine\""),
    ] {
        session.refused(&format!("select attach_trigger('t', {arguments})")).await.assert_names(names);
    }
    assert_eq!(session.line("select count(*) from tidings.attachments").await, "1");
    session.run("select drop_subscriptions('mine'); select attach_trigger('t', type_name => 'Item', channel => 'wares')").await;
}

/// Returns when that many sessions wait for a lock.
async fn blocked(session: &Session, sessions: &str) {
    let waiting = "select count(*) from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database()";
    within("waiting for sessions to block", async {
        while session.line(waiting).await != sessions {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn two_sessions_cannot_both_take_a_name() {
    let (database, one) = prepared().await;
    let (two, three) = (database.connect().await, database.connect().await);
    one.run("create table public.t (id int primary key)").await;
    one.run(&format!("begin; {}", define("scalar Taken", "one"))).await;
    let (defined, attached) =
        (define("enum Taken { A }", "two"), "select attach_trigger('t', type_name => 'Taken')");
    let (refused, also_refused, ()) = tokio::join!(two.refused(&defined), three.refused(attached), async {
        blocked(&one, "2").await;
        one.run("commit").await;
    });
    assert!(refused.detail.expect("errors are listed").contains("already defined in document \"one\""));
    also_refused.assert_names("Taken");
    // And the other way round.
    one.run("begin; select attach_trigger('t', type_name => 'Later')").await;
    let defined = define("scalar Later", "two");
    let (refused, ()) = tokio::join!(two.refused(&defined), async {
        blocked(&one, "1").await;
        one.run("commit").await;
    });
    assert!(refused.detail.expect("errors are listed").contains("made from public.t"));
}
