//! Requests that are wrong or dear: how long until each is answered.
//!
//! # Layout
//!
//! [`dear`] are the dearest documents that pass the limits, prepared inside the process; [`wrong`] are
//! requests that are refused, sent over [`sse`] and [`websocket`] to a daemon, on one connection each that
//! has to live on. One thread, one request at a time.

mod dear;

mod wrong;

mod sse;

mod websocket;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use tidings_daemon::graphql::prepare::Prepared;
use tidings_daemon::graphql::request::Request;
use tidings_daemon::hub::audience::Identity;

/// Prepares dear documents, and sends wrong requests to a daemon if there is one. Prints tables.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address and port of a daemon; without one nothing is sent.
    #[arg(long)]
    address: Option<String>,
    /// Bearer token of the sender.
    #[arg(long, default_value = "")]
    token: String,
    /// How often each request is made.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let load = std::fs::read_to_string("/proc/loadavg").context("the load average")?;
    println!("Load average: {}", load.trim());
    println!();
    println!("| dear document | bytes | answer | p50 ms | p99 ms | max ms |");
    println!("|---|--:|---|--:|--:|--:|");
    for (name, document) in dear::documents() {
        prepare(name, &document, arguments.rounds.div_ceil(10))?;
    }
    let Some(address) = &arguments.address else { return Ok(()) };
    println!();
    println!("| wrong request | over | answer | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|--:|--:|--:|");
    let mut sse = sse::Sse::connect(address, &arguments.token).await?;
    let mut socket = websocket::Socket::connect(address, &arguments.token).await?;
    for (name, request) in wrong::requests() {
        let request = request.to_string();
        let (mut over_sse, mut over_ws) = (Histogram::new(3)?, Histogram::new(3)?);
        let mut answer = String::new();
        for _ in 0..arguments.rounds {
            let began = Instant::now();
            answer = sse.refusal(&request).await.with_context(|| name.to_owned())?;
            over_sse.record(micros(began)?)?;
            let began = Instant::now();
            let same = socket.refusal(&request).await.with_context(|| name.to_owned())?;
            over_ws.record(micros(began)?)?;
            anyhow::ensure!(same == answer, "{name}: {answer} over SSE, {same} over WebSocket");
            socket.ping().await.with_context(|| name.to_owned())?;
        }
        print(&format!("{name} | SSE | {answer}"), &over_sse);
        print(&format!("{name} | WS | {answer}"), &over_ws);
    }
    Ok(())
}

/// Prepares a document that the cache has not seen, however often it did.
fn prepare(name: &str, document: &str, rounds: u32) -> Result<()> {
    let schema = dear::schema()?;
    let mut times = Histogram::new(3)?;
    let mut answer = String::new();
    for round in 0..rounds {
        let request = Request { query: format!("{document} #{round}"), ..Request::default() };
        let began = Instant::now();
        let prepared = schema.prepare(&request, &Identity::default());
        times.record(micros(began)?)?;
        answer = match prepared {
            Prepared::Refused(errors) => format!("{} {}", errors.len(), errors[0].extensions.code),
            Prepared::Subscription(_) => "a subscription".to_owned(),
            Prepared::Query(result) => format!("{} bytes", result.len()),
        };
    }
    print(&format!("{name} | {} | {answer}", document.len()), &times);
    Ok(())
}

fn micros(began: Instant) -> Result<u64> {
    Ok(u64::try_from(began.elapsed().as_micros())?)
}

fn print(what: &str, times: &Histogram<u64>) {
    let ms = |micros: u64| micros as f64 / 1e3;
    println!(
        "| {what} | {:.2} | {:.2} | {:.2} |",
        ms(times.value_at_quantile(0.5)),
        ms(times.value_at_quantile(0.99)),
        ms(times.max())
    );
}
