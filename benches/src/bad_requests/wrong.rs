//! Requests that are refused, each for another reason.

use serde_json::{Value, json};

/// What is wrong, and the request.
pub(crate) fn requests() -> Vec<(&'static str, Value)> {
    let document = |query: &str| json!({ "query": query });
    let with = |query: &str, variables: Value| json!({ "query": query, "variables": variables });
    let by_variable = "subscription($c: String!, $t: [String!]) { events(channel: $c, types: $t) { id } }";
    let field =
        |channel: &str| document(&format!("subscription {{ events(channel: {channel}) {{ nope }} }}"));
    vec![
        ("an unknown field", field("\"c\"")),
        ("a variable of the wrong type", with(by_variable, json!({"c": 5}))),
        ("a missing variable", with(by_variable, json!({"t": []}))),
        (
            "two anonymous operations",
            document("{ __typename } subscription { events(channel: \"c\") { id } }"),
        ),
        ("a mutation", document("mutation { write }")),
        ("an empty document", document("")),
        ("1 MB of fields", document(&format!("{{ {} }}", "a ".repeat(500_000)))),
        ("1 MB in a variable", with(by_variable, json!({"c": 5, "t": "x".repeat(1 << 20)}))),
        ("1 MB of numbers in a variable", with(by_variable, json!({"t": vec![7; 1 << 19]}))),
        ("10,000 levels", document(&"{a".repeat(10_000))),
        ("64 KiB of unknown fields", document(&format!("{{ tidings {{ {} }} }}", "nope ".repeat(9_900)))),
        ("a surrogate pair", field(r#""\ud83d\ude00""#)),
        ("a lone surrogate", field(r#""\ud83d""#)),
        ("an integer beyond int64", field("99999999999999999999")),
        ("an integer beyond int64 in a variable", with(by_variable, json!({"c": u64::MAX}))),
    ]
}
