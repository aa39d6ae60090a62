//! A bare LISTEN: how long a notification takes from inside its transaction until somebody on another core has it.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_postgres::{AsyncMessage, NoTls};

use crate::arguments::Hop;
use crate::ledger::{Audience, Ledger};
use crate::publisher::{Order, Publisher, Style};
use crate::result::{Stamp, now_micros};
use crate::systems::System;

/// How long a notification may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Measures one rate.
pub(crate) fn measure(hop: &Hop, rate: u32) -> Result<Value> {
    let count = (f64::from(rate) * hop.rate_s).ceil() as u32;
    let (ready, is_ready) = sync_channel(1);
    let (url, core) = (hop.database_url.clone(), hop.core);
    let listener = std::thread::spawn(move || listen(&url, core, count, &ready));
    // It ends early only with an error, which joining it tells.
    if is_ready.recv().is_err() {
        return Err(listener.join().map_err(|_| anyhow::anyhow!("the listener panicked"))?.map(drop).err())
            .map_err(|error| error.unwrap_or_else(|| anyhow::anyhow!("the listener ended")));
    }
    let publisher = Publisher::start(Style {
        system: System::Floor,
        database_url: hop.database_url.clone(),
        channel: "hop".to_owned(),
        channels: 0,
        direct: false,
    });
    publisher.begin(Order { first: 0, count, rate })?;
    let Ok(heard) = listener.join() else { bail!("the listener panicked") };
    let ledger = heard?;
    ensure!(ledger.delivered() == u64::from(count), "{} of {count} notifications", ledger.delivered());
    ledger.reconcile(count)?;
    let millis = |quantile| ledger.late().value_at_quantile(quantile) as f64 / 1e3;
    Ok(json!({ "p50_ms": millis(0.5), "p99_ms": millis(0.99), "max_ms": millis(1.0), "deliveries": count }))
}

fn listen(url: &str, core: Option<usize>, count: u32, ready: &SyncSender<()>) -> Result<Ledger> {
    if let Some(id) = core {
        ensure!(core_affinity::set_for_current(core_affinity::CoreId { id }), "core {id} cannot be had");
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.context("PostgreSQL")?;
        let mut messages = futures_util::stream::poll_fn(move |context| connection.poll_message(context));
        let listening = client.batch_execute("listen bench");
        tokio::pin!(listening);
        loop {
            tokio::select! {
                listened = &mut listening => break listened.context("LISTEN")?,
                Some(message) = messages.next() => drop(message?),
            }
        }
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
