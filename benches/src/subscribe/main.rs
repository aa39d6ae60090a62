//! Subscribing, inside the process: how long a subscription takes until it is live.
//!
//! One thread, no socket, no database: the memory source feeds the service.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::service::{Connection, Service, ServiceOptions};
use tidings_daemon::source::catalog::Catalog;
use tidings_daemon::source::memory::{self, Publisher};
use tidings_micro::shop::{self, request};

const CACHED: usize = 50_000;
const COLD: usize = 3_000;
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
    let catalog = Catalog { tables: vec![shop::orders()], ..Catalog::default() };
    let (publisher, source) = memory::source(catalog, 10_000);
    let service = Service::start(source, ServiceOptions::default());
    service.ready().await;
    (service, publisher)
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
