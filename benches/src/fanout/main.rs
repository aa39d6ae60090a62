//! Fan-out: many subscribers of one channel, every delivery reconciled, CPU and latency measured.
//!
//! # Layout
//!
//! The modules stand in the order of a run: [`arguments`] say what to do, [`subscribers`] connect
//! over [`sse`] or [`websocket`], the [`publisher`] commits events into PostgreSQL, the [`ledger`]
//! notes every receipt and reconciles them at the end, [`process`] reads what the daemon used, and
//! the [`report`] prints one row. A run with a missing, doubled or reordered delivery has no row.
//!
//! One thread does all of it, so that a core of its own (`taskset`) keeps it off the daemon's.

mod arguments;

mod subscribers;

mod sse;

mod websocket;

mod publisher;

mod ledger;

mod process;

mod report;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use crate::arguments::Arguments;
use crate::ledger::{Progress, Receipts};
use crate::process::Usage;
use crate::publisher::Publisher;
use crate::report::Report;
use crate::subscribers::Subscribers;

/// After the last expected delivery, how long a duplicate may take to show itself.
const QUIET: Duration = Duration::from_millis(500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.header {
        report::print_header();
        return ExitCode::SUCCESS;
    }
    match tokio::task::LocalSet::new().run_until(run(arguments)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let clock = Instant::now();
    let channel = format!("bench_{}_{}", std::process::id(), epoch_micros());
    let progress = Rc::new(Progress::new(clock));
    let mut publisher = Publisher::connect(&arguments, &channel, clock).await?;

    let before_connecting = Usage::of(arguments.pid)?;
    let subscribers = Subscribers::connect(&arguments, &channel, &progress).await?;
    let connected = Usage::of(arguments.pid)?;

    // The warm-up proves that everybody is live; it is reconciled like the rest but not measured.
    publisher.warm_up().await?;
    progress.wait_for(publisher.published() * arguments.subscribers as u64, arguments.patience()).await;

    let started = Usage::of(arguments.pid)?;
    let first_measured = publisher.published();
    publisher.publish(&progress).await?;
    let expected = publisher.published() * arguments.subscribers as u64;
    progress.wait_for(expected, arguments.patience()).await;
    let ended = Usage::of(arguments.pid)?;

    tokio::time::sleep(QUIET).await;
    let receipts: Vec<Receipts> = subscribers.finish().await;
    ledger::reconcile(&receipts, publisher.published()).context("this run does not count")?;

    let commits = publisher.finish();
    Report {
        arguments: &arguments,
        receipts: &receipts,
        commits: &commits,
        first_measured: usize::try_from(first_measured)?,
        idle_bytes: connected.resident_bytes.saturating_sub(before_connecting.resident_bytes),
        resident_bytes: ended.resident_bytes,
        cpu: ended.cpu.saturating_sub(started.cpu),
    }
    .print()
}

fn epoch_micros() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros())
}
