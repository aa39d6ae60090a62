//! Five hundred healthy streams, and at their side slow and hostile clients: what do the streams notice?
//!
//! # Layout
//!
//! [`streams`] are the healthy ones and measure how old each event is when it reaches them; [`attack`] lists
//! what the others send, and [`attackers`] send it.

mod attack;

mod attackers;

mod streams;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use hdrhistogram::Histogram;
use tokio_postgres::NoTls;

/// Prints the age of events at healthy streams, in quiet and under each kind of attack.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Address and port of the daemon.
    #[arg(long)]
    address: String,
    /// Bearer token of the healthy streams.
    #[arg(long)]
    token: String,
    /// Bearer token of the others.
    #[arg(long)]
    attacker_token: String,
    /// Where events are published.
    #[arg(long)]
    database_url: String,
    /// Healthy streams, half of them server-sent events and half WebSockets.
    #[arg(long, default_value_t = 500)]
    streams: u32,
    /// Slow clients of each kind.
    #[arg(long, default_value_t = 200)]
    slow: u32,
    /// Bad inputs a second, of all kinds together.
    #[arg(long, default_value_t = 100)]
    bad_per_second: u32,
    /// Events a second.
    #[arg(long, default_value_t = 10)]
    events_per_second: u32,
    /// Seconds of each phase.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How many times its quiet value the 99th percentile may be.
    #[arg(long, default_value_t = 2.0)]
    factor_max: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (database, connection) = tokio_postgres::connect(&arguments.database_url, NoTls).await?;
    tokio::spawn(connection);
    let streams = streams::Streams::open(&arguments).await?;
    println!("{} healthy streams, {} events/s", arguments.streams, arguments.events_per_second);
    println!();
    println!("| phase | attackers' connections | deliveries | p50 ms | p99 ms | max ms | p99 / quiet |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    // The first events find cold caches.
    phase(&arguments, &database, &streams, Duration::from_secs(5)).await?;
    let time = Duration::from_secs(arguments.seconds);
    let quiet = phase(&arguments, &database, &streams, time).await?;
    print("quiet", 0, &quiet, &quiet);
    let mut worst: f64 = 1.0;
    let slow = attackers::slow(&arguments);
    let measured = phase(&arguments, &database, &streams, time).await?;
    worst = worst.max(print("slow clients", slow.stop().await, &measured, &quiet));
    let bad = attackers::bad(&arguments);
    let measured = phase(&arguments, &database, &streams, time).await?;
    worst = worst.max(print("bad input", bad.stop().await, &measured, &quiet));
    let measured = phase(&arguments, &database, &streams, time).await?;
    print("quiet again", 0, &measured, &quiet);
    streams.check()?;
    anyhow::ensure!(worst <= arguments.factor_max, "the 99th percentile is {worst:.2} times its quiet value");
    Ok(())
}

/// Publishes for a time, and gives the ages at which the events arrived.
async fn phase(
    arguments: &Arguments,
    database: &tokio_postgres::Client,
    streams: &streams::Streams,
    time: Duration,
) -> Result<Histogram<u64>> {
    streams.begin();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / arguments.events_per_second);
    let count = time.as_secs() * u64::from(arguments.events_per_second);
    let statement = "select publish_event('siege', 'tick', to_jsonb($1::bigint))";
    for _ in 0..count {
        ticks.tick().await;
        database.execute(statement, &[&streams.now_us()]).await.context("publishing")?;
    }
    streams.received(count * u64::from(arguments.streams)).await
}

fn print(phase: &str, connections: u64, ages: &Histogram<u64>, quiet: &Histogram<u64>) -> f64 {
    let ms = |quantile| ages.value_at_quantile(quantile) as f64 / 1e3;
    let factor = ms(0.99) / (quiet.value_at_quantile(0.99) as f64 / 1e3);
    println!(
        "| {phase} | {connections} | {} | {:.2} | {:.2} | {:.2} | {factor:.2} |",
        ages.len(),
        ms(0.5),
        ms(0.99),
        ages.max() as f64 / 1e3
    );
    factor
}
