//! Results: what the daemon makes of an event is what graphql-js makes of the same values.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};
use tidings_daemon::event::{Event, Operation};
use tidings_daemon::graphql::prepare::Prepared;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::hub::project::ParsedEvent;
use tidings_daemon::source::catalog::{AttachedTable, Catalog};

use super::generate::{self, CONDITIONS};
use super::oracle::Oracle;

/// Cases of a run; each is a seed.
const CASES: u64 = 3_000;

/// Cases that share their tables: building a schema takes longer than using it.
const CASES_PER_CATALOG: u64 = 100;

/// Runs one case alone, as a failure prints it.
const SEED_VARIABLE: &str = "TIDINGS_TEST_SEED";

const CREATED_AT_US: i64 = 1_767_323_045_120_000;
const CREATED_AT: &str = "2026-01-02T03:04:05.12Z";

/// An event, and the same as the root value of an execution.
struct Sample {
    event: Event,
    root: Value,
    query: String,
}

#[test]
fn results_are_those_of_graphql_js() {
    let only: Option<u64> =
        std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a seed is a number"));
    let seeds: Vec<u64> = only.map_or_else(|| (0..CASES).collect(), |seed| vec![seed]);
    let mut oracle: Option<Oracle> = None;
    let mut served = None;
    let mut seen = Seen::default();
    for seed in seeds {
        let group = seed / CASES_PER_CATALOG;
        let (catalog, schema) = match served.take() {
            Some((known, catalog, schema)) if known == group => (catalog, schema),
            _ => {
                let catalog = generate::catalog(&mut StdRng::seed_from_u64(group));
                let schema = Schema::build(&catalog, options()).expect("a schema");
                match &mut oracle {
                    Some(oracle) => oracle.serve(&schema.sdl()),
                    None => oracle = Some(Oracle::start(&schema.sdl())),
                }
                (catalog, schema)
            }
        };
        let sample = sample(&mut StdRng::seed_from_u64(seed), &catalog);
        seen.count(&check(oracle.as_mut().unwrap(), &schema, &sample, seed));
        served = Some((group, catalog, schema));
    }
    println!("projection: {seen:?}");
    // A generator that makes nothing go wrong shows nothing.
    let enough = |count: u64| count * 20 > CASES;
    let all = enough(seen.faultless) && enough(seen.with_errors) && enough(seen.without_data);
    assert!(only.is_some() || all, "{seen:?}");
}

/// What kinds of results there were.
#[derive(Debug, Default)]
struct Seen {
    faultless: u64,
    with_errors: u64,
    without_data: u64,
}

impl Seen {
    fn count(&mut self, result: &Value) {
        match (&result["errors"], &result["data"]) {
            (Value::Null, _) => self.faultless += 1,
            (_, Value::Null) => self.without_data += 1,
            _ => self.with_errors += 1,
        }
    }
}

fn options() -> SchemaOptions {
    SchemaOptions { metadata_channels: vec!["*".to_owned()], ..SchemaOptions::default() }
}

/// The daemon's result, if it is that of graphql-js.
fn check(oracle: &mut Oracle, schema: &Schema, sample: &Sample, seed: u64) -> Value {
    let values = CONDITIONS.iter().filter(|(name, _)| sample.query.contains(&format!("${name}: ")));
    let variables: Map<String, Value> =
        values.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let theirs = oracle.ask(&json!({
        "query": sample.query,
        "variables": variables,
        "root": sample.root,
    }));
    let request = Request { query: sample.query.clone(), variables: Some(variables), ..Request::default() };
    let interest = match schema.prepare(&request, &Identity::default()) {
        Prepared::Subscription(interest) => interest,
        other => panic!("seed {seed}: {other:?}\n{}", sample.query),
    };
    let bytes = interest.projection.project(&ParsedEvent::new(&sample.event));
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8") + "}";
    let result: Value = serde_json::from_str(&text).expect("JSON");
    let (ours, theirs) = (normal(&result), normal(&theirs));
    assert!(
        ours == theirs,
        "{SEED_VARIABLE}={seed}\n{}\n{:?}\nthe daemon: {ours}\ngraphql-js: {theirs}\n",
        sample.query,
        sample.event
    );
    result
}

/// A result as text that can be compared: members in order, numbers as doubles, of errors the place
/// and the path.
fn normal(result: &Value) -> String {
    fn number(value: &Value) -> Value {
        match value {
            Value::Object(members) => match members.get("$number") {
                Some(text) => text.as_str().unwrap().parse::<f64>().unwrap().into(),
                None => members.iter().map(|(name, value)| (name.clone(), number(value))).collect(),
            },
            Value::Array(items) => items.iter().map(number).collect(),
            // Zero has no sign in JavaScript's JSON.
            Value::Number(it) => (it.as_f64().unwrap() + 0.0).into(),
            other => other.clone(),
        }
    }
    let errors = result["errors"].as_array().into_iter().flatten();
    let errors: Value =
        errors.map(|error| json!({"locations": error["locations"], "path": error["path"]})).collect();
    json!({"data": number(&result["data"]), "errors": number(&errors)}).to_string()
}

fn sample(random: &mut StdRng, catalog: &Catalog) -> Sample {
    if random.random_bool(0.1) {
        return plain(random);
    }
    let table = &catalog.tables[random.random_range(0..catalog.tables.len())];
    let (operation, root) = generate::root(random, table);
    let truncated = operation != Operation::Truncate && random.random_bool(0.15);
    let record = match operation {
        Operation::Truncate => Map::new(),
        _ => generate::record(random, table, truncated),
    };
    let has_old =
        operation == Operation::Update && table.include_old && !(truncated && random.random_bool(0.5));
    let old = has_old.then(|| generate::record(random, table, truncated));
    let changed = random.random_bool(0.5).then(|| vec![Box::from("id"), Box::from("é \"c\"")]);
    let metadata = random.random_bool(0.5).then(|| "{\"actor\": [1]}".into());
    let event = Event {
        id: 7,
        channel: table.channel.as_str().into(),
        event_type: operation.as_str().into(),
        type_name: Some(table.type_name.as_str().into()),
        operation: Some(operation),
        payload: generate::text(&Value::Object(record.clone())).into(),
        old_payload: old.clone().map(|old| generate::text(&Value::Object(old)).into()),
        changed_columns: changed,
        metadata,
        created_at_us: CREATED_AT_US,
        truncated,
        ..Event::default()
    };
    let value = root_value(table, &event, &record, old.as_ref(), root.ends_with("Changed"));
    let query = generate::document(random, Some(table), &root);
    Sample { event, root: json!({ root: value }), query }
}

/// What docs/graphql.md says that a root field of a table holds.
fn root_value(
    table: &AttachedTable,
    event: &Event,
    record: &Map<String, Value>,
    old: Option<&Map<String, Value>>,
    is_change: bool,
) -> Value {
    let is_truncate = event.operation == Some(Operation::Truncate);
    let row = |members: &Map<String, Value>| row(table, members, event.truncated);
    if !is_change {
        return if is_truncate { cut() } else { row(record) };
    }
    let lost_old =
        event.truncated && event.operation == Some(Operation::Update) && table.include_old && old.is_none();
    json!({
        "operation": event.event_type,
        "record": if is_truncate { Value::Null } else { row(record) },
        "old": if lost_old { cut() } else { old.map_or(Value::Null, row) },
        "changedColumns": event.changed_columns,
        "eventId": "7",
        "metadata": event.metadata.as_deref().map(|text| serde_json::from_str::<Value>(text).unwrap()),
        "createdAt": CREATED_AT,
    })
}

/// A value that was too large to be kept.
fn cut() -> Value {
    json!({"$error": "cut"})
}

fn row(table: &AttachedTable, members: &Map<String, Value>, truncated: bool) -> Value {
    let missing = || if truncated { cut() } else { Value::Null };
    let columns = table.columns.iter();
    let row = columns
        .map(|column| (column.name.clone(), members.get(&column.name).cloned().unwrap_or_else(missing)));
    Value::Object(row.collect())
}

/// An event that no table made.
fn plain(random: &mut StdRng) -> Sample {
    let data = json!({"a": [{"$number": "1.5"}, null], "b": "é 😀"});
    let event = Event {
        id: 7,
        channel: "chat".into(),
        event_type: "posted".into(),
        tenant_id: random.random_bool(0.5).then(|| "acme".into()),
        payload: generate::text(&data).into(),
        created_at_us: CREATED_AT_US,
        truncated: random.random_bool(0.1),
        ..Event::default()
    };
    let root = json!({"events": {
        "id": "7",
        "channel": "chat",
        "type": "posted",
        "data": if event.truncated { cut() } else { data },
        "metadata": null,
        "tenantId": event.tenant_id,
        "userId": null,
        "createdAt": CREATED_AT,
    }});
    Sample { event, root, query: generate::document(random, None, "events") }
}
