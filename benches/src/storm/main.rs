//! A storm: thousands of clients that come back at once, each with a cursor of its own, as after a restart.
//!
//! `collect` publishes events and keeps the cursor behind each; `return` has clients come back with them and reads what
//! each has missed, and one event more that says that it is in the stream. A run with a missing, doubled or reordered
//! event counts for nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

/// Longest that any one step takes.
const PATIENCE: Duration = Duration::from_secs(120);

const QUERY: &str = "subscription%7Bevents(channel:%22storm%22)%7Bdata%7D%7D";

/// What stands before the number of an event in its result.
const BEFORE: &[u8] = b"\"events\":{\"data\":";

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand)]
enum Step {
    /// Publishes events and writes the cursor behind each to a file, one a line.
    Collect(Common),
    /// Comes back with these cursors.
    Return {
        #[command(flatten)]
        common: Common,
        /// Clients that come back.
        #[arg(long)]
        clients: usize,
    },
}

#[derive(Args)]
struct Common {
    /// Host and port of the daemon.
    #[arg(long)]
    address: String,
    /// The token of every client.
    #[arg(long)]
    token: String,
    /// Where events are published.
    #[arg(long)]
    database_url: String,
    /// Events that are published in the first step.
    #[arg(long, default_value_t = 1_000)]
    events: u64,
    /// The file of cursors.
    #[arg(long)]
    cursors: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Arguments::parse().step {
        Step::Collect(common) => collect(common).await,
        Step::Return { common, clients } => come_back(common, clients).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn collect(common: Common) -> Result<()> {
    let mut stream = Stream::open(&common, None).await?;
    stream.until(b"id: ").await?;
    for number in 0..common.events {
        publish(&common, number, number + 1).await?;
        stream.expect(number).await?;
    }
    let text = String::from_utf8_lossy(&stream.received).into_owned();
    let ids = text.split("\n\n").filter(|block| block.contains("event: next"));
    let ids: Vec<_> = ids.filter_map(|block| block.split("id: ").nth(1)?.lines().next()).collect();
    ensure!(ids.len() as u64 == common.events, "{} cursors of {} events", ids.len(), common.events);
    std::fs::write(&common.cursors, ids.join("\n")).context("the file of cursors")
}

async fn come_back(common: Common, clients: usize) -> Result<()> {
    let text = std::fs::read_to_string(&common.cursors).context("the file of cursors")?;
    let cursors: Vec<String> = text.lines().map(str::to_owned).collect();
    let began = Instant::now();
    let mut coming = JoinSet::new();
    let common = std::sync::Arc::new(common);
    for number in 0..clients {
        let place = number % cursors.len();
        let (common, cursor) = (common.clone(), cursors[place].clone());
        coming.spawn(async move {
            let mut stream = Stream::open(&common, Some(&cursor)).await?;
            for missed in place as u64 + 1..common.events {
                stream.expect(missed).await?;
            }
            Ok::<_, anyhow::Error>(stream)
        });
    }
    let mut streams = Vec::new();
    while let Some(came) = coming.join_next().await {
        streams.push(came??);
    }
    let caught_up = began.elapsed();
    publish(&common, common.events, common.events + 1).await?;
    for stream in &mut streams {
        stream.expect(common.events).await?;
    }
    let missed: usize = (0..clients).map(|number| common.events as usize - 1 - number % cursors.len()).sum();
    println!(
        "{clients} clients with {} cursors: {missed} missed events delivered in {:.2} s, everybody in the stream after {:.2} s",
        cursors.len().min(clients),
        caught_up.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Publishes the numbers from one to before the other, in one transaction.
async fn publish(common: &Common, from: u64, to: u64) -> Result<()> {
    let (client, connection) = tokio_postgres::connect(&common.database_url, NoTls).await?;
    let driver = tokio::spawn(connection);
    let statement =
        "select publish_event('storm', 'e', to_jsonb(n)) from generate_series($1::bigint, $2::bigint) n";
    let (first, last) = (i64::try_from(from)?, i64::try_from(to)? - 1);
    client.query(statement, &[&first, &last]).await?;
    driver.abort();
    Ok(())
}

/// One stream, and all that it said.
struct Stream {
    socket: TcpStream,
    received: Vec<u8>,
    looked_at: usize,
}

impl Stream {
    async fn open(common: &Common, cursor: Option<&str>) -> Result<Self> {
        let mut socket = TcpStream::connect(&common.address).await?;
        let resumes = cursor.map(|cursor| format!("last-event-id: {cursor}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /graphql?query={QUERY} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n{resumes}\
             accept: text/event-stream\r\n\r\n",
            common.address, common.token
        );
        socket.write_all(request.as_bytes()).await?;
        Ok(Self { socket, received: Vec::new(), looked_at: 0 })
    }

    /// Reads until something has come.
    async fn until(&mut self, wanted: &[u8]) -> Result<()> {
        while memmem::find(&self.received, wanted).is_none() {
            self.read().await?;
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<()> {
        let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.received)).await;
        if read.context("nothing comes any more")?? == 0 {
            bail!("the stream ended: {}", String::from_utf8_lossy(&self.received));
        }
        Ok(())
    }

    /// The next event is the one with this number.
    async fn expect(&mut self, number: u64) -> Result<()> {
        loop {
            let rest = &self.received[self.looked_at..];
            if let Some(at) = memmem::find(rest, BEFORE) {
                let digits = &rest[at + BEFORE.len()..];
                if let Some(end) = digits.iter().position(|byte| *byte == b'}') {
                    let found: u64 = std::str::from_utf8(&digits[..end])?.parse()?;
                    ensure!(found == number, "event {found} came in place of {number}");
                    self.looked_at += at + BEFORE.len() + end;
                    return Ok(());
                }
            }
            self.read().await?;
        }
    }
}
