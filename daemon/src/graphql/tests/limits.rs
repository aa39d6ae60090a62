//! Each limit at its boundary: what reaches it passes, one more is refused with the limit's own code.

use super::{prepare, shop};
use crate::graphql::limits::Limits;
use crate::graphql::prepare::Prepared;
use crate::graphql::schema::{Schema, SchemaOptions};

fn check(limits: Limits, reaches: &str, exceeds: &str, code: &str) {
    let schema = Schema::build(&shop(), SchemaOptions { limits, ..SchemaOptions::default() }).unwrap();
    let found = |document: &str| match prepare(&schema, document, "") {
        Prepared::Refused(errors) => errors[0].extensions.code,
        Prepared::Query(_) | Prepared::Subscription(_) => "",
    };
    assert_eq!(found(reaches), "", "{reaches}");
    assert_eq!(found(exceeds), code, "{exceeds}");
}

fn usual() -> Limits {
    Limits::default()
}

#[test]
fn the_text_has_a_length_tokens_and_aliases() {
    let padded = |bytes: usize| format!("{:bytes$}", "{ __typename }");
    check(Limits { document_bytes: 20, ..usual() }, &padded(20), &padded(21), "DOCUMENT_TOO_LARGE");
    let (four, five) = ("{ __typename __typename }", "{ __typename __typename __typename }");
    check(Limits { tokens: 4, ..usual() }, four, five, "TOO_MANY_TOKENS");
    let (two, three) = ("{ a: __typename b: __typename }", "{ a: __typename b: __typename c: __typename }");
    check(Limits { aliases: 2, ..usual() }, two, three, "TOO_MANY_ALIASES");
}

#[test]
fn selections_have_a_depth_fields_and_root_fields_with_fragments_followed() {
    let deep = "{ __schema { queryType { name } } }";
    check(Limits { depth: 2, ..usual() }, "{ tidings { version } }", deep, "TOO_DEEP");
    let one = "{ ...A } fragment A on Query { __typename }";
    let two = "{ ...A } fragment A on Query { ...B } fragment B on Query { __typename }";
    check(Limits { depth: 2, ..usual() }, one, two, "TOO_DEEP");
    let two = "{ tidings { version } ...F } fragment F on Query { __typename }";
    let three = "{ tidings { version } ...F } fragment F on Query { __typename a: __typename }";
    check(Limits { root_fields: 2, ..usual() }, two, three, "TOO_MANY_ROOT_FIELDS");
    let three = "{ tidings { version schemaVersion } }";
    let four = "{ tidings { version schemaVersion } __typename }";
    check(Limits { fields: 3, ..usual() }, three, four, "TOO_MANY_FIELDS");
}

#[test]
fn arguments_have_items_comparisons_and_a_pattern_length() {
    let events = |types: &str| format!("subscription {{ events(channel: \"c\", types: {types}) {{ id }} }}");
    let order = |filter: &str| format!("subscription {{ orderChanged(filter: {filter}) {{ eventId }} }}");
    let items = || Limits { list_items: 2, ..usual() };
    check(items(), &events(r#"["a", "b"]"#), &events(r#"["a", "b", "c"]"#), "BAD_USER_INPUT");
    let (two, three) = (r#"{ note: { in: ["a", "b"] } }"#, r#"{ note: { in: ["a", "b", "c"] } }"#);
    check(items(), &order(two), &order(three), "BAD_USER_INPUT");
    let two = r#"{ note: { gt: "a", lt: "c" } }"#;
    let three = r#"{ note: { gt: "a", lt: "c" }, not: { note: { is: NULL } } }"#;
    check(Limits { filter_tests: 2, ..usual() }, &order(two), &order(three), "BAD_USER_INPUT");
    let pattern = |bytes: usize| order(&format!("{{ note: {{ like: {:?} }} }}", "a".repeat(bytes)));
    check(usual(), &pattern(256), &pattern(257), "BAD_USER_INPUT");
}

#[test]
fn introspection_has_aliases_and_a_depth() {
    let (one, two) = ("{ __schema { a: queryType { name } } }", "{ __schema { a: queryType { b: name } } }");
    check(Limits { introspection_aliases: 1, ..usual() }, one, two, "TOO_MANY_ALIASES");
    let two = "{ __schema { types { fields { type { fields { name } } } } } }";
    let three = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    check(usual(), two, three, "INTROSPECTION_TOO_DEEP");
}
