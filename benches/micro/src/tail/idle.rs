//! A daemon with nothing to do, or next to nothing.

use std::time::Duration;

use anyhow::Result;
use tidings_micro::results::tell;
use tokio::time::{Instant, sleep_until};
use tokio_postgres::NoTls;

use super::cpu;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the database is; the extension is there.
    #[arg(long)]
    database_url: String,
    /// The daemon's process.
    #[arg(long)]
    pid: u32,
    /// Commits of one run, one at a time.
    #[arg(long, default_value_t = 500)]
    commits: u32,
    /// Pause between two of them, in milliseconds.
    #[arg(long, default_value_t = 10)]
    pause_ms: u64,
    /// Seconds without traffic, in each run.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(&arguments.database_url, NoTls).await?;
    tokio::spawn(connection);
    let publish = client.prepare("select publish_event('tail', 'tick', '{\"a\":1}')").await?;
    let (mut quiet, mut each) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        let before = cpu(arguments.pid)?;
        tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
        let idle = (cpu(arguments.pid)? - before) / arguments.seconds as f64;
        quiet.push(idle / 1e3);

        let (before, began) = (cpu(arguments.pid)?, Instant::now());
        for number in 1..=arguments.commits {
            client.execute(&publish, &[]).await?;
            sleep_until(began + Duration::from_millis(arguments.pause_ms) * number).await;
        }
        let idle = idle * began.elapsed().as_secs_f64();
        each.push((cpu(arguments.pid)? - before - idle) / f64::from(arguments.commits));
    }
    tell("tail/idle", "ms of CPU per second", quiet)?;
    tell("tail/wake-up", "us of CPU per commit", each)
}
