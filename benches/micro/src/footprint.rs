//! What one further subscription takes: resident bytes, all included, of connections with many.
//!
//! No socket: what a transport keeps for each is not in it.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tidings_daemon::graphql::error::GraphQLError;
use tidings_daemon::hub::audience::Identity;
use tidings_daemon::service::{Connection, Service, ServiceOptions};
use tidings_daemon::source::memory;
use tidings_micro::results::{Measured, record};
use tidings_micro::room::identity;
use tidings_micro::shop;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long, default_value_t = 100)]
    connections: usize,
    #[arg(long, default_value_t = 1_000)]
    subscriptions: usize,
    /// What they ask for: `same`, `key` or `range`. Without it each of these, in a process of its own, because
    /// what one leaves the next would use again.
    #[arg(long)]
    kind: Option<String>,
}

/// What the subscription of a number asks for.
type Ask = fn(usize) -> (&'static str, Value);

const KINDS: [(&str, Ask); 3] = [
    ("same", |_| ("subscription { orderInserted { id total note state } }", Value::Null)),
    ("key", |number| {
        let query =
            "subscription($id: BigInt!) { orderChanged(id: $id) { operation record { id total state } } }";
        (query, json!({ "id": number }))
    }),
    ("range", |number| {
        let query = "subscription($least: BigFloat) {
            orderInserted(filter: { total: { gte: $least }, state: { in: [paid, sent] } }) { id total } }";
        (query, json!({ "least": number }))
    }),
];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if let Some(kind) = &arguments.kind {
        let known = KINDS.iter().find(|(name, _)| name == kind);
        let (kind, ask) = known.with_context(|| format!("no kind {kind}"))?;
        return measure(arguments, kind, *ask);
    }
    println!("| asks for | connections | subscriptions of each | bytes each | bytes left behind each |");
    println!("|---|--:|--:|--:|--:|");
    for (kind, _) in KINDS {
        let ended = Command::new(std::env::current_exe()?)
            .args(["footprint", "--kind", kind])
            .args(["--connections", &arguments.connections.to_string()])
            .args(["--subscriptions", &arguments.subscriptions.to_string()])
            .status()?;
        ensure!(ended.success(), "{kind}: {ended}");
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn measure(arguments: &Arguments, kind: &str, ask: Ask) -> Result<()> {
    let (_publisher, source) = memory::source(shop::catalog(), 1);
    let service = Service::start(source, ServiceOptions::default());
    service.ready().await;
    let mut all = Vec::with_capacity(arguments.connections);
    // Documents and plans are there already, and each connection has its first.
    for number in 0..arguments.connections {
        let identity = identity(number % 10);
        let mut connection = service.connect(identity.clone());
        subscribe(&service, &mut connection, &identity, ask(number)).await?;
        all.push((connection, identity));
    }
    let before = resident()?;
    let mut number = arguments.connections;
    for (connection, identity) in &mut all {
        for _ in 1..arguments.subscriptions {
            subscribe(&service, connection, identity, ask(number)).await?;
            number += 1;
        }
    }
    let count = (number - arguments.connections) as f64;
    let full = resident()?;
    let each = (full - before) / count;
    let (connections, subscriptions) = (all.len(), arguments.subscriptions);
    drop(all);
    let left = (resident()? - before) / count;
    println!("| {kind} | {connections} | {subscriptions} | {each:.0} | {left:.0} |");
    let measured = Measured { median: each, least: each, most: each };
    record(&format!("footprint/{kind}"), "bytes per further subscription", measured)
}

async fn subscribe(
    service: &Service,
    connection: &mut Connection,
    identity: &Arc<Identity>,
    (query, variables): (&str, Value),
) -> Result<()> {
    let refused = |errors: Vec<GraphQLError>| anyhow!("{errors:?}");
    let permit = service.authorize(&shop::request(query, variables), identity).await.map_err(refused)?;
    connection.subscribe(permit).map(drop).map_err(refused)
}

/// Resident bytes of this process.
fn resident() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/statm")?;
    let pages = text.split_whitespace().nth(1).context("statm")?;
    Ok(pages.parse::<f64>()? * rustix::param::page_size() as f64)
}
