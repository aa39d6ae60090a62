//! As many events as there are, while there are ever more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use tidings_daemon::hub::dispatch::Hub;
use tidings_daemon::hub::outlet::Due;
use tidings_daemon::metrics::Metrics;
use tidings_daemon::source::postgres::{PostgresOptions, PostgresSource};
use tidings_daemon::source::{Source, Step};
use tidings_micro::results::tell;
use tokio_postgres::{Client, Config, NoTls};

use super::cpu;

const WRITER: &str = "tail writer";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the database is; the extension is there.
    #[arg(long)]
    database_url: String,
    /// Events of one run.
    #[arg(long, default_value_t = 600_000)]
    events: u64,
    /// Events that are there before the first is fetched: the rest is written meanwhile.
    #[arg(long, default_value_t = 500_000)]
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
    let [mut rates, mut costs, mut polls, mut written, mut writes] = [const { Vec::new() }; 5];
    for _ in 0..arguments.runs {
        let measured = once(arguments, &client).await?;
        rates.push(measured.rate);
        costs.push(measured.cpu_us);
        polls.push(measured.poll_us);
        written.push(measured.writer_rate);
        writes.push(measured.write_us);
        client.batch_execute("truncate tail_orders").await?;
    }
    tell("tail/rate", "events per second", rates)?;
    tell("tail/cpu", "us of CPU per event", costs)?;
    tell("tail/cpu-of-the-server", "us of CPU per event fetched", polls)?;
    tell("tail/writer-meanwhile", "events per second", written)?;
    tell("tail/cpu-of-the-writer", "us of CPU per event written", writes)
}

struct Measured {
    /// Events fetched a second.
    rate: f64,
    /// Of source and hub, for each of them.
    cpu_us: f64,
    /// Of the server's process that answers the source.
    poll_us: f64,
    /// Events written a second meanwhile.
    writer_rate: f64,
    /// Of the server's process that writes, for each of those.
    write_us: f64,
}

async fn once(arguments: &Arguments, client: &Client) -> Result<Measured> {
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
        // Looks now and then: telling would cost the writer, which is measured too.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (poll, write) = (backend(client, "tidings poll").await?, backend(client, WRITER).await?);
    let before = written.events.load(Ordering::Acquire);
    let (began, own, poll_before, write_before) = (Instant::now(), thread_cpu(), cpu(poll)?, cpu(write)?);
    let (mut fetched, mut last_id) = (0, 0);
    while fetched < arguments.events {
        let Step::Batch(batch) = source.next().await else { continue };
        fetched += batch.events.len() as u64;
        let mut ids = batch.events.iter().map(|event| event.id);
        ensure!(ids.all(|id| std::mem::replace(&mut last_id, id) < id), "an id twice, or out of order");
        let mut next = Some(0);
        while let Some(from) = next {
            next = hub.dispatch(&batch, from, usize::MAX, &mut Due::default());
        }
    }
    let (took, own) = (began.elapsed().as_secs_f64(), thread_cpu().saturating_sub(own));
    let (poll_us, write_us) = (cpu(poll)? - poll_before, cpu(write)? - write_before);
    let meanwhile = (written.events.load(Ordering::Acquire) - before) as f64;
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
        cpu_us: own.as_secs_f64() * 1e6 / counted,
        poll_us: poll_us / counted,
        writer_rate: meanwhile / took,
        write_us: write_us / meanwhile,
    })
}

/// The server's process that serves the last connection of a name.
async fn backend(client: &Client, name: &str) -> Result<u32> {
    let newest =
        "select pid from pg_stat_activity where application_name = $1 order by backend_start desc limit 1";
    Ok(client.query_one(newest, &[&name]).await?.get::<_, i32>(0).try_into()?)
}

/// Of this thread: the writer has one of its own.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[tokio::main(flavor = "current_thread")]
async fn write(database_url: &str, rows: u64, written: &Written) -> Result<()> {
    let mut config: Config = database_url.parse()?;
    let (client, connection) = config.application_name(WRITER).connect(NoTls).await?;
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
