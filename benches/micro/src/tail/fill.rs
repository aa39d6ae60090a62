//! As many events as there are, while there are ever more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use tidings_daemon::hub::dispatch::Hub;
use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Source, Step};
use tidings_micro::results::tell;
use tokio_postgres::NoTls;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the database is; the extension is there.
    #[arg(long)]
    database_url: String,
    /// Events of one run.
    #[arg(long, default_value_t = 600_000)]
    events: u64,
    /// Events that are there before the first is fetched: the rest is written meanwhile.
    #[arg(long, default_value_t = 200_000)]
    ahead: u64,
    /// Rows of one INSERT.
    #[arg(long, default_value_t = 2_000)]
    rows: u64,
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// What the writer has committed.
#[derive(Debug, Default)]
struct Written {
    events: AtomicU64,
    stop: AtomicBool,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(&arguments.database_url, NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(
            "drop table if exists tail_orders;
             create table tail_orders (id bigint generated always as identity primary key,
                 tenant_id text not null, state text not null, total numeric(12, 2) not null, note text);
             select attach_trigger('tail_orders', tenant_column => 'tenant_id')",
        )
        .await
        .context("creating the attached table: is the extension there?")?;
    let (mut rates, mut costs, mut written) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        let Measured { rate, cpu_us, writer_rate } = once(arguments).await?;
        rates.push(rate);
        costs.push(cpu_us);
        written.push(writer_rate);
        client.batch_execute("truncate tail_orders").await?;
    }
    tell("tail/rate", "events per second", rates)?;
    tell("tail/cpu", "us of CPU per event", costs)?;
    tell("tail/writer-meanwhile", "events per second", written)
}

struct Measured {
    rate: f64,
    cpu_us: f64,
    writer_rate: f64,
}

async fn once(arguments: &Arguments) -> Result<Measured> {
    let options = PostgresOptions::parse(&arguments.database_url)?;
    let mut source = PostgresSource::new(options, Metrics::default());
    let hub = Hub::new(Metrics::default(), true);
    // Connects, and stands where nothing has been written yet.
    while hub.position().cursor.is_empty() {
        if let Step::Start(cursor) = source.next().await {
            hub.start(&cursor);
        }
    }
    let written = Arc::new(Written::default());
    let writer = {
        let (written, url, rows) = (written.clone(), arguments.database_url.clone(), arguments.rows);
        std::thread::spawn(move || write(&url, rows, &written))
    };
    while written.events.load(Ordering::Acquire) < arguments.ahead {
        ensure!(!writer.is_finished(), "the writer has stopped: {:?}", writer.join());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let before = written.events.load(Ordering::Acquire);
    let (began, cpu) = (Instant::now(), thread_cpu());
    let (mut fetched, mut last_id) = (0, 0);
    while fetched < arguments.events {
        let Step::Batch(batch) = source.next().await else { continue };
        fetched += batch.events.len() as u64;
        let mut ids = batch.events.iter().map(|event| event.id);
        ensure!(ids.all(|id| std::mem::replace(&mut last_id, id) < id), "an id twice, or out of order");
        let mut next = Some(0);
        while let Some(from) = next {
            next = hub.dispatch(&batch, from, usize::MAX);
        }
    }
    let (took, cpu) = (began.elapsed().as_secs_f64(), thread_cpu().saturating_sub(cpu));
    let meanwhile = written.events.load(Ordering::Acquire) - before;
    written.stop.store(true, Ordering::Release);
    writer.join().map_err(|_| anyhow::anyhow!("the writer failed"))??;
    // What is left, so that every event was seen.
    let all = written.events.load(Ordering::Acquire);
    while fetched < all {
        if let Step::Batch(batch) = source.next().await {
            fetched += batch.events.len() as u64;
        }
    }
    ensure!(fetched == all, "{all} events were written and {fetched} fetched");
    let counted = arguments.events as f64;
    Ok(Measured {
        rate: counted / took,
        cpu_us: cpu.as_secs_f64() * 1e6 / counted,
        writer_rate: meanwhile as f64 / took,
    })
}

/// Of this thread: the writer has one of its own.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn write(database_url: &str, rows: u64, written: &Written) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
    tokio::spawn(connection);
    let insert = client
        .prepare(
            "insert into tail_orders (tenant_id, state, total, note)
             select 'tenant-' || i % 100, 'paid', 12.50, 'a note of some length'
             from generate_series(1, $1::bigint) i",
        )
        .await?;
    while !written.stop.load(Ordering::Acquire) {
        let count = client.execute(&insert, &[&rows.cast_signed()]).await?;
        written.events.fetch_add(count, Ordering::AcqRel);
    }
    Ok(())
}
