//! SDL of custom events, by `define_subscriptions` on a real database: stored or refused with a place, and the
//! connection goes on.

use super::Fuzz;
use crate::support::database::Database;
use crate::support::within;

const WORDS: &[&str] = &[
    "type",
    "interface",
    "union",
    "enum",
    "input",
    "scalar",
    "schema",
    "extend",
    "extend type Subscription",
    "implements",
    "directive",
    "on",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "!",
    ":",
    "=",
    "|",
    "&",
    "@",
    "@event(channel: \"c\")",
    "@match(field: \"x\")",
    "@visibleTo(roles: [\"r\"])",
    "@resolve(function: \"f\")",
    "@authorize(function: \"f\")",
    "@deprecated",
    "\"\"\"",
    "#",
    "ID",
    "Int",
    "String",
    "Order",
    "Subscription",
    "Query",
    "__x",
];

#[test]
fn definitions_are_stored_or_refused_in_words() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (_database, sql) = runtime.block_on(async {
        let database = Database::new().await;
        let sql = database.connect().await;
        sql.run("create table orders (id int primary key); select attach_trigger('orders', 'Order')").await;
        sql.run("create function app_f(event jsonb, arguments jsonb) returns jsonb stable language sql as 'select event'").await;
        (database, sql)
    });
    let backend = runtime.block_on(sql.line("select pg_backend_pid()"));
    let (mut stored, mut refused) = (0_u64, 0_u64);
    let mut fuzz = Fuzz::new("definitions", WORDS);
    fuzz.run(|input, _| {
        // A text of PostgreSQL has no zero byte.
        let sdl = String::from_utf8_lossy(input).replace('\0', "");
        let answer = runtime.block_on(within("an answer", async {
            sql.execute("select define_subscriptions($1::text, 'fuzz')", &[&sdl]).await
        }));
        match answer {
            Ok(_) => stored += 1,
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("the connection is lost: {error}"));
                let code = error.code().code();
                assert!(!code.starts_with("XX"), "an internal error: {error:?}");
                assert!(!error.message().is_empty());
                refused += 1;
            }
        }
    });
    assert!(stored > 0 && refused > 0, "{stored} were stored and {refused} refused");
    // Those that were stored before a crash of the backend would be another backend's.
    assert_eq!(runtime.block_on(sql.line("select pg_backend_pid()")), backend);
}
