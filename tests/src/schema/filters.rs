//! Filters decide as PostgreSQL does: random filters over random rows, each evaluated as a WHERE clause too.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::support::daemon::{Daemon, token, token_of};
use crate::support::database::Database;
use crate::support::websocket::Socket;

const TABLE: &str = "
    create type mood as enum ('sad', 'so so', 'glad');
    create type pair as (x int, y text);
    create table things (
        id int8 primary key, i int4, n numeric, f float8, r float4, t text, c char(4), b bool, u uuid,
        ts timestamptz, tn timestamp, d date, tm time, e mood, li int4[], lt text[], le mood[], p pair);
    select attach_trigger('things', type_name => 'Thing', include_old => true);
";

const ROWS: usize = 150;
const FILTERS: usize = 200;

/// A column, how its values are written in SQL and in GraphQL, and its operators.
struct Column {
    name: &'static str,
    /// Type for casts in SQL.
    sql_type: &'static str,
    /// SQL literals of rows and filters, with the GraphQL literal; those without one only stand in rows.
    values: &'static [(&'static str, &'static str)],
    operators: &'static [&'static str],
}

const ORDERED: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "in", "is"];
const TEXT: &[&str] = &["eq", "neq", "gt", "gte", "lt", "lte", "in", "is", "like", "ilike", "startsWith"];
const LIST: &[&str] = &["eq", "contains", "containedBy", "overlaps", "is"];

const COLUMNS: &[Column] = &[
    Column {
        name: "i",
        sql_type: "int4",
        values: &[("-1", "-1"), ("0", "0"), ("7", "7"), ("2147483647", "2147483647")],
        operators: ORDERED,
    },
    Column {
        name: "n",
        sql_type: "numeric",
        values: &[
            ("0.00", "\"-0\""),
            ("1.50", "1.5"),
            ("-10", "\"-1e1\""),
            ("100000000000000000000.1", "\"100000000000000000000.10\""),
            ("NaN", "\"NaN\""),
            ("Infinity", "\"Infinity\""),
        ],
        operators: ORDERED,
    },
    Column {
        name: "f",
        sql_type: "float8",
        values: &[
            ("0", "-0.0"),
            ("0.1", "0.1"),
            ("-1e300", "-1e300"),
            ("5", "5"),
            ("NaN", ""),
            ("-Infinity", ""),
        ],
        operators: ORDERED,
    },
    Column {
        name: "r",
        sql_type: "float4",
        values: &[("0.1", "0.1"), ("16777216", "16777217"), ("-2.5", "-2.5"), ("NaN", "")],
        operators: ORDERED,
    },
    Column {
        name: "t",
        sql_type: "text",
        values: &[
            ("", "\"\""),
            ("abc", "\"abc\""),
            ("ABC", "\"ABC\""),
            ("a_c", "\"a\\\\_c\""),
            ("Ärger", "\"ä%\""),
            ("50% \"off\"", "\"50\\\\% %\""),
            ("a%", "\"a%\""),
            ("line\nbreak", "\"line\\n%\""),
            ("b_", "\"_b%\""),
        ],
        operators: TEXT,
    },
    Column {
        name: "c",
        sql_type: "char(4)",
        values: &[("ab", "\"ab\""), ("abcd", "\"abcd  \""), ("", "\"\""), ("B", "\"B\"")],
        operators: ORDERED,
    },
    Column {
        name: "b",
        sql_type: "bool",
        values: &[("true", "true"), ("false", "false")],
        operators: &["eq", "neq", "is"],
    },
    Column {
        name: "u",
        sql_type: "uuid",
        values: &[
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "\"{A0EEBC999c0b4ef8bb6d6bb9bd380a11}\""),
            ("00000000-0000-0000-0000-000000000000", "\"00000000-0000-0000-0000-000000000000\""),
        ],
        operators: &["eq", "neq", "in", "is"],
    },
    Column {
        name: "ts",
        sql_type: "timestamptz",
        values: &[
            ("2026-01-02 03:04:05.12+00", "\"2026-01-02T05:04:05.120+02:00\""),
            ("0044-03-15 12:00:00+00 BC", "\"-000043-03-15T12:00:00Z\""),
            ("infinity", "\"infinity\""),
            ("20000-01-01 00:00:00+00", ""),
            ("1999-12-31 23:59:59+00", "\"1999-12-31T23:59:59Z\""),
        ],
        operators: ORDERED,
    },
    Column {
        name: "tn",
        sql_type: "timestamp",
        values: &[
            ("2026-01-02 03:04:05", "\"2026-01-02T03:04:05\""),
            ("1970-01-01 00:00:00", "\"1970-01-01 00:00\""),
        ],
        operators: ORDERED,
    },
    Column {
        name: "d",
        sql_type: "date",
        values: &[("2026-01-02", "\"2026-01-02\""), ("-infinity", "\"-infinity\""), ("12026-01-02", "")],
        operators: ORDERED,
    },
    Column {
        name: "tm",
        sql_type: "time",
        values: &[("03:04:05.5", "\"03:04:05.50\""), ("24:00:00", ""), ("00:00:00", "\"00:00:00\"")],
        operators: ORDERED,
    },
    Column {
        name: "e",
        sql_type: "mood",
        values: &[("sad", "sad"), ("so so", "so_so"), ("glad", "glad")],
        operators: ORDERED,
    },
    Column {
        name: "li",
        sql_type: "int4[]",
        values: &[
            ("{}", "[]"),
            ("{1,2}", "[1, 2]"),
            ("{2,1}", "[2 1]"),
            ("{1,NULL}", ""),
            ("{3}", "3"),
            ("{{1,2},{3,4}}", ""),
        ],
        operators: LIST,
    },
    Column {
        name: "lt",
        sql_type: "text[]",
        values: &[("{a}", "\"a\""), ("{a,\"b c\"}", "[\"a\", \"b c\"]"), ("{NULL}", ""), ("{}", "[]")],
        operators: LIST,
    },
    Column {
        name: "le",
        sql_type: "mood[]",
        values: &[("{sad,\"so so\"}", "[sad so_so]"), ("{glad}", "glad")],
        operators: LIST,
    },
    Column { name: "p", sql_type: "pair", values: &[("(1,x)", "")], operators: &["is"] },
];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One row as a list of SQL values.
fn row(random: &mut StdRng, id: usize) -> String {
    let mut values = vec![id.to_string()];
    for column in COLUMNS {
        let (sql, _) = column.values.choose(random).unwrap();
        let value = if random.random_bool(0.2) {
            "null".into()
        } else {
            format!("{}::{}", quoted(sql), column.sql_type)
        };
        values.push(value);
    }
    format!("({})", values.join(","))
}

/// A value in SQL and in GraphQL. The GraphQL literals of text are patterns too, so they stand in both.
fn value(random: &mut StdRng, column: &Column) -> (String, &'static str) {
    let both: Vec<_> = column.values.iter().filter(|(_, graphql)| !graphql.is_empty()).collect();
    let (sql, graphql) = both.choose(random).unwrap();
    let sql = if column.sql_type == "text" { unquoted(graphql) } else { (*sql).into() };
    (format!("{}::{}", quoted(&sql), column.sql_type), graphql)
}

/// The text of a GraphQL string.
fn unquoted(graphql: &str) -> String {
    serde_json::from_str(graphql).unwrap()
}

/// A comparison of one column, in GraphQL and in SQL.
fn comparison(random: &mut StdRng) -> (String, String) {
    let column = COLUMNS.choose(random).unwrap();
    let (name, operator) = (column.name, *column.operators.choose(random).unwrap());
    if operator == "is" {
        let null = random.random_bool(0.5);
        let graphql = format!("{{ {name}: {{ is: {} }} }}", if null { "NULL" } else { "NOT_NULL" });
        return (graphql, format!("{name} is {}null", if null { "" } else { "not " }));
    }
    if operator == "in" {
        let values: Vec<_> = (0..random.random_range(0..3)).map(|_| value(random, column)).collect();
        let graphql: Vec<_> = values.iter().map(|(_, graphql)| *graphql).collect();
        let sql: Vec<_> = values.iter().map(|(sql, _)| sql.as_str()).collect();
        return (
            format!("{{ {name}: {{ in: [{}] }} }}", graphql.join(", ")),
            format!("{name} = any (array[{}]::{}[])", sql.join(","), column.sql_type),
        );
    }
    let (sql, graphql) = value(random, column);
    let sql = match operator {
        "like" | "ilike" => format!("{name} {operator} {sql}"),
        "startsWith" => format!("starts_with({name}, {sql})"),
        "contains" => format!("{name} @> {sql}"),
        "containedBy" => format!("{name} <@ {sql}"),
        "overlaps" => format!("{name} && {sql}"),
        "eq" => format!("{name} = {sql}"),
        "neq" => format!("{name} <> {sql}"),
        "gt" => format!("{name} > {sql}"),
        "gte" => format!("{name} >= {sql}"),
        "lt" => format!("{name} < {sql}"),
        _ => format!("{name} <= {sql}"),
    };
    (format!("{{ {name}: {{ {operator}: {graphql} }} }}"), sql)
}

fn filter(random: &mut StdRng, depth: u32) -> (String, String) {
    match random.random_range(0..if depth == 0 { 1 } else { 6 }) {
        0..=2 => comparison(random),
        3 => {
            let (graphql, sql) = filter(random, depth - 1);
            (format!("{{ not: {graphql} }}"), format!("not ({sql})"))
        }
        kind => {
            let parts: Vec<_> = (0..random.random_range(0..4)).map(|_| filter(random, depth - 1)).collect();
            let graphql: Vec<_> = parts.iter().map(|(graphql, _)| graphql.as_str()).collect();
            let (name, joint, empty) =
                if kind == 4 { ("and", ") and (", "true") } else { ("or", ") or (", "false") };
            let sql: Vec<_> = parts.iter().map(|(_, sql)| sql.as_str()).collect();
            let sql = if sql.is_empty() { empty.into() } else { format!("({})", sql.join(joint)) };
            (format!("{{ {name}: [{}] }}", graphql.join(", ")), sql)
        }
    }
}

/// The rows that a subscription with this filter begins with.
async fn initial(socket: &mut Socket, filter: &str) -> Vec<String> {
    let query = format!("subscription {{ thingInserted(filter: {filter}) @initial {{ id }} }}");
    let payload = json!({"query": query, "extensions": {"acknowledge": true}});
    socket.send(json!({"type": "subscribe", "id": "rows", "payload": payload})).await;
    let mut rows = Vec::new();
    loop {
        let result = socket.next().await;
        if result["extensions"]["subscribed"] == true {
            socket.send(json!({"type": "complete", "id": "rows"})).await;
            return rows;
        }
        rows.push(result["data"]["thingInserted"]["id"].as_str().unwrap().into());
    }
}

#[tokio::test]
async fn random_filters_pass_the_rows_that_a_where_clause_finds() {
    let seed = std::env::var("TIDINGS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("seed {seed}; set TIDINGS_TEST_SEED to repeat it");
    let mut random = StdRng::seed_from_u64(seed);
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(TABLE).await.unwrap();
    let reader = database.role().await;
    client.batch_execute(&format!("grant select on things to {reader}")).await.unwrap();
    let daemon = Daemon::builder(&database.conninfo()).env("TIDINGS_RESOLVE_ROLES", &reader).start().await;
    let token = token_of(json!({"sub": "ann", "role": reader}), Duration::from_secs(600));
    let mut socket = Socket::open(&daemon, &token).await;
    let filters: Vec<(String, String)> = (0..FILTERS).map(|_| filter(&mut random, 3)).collect();
    for (number, (graphql, _)) in filters.iter().enumerate() {
        let query = format!("subscription {{ thingInserted(filter: {graphql}) {{ id }} }}");
        socket.subscribe(&number.to_string(), &query).await;
    }
    socket.subscribe("end", r#"subscription { events(channel: "end") { id } }"#).await;

    let rows: Vec<String> = (0..ROWS).map(|id| row(&mut random, id)).collect();
    let insert =
        format!("insert into things values {}; select publish_event('end', 'x', '{{}}')", rows.join(","));
    client.batch_execute(&insert).await.unwrap();

    let mut passed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    loop {
        let message = socket.receive().await;
        assert_eq!(message["type"], "next", "{message}");
        let id = message["id"].as_str().unwrap();
        if id == "end" {
            break;
        }
        let row = message["payload"]["data"]["thingInserted"]["id"].as_str().unwrap();
        passed.entry(id.into()).or_default().push(row.into());
    }
    let mut rows = Socket::open(&daemon, &token).await;
    let mut total = 0;
    for (number, (graphql, sql)) in filters.iter().enumerate() {
        let found =
            client.query(&format!("select id::text from things where {sql} order by things.id"), &[]).await;
        let found: Vec<String> =
            found.unwrap_or_else(|error| panic!("{sql}: {error:?}")).iter().map(|row| row.get(0)).collect();
        let passed = passed.remove(&number.to_string()).unwrap_or_default();
        assert_eq!(passed, found, "seed {seed}: {graphql}\n{sql}");
        assert_eq!(initial(&mut rows, graphql).await, found, "seed {seed}: {graphql} @initial\n{sql}");
        total += found.len();
    }
    println!("{FILTERS} filters over {ROWS} rows, {total} passes as events and as rows, none differs");
}

#[tokio::test]
async fn a_row_that_leaves_a_filter_is_told_where_both_records_are_asked_for() {
    let database = Database::new().await;
    let client = database.connect().await;
    client.batch_execute(TABLE).await.unwrap();
    let daemon = Daemon::start(&database.conninfo()).await;
    let mut socket = Socket::open(&daemon, &token("ann", "acme")).await;
    let subscription = |scope: &str| {
        format!(
            "subscription {{ thingChanged(filter: {{ e: {{ eq: glad }} }} {scope}) {{ operation record {{ e }} }} }}"
        )
    };
    socket.subscribe("record", &subscription("")).await;
    socket.subscribe("either", &subscription("filterScope: RECORD_OR_OLD")).await;
    client
        .batch_execute("insert into things (id, e) values (1, 'glad'); update things set e = 'sad'; update things set e = 'so so'; truncate things")
        .await
        .unwrap();
    let mut told = Vec::new();
    while told.len() < 5 {
        let message = socket.receive().await;
        let change = &message["payload"]["data"]["thingChanged"];
        told.push(
            format!("{} {} {}", message["id"], change["operation"], change["record"]["e"]).replace('"', ""),
        );
    }
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "either INSERT glad",
            "either TRUNCATE null",
            "either UPDATE sad",
            "record INSERT glad",
            "record TRUNCATE null"
        ]
    );
}
