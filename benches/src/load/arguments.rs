//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::connection::Target;
use crate::publisher::Style;
use crate::systems::System;

/// Subscribes many times, has PostgreSQL make events, checks every delivery, and prints what was measured as a line of
/// JSON each. A measurement in which a delivery is missing, doubled, late in order or wrong is a line with an `error`,
/// and the exit status is not 0.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Events for everybody, in bursts or one by one.
    Deliver(Deliver),
    /// Events of which each concerns one subscriber among many.
    Route(Route),
    /// What connections cost that do nothing.
    Memory(Memory),
    /// How long many subscriptions of one document take until all are ready.
    Subscribe(Subscribe),
    /// A bare LISTEN: the latency that any system begins with.
    Hop(Hop),
}

/// What and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// The system to measure.
    #[arg(long, value_enum)]
    pub(crate) system: System,
    /// Where it listens.
    #[arg(long)]
    address: SocketAddr,
    /// Bearer token of the subscribers.
    #[arg(long, default_value = "")]
    token: String,
    /// Where events are made.
    #[arg(long)]
    pub(crate) database_url: String,
    /// The server's first process, whose CPU time and memory, and those of its children, are read from /proc.
    #[arg(long)]
    pub(crate) pid: u32,
    /// Tidings only: every transaction sends its own NOTIFY.
    #[arg(long)]
    pub(crate) direct: bool,
    #[command(flatten)]
    pub(crate) label: Label,
}

/// What the lines say besides.
#[derive(Debug, Clone, Args)]
pub(crate) struct Label {
    /// The part of the report.
    #[arg(long)]
    pub(crate) part: String,
    /// Which of several equal runs.
    #[arg(long, default_value_t = 1)]
    pub(crate) round: u32,
    /// Seconds to wait until everybody is live, and for the deliveries of a burst.
    #[arg(long, default_value_t = 60)]
    patience_s: u64,
}

/// Events one by one.
#[derive(Debug, Clone, Args)]
pub(crate) struct Paced {
    /// Events per second, each in a transaction of its own, one measurement each.
    #[arg(long, value_delimiter = ',')]
    pub(crate) rates: Vec<u32>,
    /// Length of each of these.
    #[arg(long, default_value_t = 4.0)]
    pub(crate) rate_s: f64,
}

/// Subscriptions that share connections.
#[derive(Debug, Clone, Args)]
pub(crate) struct Multiplexed {
    /// How many subscriptions, each with a channel of its own.
    #[arg(long)]
    pub(crate) subscriptions: usize,
    /// Connections that share them.
    #[arg(long)]
    pub(crate) connections: usize,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Deliver {
    #[command(flatten)]
    pub(crate) server: Server,
    /// How many subscribers, each with a connection of its own.
    #[arg(long)]
    pub(crate) subscribers: usize,
    /// Events of a burst, in one transaction; 0 for none.
    #[arg(long, default_value_t = 0)]
    pub(crate) burst: u32,
    /// Bursts, one after the other, for so many seconds.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) burst_s: f64,
    #[command(flatten)]
    pub(crate) paced: Paced,
    /// Beside these, a bare LISTEN shows what the database takes meanwhile.
    #[arg(long)]
    pub(crate) probe: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Route {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) many: Multiplexed,
    /// Events per second.
    #[arg(long, default_value_t = 500)]
    pub(crate) rate: u32,
    /// Length of the measurement.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) rate_s: f64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Numbers of connections at which memory is read.
    #[arg(long, value_delimiter = ',')]
    pub(crate) steps: Vec<usize>,
    /// Subscriptions of each connection; if there are several, each has a channel of its own.
    #[arg(long, default_value_t = 1)]
    pub(crate) per_connection: usize,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Subscribe {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) many: Multiplexed,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Hop {
    /// Where events are made, and listened to.
    #[arg(long)]
    pub(crate) database_url: String,
    /// Number of the core that the listener gets; without it, any.
    #[arg(long)]
    pub(crate) core: Option<usize>,
    #[command(flatten)]
    pub(crate) paced: Paced,
    #[command(flatten)]
    pub(crate) label: Label,
}

impl Label {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_s)
    }
}

impl Server {
    pub(crate) fn target(&self) -> Target {
        Target { system: self.system, address: self.address, token: self.token.clone() }
    }

    /// How its events are made: on one channel, or on so many that take turns.
    pub(crate) fn style(&self, channels: u32) -> Style {
        Style {
            system: self.system,
            database_url: self.database_url.clone(),
            channel: CHANNEL.to_owned(),
            channels,
            direct: self.direct,
        }
    }

    /// What wakes the server.
    pub(crate) fn wake_up(&self) -> &'static str {
        match (self.system.is_ours(), self.direct) {
            (true, true) => "direct",
            (true, false) => "coalesced",
            (false, _) => "notify",
        }
    }
}

/// The channel of everybody, and what the name of a channel of one's own begins with.
pub(crate) const CHANNEL: &str = "load_";
