//! The tail, from `tidings.events` into the hub, and what it costs while little or nothing happens.
//!
//! `fill` fills the table with bulk INSERTs into an attached table and fetches the events meanwhile, in this
//! process: PostgresSource and hub, one thread. `idle` looks at a daemon from outside: its CPU time with no
//! traffic, and with one commit at a time. Every event is counted; a run with one missing fails.

mod fill;

mod idle;

use anyhow::Result;
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
