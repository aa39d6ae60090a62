//! The corpus, judged by both.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::graphql::prepare::Prepared;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::hub::audience::Identity;

use super::catalog;
use super::corpus::{self, Case};
use super::oracle::{Oracle, exact};

/// What is compared: locations and path of each error, in order. No errors: the request is accepted.
pub(super) fn verdict(errors: &[Value]) -> String {
    let places = |error: &Value| {
        let locations: Vec<String> = error["locations"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|at| format!("{}:{}", at["line"], at["column"]))
            .collect();
        let path = match &error["path"] {
            Value::Null => String::new(),
            path => format!(" {path}"),
        };
        format!("[{}{path}]", locations.join(" "))
    };
    if errors.is_empty() { "accepted".to_owned() } else { errors.iter().map(places).collect() }
}

/// graphql-js's verdict, and its messages for the report.
pub(super) fn theirs(oracle: &mut Oracle, request: &Request) -> (String, String) {
    let variables = request.variables.clone().map(Value::Object).unwrap_or_default();
    let answer = oracle.ask(&json!({
        "query": request.query,
        "variables": exact(&variables),
        "operationName": request.operation_name,
    }));
    let errors = answer["errors"].as_array().expect("errors").as_slice();
    // Neither reports all of a great many.
    let messages: Vec<&str> = errors.iter().filter_map(|error| error["message"].as_str()).collect();
    (verdict(&errors[..errors.len().min(20)]), messages.join("; "))
}

/// The daemon's verdict, and its messages.
pub(super) fn ours(refused: Result<(), Vec<GraphQLError>>) -> (String, String) {
    let errors = refused.err().unwrap_or_default();
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    let json: Vec<Value> = errors.iter().map(|error| serde_json::to_value(error).unwrap()).collect();
    (verdict(&json), messages.join("; "))
}

/// Differences by the name of the case.
type Differences = BTreeMap<String, String>;

fn compare(differences: &mut Differences, case: &Case, theirs: (String, String), ours: (String, String)) {
    if theirs.0 == ours.0 {
        return;
    }
    let mut report = String::new();
    let _ = writeln!(report, "{}\n  {}", case.request.query, json!(case.request.variables));
    let _ = writeln!(report, "  graphql-js: {} ({})", theirs.0, theirs.1);
    let _ = writeln!(report, "  the daemon: {} ({})", ours.0, ours.1);
    differences.insert(case.name.clone(), report);
}

#[test]
fn the_corpus_is_judged_as_graphql_js_does() {
    let sdl = corpus::text("rules/schema.graphql");
    let schema = Schema::parse(&sdl, SchemaOptions::default()).expect("the schema of the corpus");
    let mut oracle = Oracle::start(&sdl);
    let mut differences = Differences::new();
    let rules = corpus::cases("rules");
    for case in &rules {
        let theirs = theirs(&mut oracle, &case.request);
        compare(&mut differences, case, theirs, ours(schema.check(&case.request)));
    }
    let schema = Schema::build(&catalog::corpus(), SchemaOptions::default()).expect("the derived schema");
    oracle.serve(&schema.sdl());
    let service = corpus::cases("service");
    for case in &service {
        let theirs = theirs(&mut oracle, &case.request);
        match schema.prepare(&case.request, &Identity::default()) {
            Prepared::Refused(errors) => compare(&mut differences, case, theirs, ours(Err(errors))),
            Prepared::Subscription(_) => compare(&mut differences, case, theirs, ours(Ok(()))),
            Prepared::Query(result) => {
                let result = serde_json::from_slice(&result).expect("JSON");
                compare_answers(&mut differences, case, &mut oracle, &result);
            }
        }
    }
    judge(rules.len() + service.len(), &differences);
}

/// Compares the answers to a query. graphql-js lists what has names in another order.
fn compare_answers(differences: &mut Differences, case: &Case, oracle: &mut Oracle, result: &Value) {
    let request = &case.request;
    let answer = oracle.ask(&json!({
        "query": request.query,
        "variables": request.variables,
        "operationName": request.operation_name,
        "root": {"tidings": {"version": env!("CARGO_PKG_VERSION"), "schemaVersion": "1"}},
    }));
    let shown = |data: &Value| (sorted(data).to_string(), String::new());
    compare(differences, case, shown(&answer["data"]), shown(&result["data"]));
}

/// JSON with lists of named objects in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
            items.into()
        }
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| (key.clone(), sorted(value)))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect(),
        other => other.clone(),
    }
}

/// Fails on a difference that is not listed, and on a listed one that is none any more.
fn judge(count: usize, differences: &Differences) {
    let allowed = corpus::allowed_differences();
    let unlisted: Vec<_> = differences.iter().filter(|(name, _)| !allowed.contains_key(*name)).collect();
    let gone: Vec<_> = allowed.keys().filter(|name| !differences.contains_key(*name)).collect();
    println!(
        "corpus: {count} documents, {} agree, {} allowed differences",
        count - differences.len(),
        differences.len() - unlisted.len()
    );
    let mut report = String::new();
    for (name, difference) in &unlisted {
        let _ = writeln!(report, "=== {name}\n{difference}");
    }
    assert!(unlisted.is_empty(), "{} differences are not listed:\n{report}", unlisted.len());
    assert!(gone.is_empty(), "these differ no more; take them out of differences.txt: {gone:#?}");
}
