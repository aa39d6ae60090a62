//! Connects and disconnects, again and again, over every transport: what stays behind in the daemon?
//!
//! # Layout
//!
//! [`client`] makes one connection of a transport, waits until it is live and closes it; [`holdings`] is what
//! the daemon holds, from /proc.

mod client;

mod holdings;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use client::{Client, Transport};
use holdings::Holdings;

/// Prints what the daemon holds before and after each transport's cycles.
#[derive(Debug, Parser)]
struct Arguments {
    /// Address and port of the daemon.
    #[arg(long)]
    address: String,
    /// Bearer token of the clients.
    #[arg(long)]
    token: String,
    /// The daemon's process.
    #[arg(long)]
    pid: u32,
    /// Cycles of each transport.
    #[arg(long, default_value_t = 100_000)]
    cycles: u32,
    /// Those transports alone whose name contains this.
    #[arg(long, default_value = "")]
    transport: String,
    /// Connections at a time.
    #[arg(long, default_value_t = 32)]
    at_once: u32,
    /// Growth that fails the run: MiB from before the last tenth of all cycles to the end.
    #[arg(long, default_value_t = 16)]
    growth_max_mib: u64,
}

/// How long a daemon may take to let go of what the last clients had.
const SETTLING: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let client = Arc::new(Client::new(&arguments.address, &arguments.token)?);
    let transports = Transport::ALL.map(|transport| (transport, transport.to_string()));
    let chosen: Vec<_> =
        transports.into_iter().filter(|(_, name)| name.contains(&arguments.transport)).collect();
    println!("| transport | cycles | cycles/s | MiB before | after | files before | after |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    // What the first clients make the daemon allocate once is not what a leak is.
    for (transport, _) in &chosen {
        cycle(&client, *transport, arguments.cycles / 20, arguments.at_once).await?;
    }
    let idle = Holdings::settled(arguments.pid, None, SETTLING).await?;
    for (transport, name) in &chosen {
        let before = Holdings::of(arguments.pid)?;
        let began = Instant::now();
        cycle(&client, *transport, arguments.cycles, arguments.at_once).await?;
        let rate = f64::from(arguments.cycles) / began.elapsed().as_secs_f64();
        let after = Holdings::settled(arguments.pid, Some(idle.files), SETTLING).await?;
        println!(
            "| {name} | {} | {rate:.0} | {:.1} | {:.1} | {} | {} |",
            arguments.cycles,
            before.mib(),
            after.mib(),
            before.files,
            after.files
        );
    }
    let end = Holdings::of(arguments.pid)?;
    println!("| all | | | {:.1} | {:.1} | {} | {} |", idle.mib(), end.mib(), idle.files, end.files);
    ensure!(end.files <= idle.files, "files are left open");
    let grown = end.resident_bytes.saturating_sub(idle.resident_bytes) >> 20;
    ensure!(grown <= arguments.growth_max_mib, "{grown} MiB more than before");
    Ok(())
}

/// That many cycles, some at once.
async fn cycle(client: &Arc<Client>, transport: Transport, cycles: u32, at_once: u32) -> Result<()> {
    let next = Arc::new(AtomicU32::new(0));
    let workers = (0..at_once).map(|_| {
        let (client, next) = (client.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= cycles {
                    return Ok::<_, anyhow::Error>(());
                }
                client.come_and_go(transport, number).await?;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await??;
    }
    Ok(())
}
