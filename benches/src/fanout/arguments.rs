//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Subscribes many times to one channel, publishes events into PostgreSQL, and prints one table
/// row: deliveries per CPU second of the daemon, and latency. Exit status 0 only if every
/// subscriber got every event exactly once and in order.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Print the table's head and end.
    #[arg(long)]
    pub(crate) header: bool,
    /// The daemon's endpoint.
    #[arg(long, default_value = "http://127.0.0.1:4000/graphql")]
    pub(crate) url: String,
    /// Bearer token of the subscribers.
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Where to publish: a role that may execute `publish_event`.
    #[arg(long, required_unless_present = "header", default_value = "")]
    pub(crate) database_url: String,
    /// Process id of the daemon, whose CPU time and memory are read from /proc.
    #[arg(long, required_unless_present = "header", default_value_t = 0)]
    pub(crate) pid: u32,
    /// How many subscribers, each with a connection of its own.
    #[arg(long, default_value_t = 100)]
    pub(crate) subscribers: usize,
    /// How they connect.
    #[arg(long, value_enum, default_value_t = Transport::Sse)]
    pub(crate) transport: Transport,
    /// How many events to measure.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) events: u32,
    /// Events per second, each in a transaction of its own; 0 for bursts.
    #[arg(long, default_value_t = 0)]
    pub(crate) rate: u32,
    /// Events per burst: everybody has received all of them before the next burst.
    #[arg(long, default_value_t = 100)]
    pub(crate) burst: u32,
    /// Events per transaction within a burst.
    #[arg(long, default_value_t = 1)]
    pub(crate) batch: u32,
    /// Size of an event's data in bytes.
    #[arg(long, default_value_t = 150)]
    pub(crate) payload: usize,
    /// Seconds to wait for deliveries before they count as missing.
    #[arg(long, default_value_t = 60)]
    pub(crate) timeout_s: u64,
}

/// A way to subscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// Server-sent events, distinct connections mode.
    Sse,
    /// WebSocket, `graphql-transport-ws`.
    Ws,
}

impl Arguments {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Host, port and path of the endpoint.
    pub(crate) fn endpoint(&self) -> anyhow::Result<Endpoint<'_>> {
        let rest =
            self.url.strip_prefix("http://").ok_or_else(|| anyhow::anyhow!("--url must be http://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Ok(Endpoint { authority, path: if path.is_empty() { "/graphql" } else { path } })
    }
}

/// The endpoint, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoint<'a> {
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
}
