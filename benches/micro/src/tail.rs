//! The tail, from `tidings.events` into the hub, and what it costs while little or nothing happens.
//!
//! `fill` fills the table with bulk INSERTs into an attached table and fetches the events meanwhile, in this
//! process: PostgresSource and hub, one thread. `idle` looks at a daemon from outside: its CPU time with no
//! traffic, and with one commit at a time. Every event is counted; a run with one missing fails.

mod fill;

mod idle;

use std::fs;

use anyhow::{Context, Result};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Events a second while a bulk writer fills the table.
    Fill(fill::Arguments),
    /// What a daemon takes with no traffic, and for one wake-up.
    Idle(idle::Arguments),
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(what: &What) -> Result<()> {
    match what {
        What::Fill(arguments) => fill::run(arguments).await,
        What::Idle(arguments) => idle::run(arguments).await,
    }
}

/// Microseconds that a process has run so far, all its threads together.
fn cpu(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    let threads =
        fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    for thread in threads {
        // A thread may end meanwhile.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().and_then(|ran| ran.parse::<f64>().ok());
        nanoseconds += ran.context("schedstat of a thread")?;
    }
    Ok(nanoseconds / 1e3)
}
