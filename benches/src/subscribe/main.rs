//! Subscribing and routing, inside the process: how long a subscription takes until it is live, and what
//! an event costs among subscriptions that it does not concern.
//!
//! One thread, no socket, no database: the memory source feeds the service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use tidings_daemon::event::{Audience, Event, Operation};
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::service::{Connection, Service, ServiceOptions};
use tidings_daemon::source::catalog::{AttachedTable, Catalog, Column, ColumnType};
use tidings_daemon::source::memory::{self, Publisher};

const CACHED: usize = 50_000;
const COLD: usize = 3_000;
const EVENTS: usize = 2_000;
const ROUNDS: usize = 3;

/// Prints tables, or lines of JSON for the report.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long subscriptions take, for the report; nothing else.
    #[arg(long)]
    json: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if Arguments::parse().json {
        return print_lines().await;
    }
    println!("| what | count | p50 us | p99 us | max us |");
    println!("|---|--:|--:|--:|--:|");
    let (service, _publisher) = start().await;
    print("known document", CACHED, &measure(&service, CACHED, known).await?);
    let new = |number: usize| {
        let query = format!(
            "subscription S{number} {{ orderChanged(filter: {{ total: {{ gte: {number} }} }}) {{
                a{number}: operation record {{ id state total note placed_at lines }} old {{ id state }} }} }}"
        );
        request(&query, Value::Null)
    };
    print("new document", COLD, &measure(&service, COLD, new).await?);
    drop(service);

    println!();
    println!("| subscriptions that do not match | found by | CPU us per event |");
    println!("|--:|---|--:|");
    for count in [100, 1_000, 10_000, 100_000] {
        route(count, "look-up", &|id| format!("{{ id: {{ eq: {id} }} }}")).await?;
    }
    for count in [100, 1_000, 10_000] {
        route(count, "one residual", &|_| "{ total: { lt: 0 } }".to_owned()).await?;
    }
    for count in [100, 1_000] {
        route(count, "a residual each", &|id| format!("{{ total: {{ lt: -{id} }} }}")).await?;
    }
    Ok(())
}

/// Subscriptions of a known document, several times over.
async fn print_lines() -> Result<()> {
    let mut of_each = [(0.5, "p50"), (0.99, "p99")].map(|(quantile, name)| (quantile, name, Vec::new()));
    for _ in 0..ROUNDS {
        let (service, _publisher) = start().await;
        let times = measure(&service, CACHED, known).await?;
        for (quantile, _, values) in &mut of_each {
            values.push(times.value_at_quantile(*quantile) as f64 / 1e6);
        }
    }
    for (_, name, mut values) in of_each {
        values.sort_unstable_by(f64::total_cmp);
        let line = json!({ "part": "micro", "name": format!("subscribe/{name}"), "unit": "ms on the server",
            "value": values[ROUNDS / 2], "spread": [values[0], values[ROUNDS - 1]] });
        println!("{line}");
    }
    Ok(())
}

/// A document that all share, with values of one's own.
fn known(id: usize) -> Request {
    let query = "subscription($id: BigInt, $least: BigFloat) {
        orderChanged(id: $id, filter: { total: { gte: $least }, state: { in: [paid, sent] } }) {
            operation record { id state total note } changedColumns } }";
    request(query, json!({ "id": id, "least": id % 100 }))
}

async fn start() -> (Service, Publisher) {
    let (publisher, source) = memory::source(catalog(), 10_000);
    let service = Service::start(source, ServiceOptions::default());
    service.ready().await;
    (service, publisher)
}

fn catalog() -> Catalog {
    let base = |name: &str, typname: &str| Column {
        name: name.to_owned(),
        comment: None,
        not_null: name == "id",
        primary_key: name == "id",
        column_type: ColumnType::Base(typname.to_owned()),
    };
    let mut columns = vec![
        base("id", "int8"),
        base("total", "numeric"),
        base("note", "text"),
        base("placed_at", "timestamptz"),
        base("lines", "int4"),
    ];
    let labels = ["new", "paid", "sent"].map(String::from).into();
    columns.push(Column {
        column_type: ColumnType::Enum { name: "order_state".to_owned(), labels },
        ..base("state", "text")
    });
    let order = AttachedTable {
        oid: 1,
        table: "public.orders".to_owned(),
        type_name: "Order".to_owned(),
        channel: "public.orders".to_owned(),
        comment: None,
        operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
        include_old: true,
        tenant_column: None,
        user_column: None,
        row_security: None,
        columns,
    };
    Catalog { tables: vec![order], ..Catalog::default() }
}

fn request(query: &str, variables: Value) -> Request {
    let variables = match variables {
        Value::Object(variables) => Some(variables),
        _ => None::<Map<String, Value>>,
    };
    Request { query: query.to_owned(), variables, ..Request::default() }
}

/// Times each subscription from the request until it is live, on a connection of its own.
async fn measure(
    service: &Service,
    count: usize,
    request: impl Fn(usize) -> Request,
) -> Result<Histogram<u64>> {
    let mut times = Histogram::new(3)?;
    let mut connections: Vec<Connection> = Vec::with_capacity(count);
    for number in 0..count {
        let request = request(number);
        let began = Instant::now();
        let connection = subscribe(service, &request).await?;
        times.record(u64::try_from(began.elapsed().as_nanos())?)?;
        connections.push(connection);
    }
    Ok(times)
}

async fn subscribe(service: &Service, request: &Request) -> Result<Connection> {
    let identity = Arc::new(Identity::default());
    let refused = |errors: Vec<GraphQLError>| anyhow!("{errors:?}");
    let mut connection = service.connect(identity.clone());
    let permit = service.authorize(request, &identity).await.map_err(refused)?;
    connection.subscribe(permit).map_err(refused)?;
    Ok(connection)
}

fn print(what: &str, count: usize, times: &Histogram<u64>) {
    let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    println!(
        "| {what} | {count} | {:.1} | {:.1} | {:.1} |",
        us(times.value_at_quantile(0.5)),
        us(times.value_at_quantile(0.99)),
        us(times.max())
    );
}

/// What an event costs that concerns one subscription among many.
async fn route(count: usize, found_by: &str, filter: &dyn Fn(usize) -> String) -> Result<()> {
    let (service, publisher) = start().await;
    let filtered = |filter: &str| {
        let query = format!("subscription {{ orderInserted(filter: {filter}) {{ id }} }}");
        request(&query, Value::Null)
    };
    let mut others = Vec::with_capacity(count);
    for id in 1..=count {
        others.push(subscribe(&service, &filtered(&filter(id))).await?);
    }
    let mut matching = subscribe(&service, &filtered("{ id: { eq: 0 } }")).await?;
    let began = Instant::now();
    let mut received = 0;
    for _ in 0..EVENTS {
        publisher.publish(event()).await?;
    }
    let mut deliveries = Vec::new();
    while received < EVENTS {
        tokio::time::timeout(Duration::from_secs(60), matching.drain(&mut deliveries)).await?;
        received += deliveries.drain(..).count();
    }
    let per_event = began.elapsed().as_secs_f64() * 1e6 / EVENTS as f64;
    println!("| {} | {found_by} | {per_event:.2} |", others.len());
    Ok(())
}

fn event() -> Event {
    Event {
        channel: "public.orders".into(),
        event_type: "INSERT".into(),
        type_name: Some("Order".into()),
        operation: Some(Operation::Insert),
        audience: Audience::default(),
        payload: r#"{"id":0,"total":12.50,"note":"a note of some length","placed_at":"2026-01-02T03:04:05+00:00","lines":3,"state":"paid"}"#.into(),
        ..Event::default()
    }
}
