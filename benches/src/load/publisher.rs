//! The one who commits: events with consecutive numbers, into PostgreSQL, on a thread of its own.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt, TryStreamExt};
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, NoTls, Statement};

use crate::systems::System;

/// Bytes of an event's data.
const DATA_BYTES: usize = 150;

/// How events are published.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    pub(crate) system: System,
    pub(crate) database_url: String,
    /// The channel, or what the channels that take turns begin with.
    pub(crate) channel: String,
    /// How many take turns; 0 for the one.
    pub(crate) channels: u32,
    /// Tidings only: every transaction sends its own NOTIFY.
    pub(crate) direct: bool,
}

/// What to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Number of the first event.
    pub(crate) first: u32,
    pub(crate) count: u32,
    /// Events per second, each in its own transaction; 0 for all in one transaction.
    pub(crate) rate: u32,
}

/// The thread, as others see it.
#[derive(Debug)]
pub(crate) struct Publisher {
    orders: tokio::sync::mpsc::Sender<Order>,
    done: Receiver<Result<()>>,
}

impl Publisher {
    pub(crate) fn start(style: Style) -> Self {
        let (orders, to_do) = tokio::sync::mpsc::channel(1);
        let (report, done) = sync_channel(1);
        std::thread::spawn(move || work(&style, to_do, &report));
        Self { orders, done }
    }

    /// Begins to publish. [`Self::is_done`] says when it is.
    pub(crate) fn begin(&self, order: Order) -> Result<()> {
        match self.orders.try_send(order) {
            Ok(()) => Ok(()),
            // It has ended; why is in the report.
            Err(_) => self.done.recv().context("the publisher ended")?,
        }
    }

    /// Whether what was begun is committed.
    pub(crate) fn is_done(&self) -> Result<bool> {
        match self.done.try_recv() {
            Ok(done) => done.map(|()| true),
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => bail!("the publisher ended"),
        }
    }
}

fn work(style: &Style, mut to_do: tokio::sync::mpsc::Receiver<Order>, report: &SyncSender<Result<()>>) {
    let working = async {
        let session = Session::connect(style).await?;
        while let Some(order) = to_do.recv().await {
            session.publish(order).await?;
            // Nobody waits for it once the run has ended.
            let _ = report.send(Ok(()));
        }
        Ok(())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Err(error) = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(working)) {
        let _ = report.send(Err(error));
    }
}

struct Session<'a> {
    style: &'a Style,
    client: Client,
    statement: Statement,
    padding: String,
}

impl<'a> Session<'a> {
    async fn connect(style: &'a Style) -> Result<Self> {
        let (client, connection) =
            tokio_postgres::connect(&style.database_url, NoTls).await.context("connecting to PostgreSQL")?;
        tokio::spawn(connection);
        if style.direct {
            client.batch_execute("set tidings.coalesce = off").await.context("direct mode")?;
        }
        let statement = client
            .prepare(&style.system.publish())
            .await
            .context("preparing: is the extension there, may this role publish?")?;
        let around = r#"{"seq": 100000, "sent": 1700000000000000, "pad": ""}"#.len();
        Ok(Self { style, client, statement, padding: "x".repeat(DATA_BYTES - around) })
    }

    async fn publish(&self, order: Order) -> Result<()> {
        if order.rate == 0 {
            return self.commit(order.first, order.first + order.count - 1).await;
        }
        // The next does not wait for the one before, so that a slow commit cannot hide the wait of those behind it:
        // the connection pipelines them.
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / order.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut running = FuturesUnordered::new();
        for event in order.first..order.first + order.count {
            loop {
                tokio::select! {
                    _ = ticks.tick() => break,
                    Some(done) = running.next() => done?,
                }
            }
            running.push(self.commit(event, event));
        }
        running.try_collect().await
    }

    async fn commit(&self, first: u32, last: u32) -> Result<()> {
        let (first, last) = (i32::try_from(first)?, i32::try_from(last)?);
        let channels = i32::try_from(self.style.channels)?;
        self.client
            .query_one(&self.statement, &[&self.style.channel, &self.padding, &first, &last, &channels])
            .await
            .context("publishing")?;
        Ok(())
    }
}
