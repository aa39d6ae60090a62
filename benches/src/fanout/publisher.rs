//! The one who commits: events with consecutive numbers, into PostgreSQL, by `publish_event`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, NoTls, Statement};

use crate::arguments::Arguments;
use crate::ledger::{Progress, micros_since};

/// Bursts and events per burst of the warm-up.
const WARM_UP: (u32, u32) = (5, 10);

/// When an event's transaction was sent and when its commit was acknowledged: the commit itself
/// lies between the two. Microseconds on the run's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Commit {
    pub(crate) sent_micros: u32,
    pub(crate) acknowledged_micros: u32,
}

/// Publishes on one connection.
pub(crate) struct Publisher<'a> {
    arguments: &'a Arguments,
    client: Client,
    publish_many: Statement,
    channel: &'a str,
    clock: Instant,
    commits: Vec<Commit>,
}

impl<'a> Publisher<'a> {
    pub(crate) async fn connect(arguments: &'a Arguments, channel: &'a str, clock: Instant) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(&arguments.database_url, NoTls)
            .await
            .context("connecting to PostgreSQL")?;
        tokio::spawn(connection);
        // The count makes the planner call the function for every row, in the order of the numbers.
        let publish_many = client
            .prepare(
                "select count(publish_event($1, 'tick', jsonb_build_object('seq', seq, 'pad', $2::text)))
                 from generate_series($3::int, $4::int) seq",
            )
            .await
            .context("preparing publish_event: is the extension there, may this role publish?")?;
        Ok(Self { arguments, client, publish_many, channel, clock, commits: Vec::new() })
    }

    pub(crate) fn published(&self) -> u64 {
        self.commits.len() as u64
    }

    pub(crate) async fn warm_up(&mut self) -> Result<()> {
        for _ in 0..WARM_UP.0 {
            self.publish_burst(WARM_UP.1).await?;
        }
        Ok(())
    }

    pub(crate) async fn publish(&mut self, progress: &Progress) -> Result<()> {
        if self.arguments.rate > 0 {
            return self.publish_paced().await;
        }
        let mut left = self.arguments.events;
        while left > 0 {
            let burst = left.min(self.arguments.burst.max(1));
            self.publish_burst(burst).await?;
            left -= burst;
            let expected = self.published() * self.arguments.subscribers as u64;
            progress.wait_for(expected, self.arguments.patience()).await;
        }
        Ok(())
    }

    /// Transactions without a pause between them: the connection pipelines them.
    async fn publish_burst(&mut self, burst: u32) -> Result<()> {
        let padding = self.padding();
        let first = self.commits.len();
        let end = first + burst as usize;
        let batch = self.arguments.batch.max(1) as usize;
        let transactions = (first..end).step_by(batch).map(|start| {
            let range = (start, (start + batch).min(end) - 1);
            publish(&self.client, &self.publish_many, self.channel, &padding, range, self.clock)
        });
        let commits = futures_util::future::try_join_all(transactions).await?;
        for (number, commit) in commits.into_iter().enumerate() {
            let events = batch.min(burst as usize - number * batch);
            self.commits.extend(std::iter::repeat_n(commit, events));
        }
        Ok(())
    }

    /// A transaction per event at a steady rate: the next does not wait for the one before, so a
    /// slow commit cannot hide the wait of those behind it.
    async fn publish_paced(&mut self) -> Result<()> {
        let padding = self.padding();
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.arguments.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut running = FuturesUnordered::new();
        let first = self.commits.len();
        let mut done: Vec<(usize, Commit)> = Vec::new();
        for event in first..first + self.arguments.events as usize {
            loop {
                tokio::select! {
                    _ = ticks.tick() => break,
                    Some(finished) = running.next() => done.push(finished?),
                }
            }
            let publishing =
                publish(&self.client, &self.publish_many, self.channel, &padding, (event, event), self.clock);
            running.push(async move { publishing.await.map(|commit| (event, commit)) });
        }
        while let Some(finished) = running.next().await {
            done.push(finished?);
        }
        done.sort_unstable_by_key(|(event, _)| *event);
        self.commits.extend(done.into_iter().map(|(_, commit)| commit));
        Ok(())
    }

    /// What makes an event's data as large as asked for, next to its number.
    fn padding(&self) -> String {
        "x".repeat(self.arguments.payload.saturating_sub(r#"{"pad": "", "seq": 10000}"#.len()))
    }

    pub(crate) fn finish(self) -> Vec<Commit> {
        self.commits
    }
}

async fn publish(
    client: &Client,
    statement: &Statement,
    channel: &str,
    padding: &str,
    (first, last): (usize, usize),
    clock: Instant,
) -> Result<Commit> {
    let (first, last) = (i32::try_from(first)?, i32::try_from(last)?);
    let sent_micros = micros_since(clock);
    client.query_one(statement, &[&channel, &padding, &first, &last]).await.context("publishing")?;
    Ok(Commit { sent_micros, acknowledged_micros: micros_since(clock) })
}
