//! Documents and variables, against the schema of the corpus. What is right about them is decided elsewhere
//! (`fidelity`); here they only must be answered.

use serde_json::Value;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::hub::audience::Identity;

use super::Fuzz;
use crate::fidelity::corpus;

const WORDS: &[&str] = &[
    "query",
    "subscription",
    "mutation",
    "fragment",
    "on",
    "...",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "!",
    "$",
    "$v",
    ":",
    "=",
    "@skip(if: true)",
    "@include(if: $v)",
    "__typename",
    "__schema",
    "__type(name: \"Query\")",
    "\"\"\"",
    "#",
    "&",
    "|",
    "null",
    "true",
    "1.5e3",
    "\n--- variables\n",
    "fields { name type { ofType { name } } }",
];

/// A document, then perhaps a line `--- variables` and JSON.
fn request(input: &str) -> Request {
    let (query, variables) = input.split_once("\n--- variables\n").unwrap_or((input, ""));
    let variables = serde_json::from_str::<Value>(variables).ok();
    let variables = variables.and_then(|variables| variables.as_object().cloned());
    Request { query: query.to_owned(), variables, ..Request::default() }
}

#[test]
fn documents_and_variables_are_answered() {
    let schema = Schema::parse(&corpus::text("rules/schema.graphql"), SchemaOptions::default()).unwrap();
    let identity = Identity::default();
    let mut kept = Vec::new();
    for case in corpus::cases("rules") {
        let variables =
            case.request.variables.map(|variables| format!("\n--- variables\n{}", Value::Object(variables)));
        kept.push(format!("{}{}", case.request.query, variables.unwrap_or_default()).into_bytes());
    }
    let mut fuzz = Fuzz::with("documents", WORDS, kept);
    fuzz.run(|input, _| {
        let request = request(&String::from_utf8_lossy(input));
        let refused = schema.check(&request).err().unwrap_or_default();
        for error in refused {
            assert!(!error.message.is_empty(), "errors are for people");
        }
        let _ = schema.operation_kind(&request, &identity);
    });
}
