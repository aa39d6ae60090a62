//! A bare LISTEN: how long a notification takes from inside its transaction until somebody has it.
//!
//! Alone, on the core that a server would have: the least that any server begins with. Or as a [`Probe`] beside the
//! subscribers of a run: what one more client would see that listened to the database by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::stream::{BoxStream, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use crate::arguments::Hop;
use crate::ledger::{Audience, LATE_MICROS_MAX, Ledger};
use crate::publisher::{Order, Publisher, Style};
use crate::result::{Stamp, now_micros};
use crate::systems::System;

/// How long a notification may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two notifications of a probe: few enough that the run does not notice.
const PROBE_EVERY: Duration = Duration::from_millis(20);

/// Measures one rate.
pub(crate) fn measure(hop: &Hop, rate: u32) -> Result<Value> {
    let count = (f64::from(rate) * hop.paced.rate_s).ceil() as u32;
    let (ready, is_ready) = sync_channel(1);
    let (url, core) = (hop.database_url.clone(), hop.core);
    let listener = std::thread::spawn(move || listen(&url, core, count, &ready));
    // Without a word it has ended early, and why is what joining it tells.
    if is_ready.recv().is_ok() {
        let publisher = Publisher::start(Style {
            system: System::Floor,
            database_url: hop.database_url.clone(),
            channel: "hop".to_owned(),
            channels: 0,
            direct: false,
        });
        publisher.begin(Order { first: 0, count, rate })?;
        let ledger = join(listener)?;
        drop(publisher);
        ledger.reconcile(count)?;
        return Ok(with_quantiles(ledger.late(), ["p50_ms", "p99_ms"], json!({ "deliveries": count })));
    }
    join(listener).and_then(|_| bail!("the listener ended"))
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| bail!("a thread panicked"))
}

fn with_quantiles(late: &Histogram<u64>, [p50, p99]: [&str; 2], mut line: Value) -> Value {
    let millis = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
    line[p50] = millis(0.5).into();
    line[p99] = millis(0.99).into();
    line
}

/// A session and what it is told.
async fn session(
    url: &str,
) -> Result<(Client, BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>)> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
    let messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
    Ok((client, messages.boxed()))
}

fn listen(url: &str, core: Option<usize>, count: u32, ready: &SyncSender<()>) -> Result<Ledger> {
    if let Some(id) = core {
        ensure!(core_affinity::set_for_current(core_affinity::CoreId { id }), "core {id} cannot be had");
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, mut messages) = session(url).await?;
        subscribe(&client, &mut messages, "listen bench").await?;
        let mut ledger = Ledger::new(Audience::Everybody, 1)?;
        ledger.count_from(0);
        ready.send(()).context("nobody waits")?;
        while ledger.delivered() < u64::from(count) {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await.context("nothing comes")?;
            let Some(message) = message else { bail!("the database closed the connection") };
            if let AsyncMessage::Notification(notification) = message? {
                ledger.note(0, Stamp::find(notification.payload().as_bytes())?, now_micros());
            }
        }
        Ok(ledger)
    })
}

/// Sends a statement and drives its session until it is done.
async fn subscribe(
    client: &Client,
    messages: &mut BoxStream<'static, Result<AsyncMessage, tokio_postgres::Error>>,
    statement: &str,
) -> Result<()> {
    let sending = client.batch_execute(statement);
    tokio::pin!(sending);
    loop {
        tokio::select! {
            sent = &mut sending => return sent.context("LISTEN"),
            Some(message) = messages.next() => drop(message?),
        }
    }
}

/// Notifications now and then, while a run goes on.
#[derive(Debug)]
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Histogram<u64>>>,
}

impl Probe {
    pub(crate) fn start(url: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (url.to_owned(), Arc::clone(&stop));
        Self { stop, thread: std::thread::spawn(move || probe(&url, &stopped)) }
    }

    /// What it saw, added to the line of the run.
    pub(crate) fn finish(self, line: Value) -> Result<Value> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(with_quantiles(&join(self.thread)?, ["hop_p50_ms", "hop_p99_ms"], line))
    }
}

fn probe(url: &str, stop: &AtomicBool) -> Result<Histogram<u64>> {
    let notify = "select pg_notify('probe', format('{\"seq\": 0, \"sent\": %s}',
        (extract(epoch from clock_timestamp()) * 1000000)::bigint))";
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (listener, mut messages) = session(url).await?;
        subscribe(&listener, &mut messages, "listen probe").await?;
        let (notifier, connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
        tokio::spawn(connection);
        let notify = notifier.prepare(notify).await?;
        let mut late = Histogram::new_with_bounds(1, LATE_MICROS_MAX, 3)?;
        let mut ticks = tokio::time::interval(PROBE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            notifier.execute(&notify, &[]).await?;
            loop {
                let message =
                    tokio::time::timeout(PATIENCE, messages.next()).await.context("nothing comes")?;
                let Some(message) = message else { bail!("the database closed the connection") };
                if let AsyncMessage::Notification(notification) = message? {
                    let stamp = Stamp::find(notification.payload().as_bytes())?;
                    late.saturating_record(now_micros().saturating_sub(stamp.sent_micros));
                    break;
                }
            }
        }
        Ok(late)
    })
}
