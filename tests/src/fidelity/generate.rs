//! Random tables, documents and events. All that is random comes from one generator, so that a seed
//! is a case.

use std::collections::BTreeSet;
use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use tidings_daemon::event::Operation;
use tidings_daemon::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

use super::catalog::table;

const TYPES: [&str; 12] = [
    "int4",
    "int8",
    "numeric",
    "float8",
    "bool",
    "uuid",
    "date",
    "timestamptz",
    "text",
    "jsonb",
    "int4[]",
    "text[]",
];

/// One to three tables of random columns.
pub(super) fn catalog(random: &mut StdRng) -> Catalog {
    let table = |(name, random): (&str, &mut StdRng)| {
        let mut columns = vec![("id".to_owned(), "int8#".to_owned())];
        for number in 0..random.random_range(1..9) {
            let mark = if random.random_bool(0.4) { "!" } else { "" };
            columns.push((format!("c{number}"), format!("{}{mark}", TYPES.choose(random).unwrap())));
        }
        let columns: Vec<(&str, &str)> =
            columns.iter().map(|(name, ty)| (name.as_str(), ty.as_str())).collect();
        AttachedTable { include_old: random.random_bool(0.8), ..table(name, &columns) }
    };
    let names = ["Alpha", "Beta", "Gamma"];
    let count = random.random_range(1..=3);
    let tables = names[..count].iter().map(|name| table((name, random))).collect();
    Catalog { tables, ..Catalog::default() }
}

/// JSON as PostgreSQL would write it for a column, most of the time: sometimes null, sometimes of
/// another type. Numbers are `{"$number": TEXT}`.
pub(super) fn value(random: &mut StdRng, column: &Column) -> Value {
    match random.random_range(0..20) {
        0 | 1 if !column.not_null => Value::Null,
        0 => Value::Null,
        2 => wrong(random),
        _ => fitting(random, &column.column_type),
    }
}

fn number(text: impl ToString) -> Value {
    json!({ "$number": text.to_string() })
}

fn wrong(random: &mut StdRng) -> Value {
    let all = [
        json!("x"),
        json!("12"),
        json!(true),
        json!(false),
        json!([]),
        json!([null, [number(1)], "y"]),
        json!({"a": number(1)}),
        number("1.50"),
        number("-7"),
        number("0"),
        number("2147483648"),
        number("1e3"),
        number("9223372036854775808"),
    ];
    all.choose(random).unwrap().clone()
}

fn fitting(random: &mut StdRng, ty: &ColumnType) -> Value {
    let base = match ty {
        ColumnType::Array(item) => {
            let count = random.random_range(0..4);
            let item = |random: &mut StdRng| match random.random_range(0..8) {
                0 => Value::Null,
                1 => wrong(random),
                _ => fitting(random, item),
            };
            return (0..count).map(|_| item(random)).collect();
        }
        ColumnType::Base(base) => base.as_str(),
        ColumnType::Enum { .. } | ColumnType::Composite { .. } => "text",
    };
    match base {
        "int4" => number(random.random::<i32>()),
        "int8" => number(random.random::<i64>()),
        "numeric" => number(format!("{}.{:02}0", random.random_range(-99..99), random.random_range(0..99))),
        "float8" => number(*["0.5", "-1e-7", "3", "1.7976931348623157e308", "-0.0"].choose(random).unwrap()),
        "bool" => random.random::<bool>().into(),
        "uuid" => "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11".into(),
        "date" => "2026-01-02".into(),
        "timestamptz" => "2026-01-02T03:04:05+00:00".into(),
        "jsonb" => json!({"a": [number("1.5"), null, "b"], "c": {"d": true}}),
        _ => (*["", "plain", "é 😀 \"quoted\" \\ \n"].choose(random).unwrap()).into(),
    }
}

/// The members of a record. Some columns are younger than the event.
pub(super) fn record(random: &mut StdRng, table: &AttachedTable, key_only: bool) -> Map<String, Value> {
    let columns = table.columns.iter().filter(|column| column.primary_key || !key_only);
    let mut members = Map::new();
    for column in columns {
        if !random.random_bool(0.05) {
            members.insert(column.name.clone(), value(random, column));
        }
    }
    members
}

/// JSON text of a value with exact numbers.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Object(members) => match members.get("$number") {
            Some(number) => number.as_str().unwrap().to_owned(),
            None => {
                let members = members.iter().map(|(name, value)| format!("{}:{}", json!(name), text(value)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
        },
        Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A document in the making.
pub(super) struct Document<'r> {
    random: &'r mut StdRng,
    fragments: Vec<String>,
    variables: BTreeSet<usize>,
}

/// Variables that conditions use, with their values.
pub(super) const CONDITIONS: [(&str, bool); 3] = [("yes", true), ("no", false), ("also", true)];

/// An object type of which something is selected.
#[derive(Clone)]
struct Shape<'a> {
    ty: &'a str,
    leaves: Vec<&'a str>,
    objects: Vec<(&'a str, Shape<'a>)>,
}

/// A subscription to a root field of a table, or to `events`.
pub(super) fn document(random: &mut StdRng, table: Option<&AttachedTable>, root: &str) -> String {
    let mut document = Document { random, fragments: Vec::new(), variables: BTreeSet::new() };
    let change = table.map(|table| format!("{}Change", table.type_name));
    let row = table.map(|table| Shape {
        ty: &table.type_name,
        leaves: table.columns.iter().map(|column| column.name.as_str()).collect(),
        objects: Vec::new(),
    });
    let (arguments, shape) = match (row, &change) {
        (Some(row), Some(change)) if root.ends_with("Changed") => {
            let leaves = vec!["operation", "changedColumns", "eventId", "metadata", "createdAt"];
            ("", Shape { ty: change, leaves, objects: vec![("record", row.clone()), ("old", row)] })
        }
        (Some(row), _) => ("", row),
        (None, _) => {
            let leaves = vec!["id", "channel", "type", "data", "metadata", "tenantId", "userId", "createdAt"];
            ("(channel: \"chat\")", Shape { ty: "Event", leaves, objects: Vec::new() })
        }
    };
    let alias = if document.random.random_bool(0.3) { "root: " } else { "" };
    let field = format!("{alias}{root}{arguments}");
    let mut roots = format!("{field} {}", document.selection(&shape, 3));
    if document.random.random_bool(0.2) {
        let _ = write!(roots, "\n  ... {{ {field} {} }}", document.selection(&shape, 1));
    }
    let variables: Vec<String> =
        document.variables.iter().map(|index| format!("${}: Boolean!", CONDITIONS[*index].0)).collect();
    let variables = if variables.is_empty() { String::new() } else { format!("({})", variables.join(", ")) };
    let fragments = document.fragments.join("\n");
    format!("# é 😀\nsubscription S{variables} {{\n  {roots}\n}}\n{fragments}")
}

impl Document<'_> {
    fn selection(&mut self, shape: &Shape<'_>, depth: usize) -> String {
        let mut text = "{ __typename".to_owned();
        for _ in 0..self.random.random_range(1..7) {
            text.push_str([" ", "\n    ", ", "].choose(self.random).unwrap());
            match self.random.random_range(0..10) {
                0 if depth > 0 => {
                    let inner = self.selection(shape, depth - 1);
                    let on = if self.random.random_bool(0.5) {
                        format!(" on {}", shape.ty)
                    } else {
                        String::new()
                    };
                    let condition = self.condition();
                    let _ = write!(text, "...{on}{condition} {inner}");
                }
                1 if depth > 0 => {
                    let inner = self.selection(shape, depth - 1);
                    let name = format!("F{}", self.fragments.len());
                    self.fragments.push(format!("fragment {name} on {} {inner}", shape.ty));
                    let condition = self.condition();
                    let _ = write!(text, "...{name}{condition}");
                }
                _ => self.field(&mut text, shape, depth),
            }
        }
        text + " }"
    }

    fn field(&mut self, text: &mut String, shape: &Shape<'_>, depth: usize) {
        let index = self.random.random_range(0..shape.leaves.len() + 2 * shape.objects.len());
        let (name, inner) = match shape.leaves.get(index) {
            Some(name) => (*name, None),
            None => {
                let (name, inner) = &shape.objects[(index - shape.leaves.len()) / 2];
                (*name, Some(inner))
            }
        };
        // An alias that names its field: however often it comes, it is the same field.
        let alias = if self.random.random_bool(0.3) { format!("as_{name}: ") } else { String::new() };
        let condition = self.condition();
        let inner = inner.map(|inner| self.selection(inner, depth.saturating_sub(1)));
        let _ = write!(text, "{alias}{name}{condition} {}", inner.unwrap_or_default());
    }

    fn condition(&mut self) -> String {
        if self.random.random_bool(0.75) {
            return String::new();
        }
        let directive = *["skip", "include"].choose(self.random).unwrap();
        if self.random.random_bool(0.3) {
            return format!(" @{directive}(if: {})", self.random.random::<bool>());
        }
        let index = self.random.random_range(0..CONDITIONS.len());
        self.variables.insert(index);
        format!(" @{directive}(if: ${})", CONDITIONS[index].0)
    }
}

/// The operation and name of a random root field of a table.
pub(super) fn root(random: &mut StdRng, table: &AttachedTable) -> (Operation, String) {
    use Operation::{Delete, Insert, Truncate, Update};
    let prefix = table.type_name.to_lowercase();
    let (operation, suffix) = *[
        (Insert, "Inserted"),
        (Update, "Updated"),
        (Delete, "Deleted"),
        (Truncate, "Deleted"),
        (Insert, "Changed"),
        (Update, "Changed"),
        (Update, "Changed"),
        (Delete, "Changed"),
        (Truncate, "Changed"),
    ]
    .choose(random)
    .unwrap();
    (operation, format!("{prefix}{suffix}"))
}
