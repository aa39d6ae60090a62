//! The load generator: many subscribers of Tidings or of a peer, every delivery reconciled.
//!
//! # Layout
//!
//! [`arguments`] say what to do, [`systems`] how each system is subscribed to and fed. A [`run`] has a [`crowd`] of
//! [`connection`]s that speak [`sse`] or [`websocket`], a [`publisher`] that commits events into PostgreSQL, a
//! [`ledger`] that takes every [`result`] as it comes, and readings of what the server's [`process`]es used.
//! [`hop`] is the latency that any of them begins with.
//!
//! Plain sockets and one thread for all of them (and one for the publisher): the load shares a core with
//! PostgreSQL, so that the server has the other one to itself.

mod arguments;

mod systems;

mod run;

mod crowd;

mod connection;

mod sse;

mod websocket;

mod publisher;

mod result;

mod ledger;

mod process;

mod hop;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};

use crate::arguments::{Arguments, Command, Deliver, Hop, Memory, Route, Server, Subscribe};
use crate::crowd::Crowd;
use crate::hop::Probe;
use crate::ledger::{Audience, Ledger};
use crate::process::Usage;
use crate::run::Run;

/// Memory that changes by less between two looks has settled.
const SETTLED_BYTES: u64 = 128 * 1024;

/// Time between two looks, and how many there are at most.
const LOOK: (Duration, u32) = (Duration::from_millis(400), 25);

/// Looks before memory counts as settled once all have left: allocators give back after a while.
const LOOKS_MIN_LEFT: u32 = 12;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Command::Deliver(deliver) => deliver.measure(),
        Command::Route(route) => route.measure(),
        Command::Memory(memory) => memory.measure(),
        Command::Subscribe(subscribe) => subscribe.measure(),
        Command::Hop(hop) => hop.measure(),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line: what was measured and what was found, or why there is nothing. Returns whether there is something.
fn print(mut what: Value, found: Result<Value>) -> bool {
    let is_ok = found.is_ok();
    let found = found.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        json!({ "error": format!("{error:#}") })
    });
    if let (Value::Object(what), Value::Object(found)) = (&mut what, found) {
        what.extend(found);
    }
    println!("{what}");
    is_ok
}

impl Server {
    fn line(&self) -> Value {
        json!({
            "part": self.label.part,
            "system": self.system.name(),
            "wake_up": self.wake_up(),
            "round": self.label.round,
        })
    }
}

fn with(mut line: Value, more: Value) -> Value {
    if let (Value::Object(line), Value::Object(more)) = (&mut line, more) {
        line.extend(more);
    }
    line
}

impl Deliver {
    fn measure(&self) -> bool {
        let bursts = (self.burst > 0).then_some((self.burst, 0));
        let shapes: Vec<_> =
            bursts.into_iter().chain(self.paced.rates.iter().map(|rate| (0, *rate))).collect();
        let line = |(burst, rate): (u32, u32)| {
            let shape = if rate == 0 { "burst" } else { "paced" };
            let more =
                json!({ "shape": shape, "burst": burst, "rate": rate, "subscribers": self.subscribers });
            with(self.server.line(), more)
        };
        let started = Run::start(&self.server, Audience::Everybody, self.subscribers, self.subscribers)
            .and_then(|mut run| run.warm_up().map(|()| run));
        let mut run = match started {
            Ok(run) => run,
            Err(error) => {
                let error = format!("{error:#}");
                shapes.iter().for_each(|shape| {
                    print(line(*shape), Err(anyhow::anyhow!(error.clone())));
                });
                return false;
            }
        };
        let mut is_ok = true;
        for shape @ (burst, rate) in shapes {
            let measured = match rate {
                0 => run.bursts(burst, Duration::from_secs_f64(self.burst_s)).map(|measured| measured.json()),
                rate => self.paced(&mut run, rate),
            };
            is_ok &= print(line(shape), measured);
            if !is_ok {
                // What is late would be counted in the next measurement.
                break;
            }
        }
        is_ok
    }

    fn paced(&self, run: &mut Run, rate: u32) -> Result<Value> {
        let probe = self.probe.then(|| Probe::start(&self.server.database_url));
        let measured =
            run.paced(rate, Duration::from_secs_f64(self.paced.rate_s)).map(|measured| measured.json());
        match probe {
            Some(probe) => probe.finish(measured?),
            None => measured,
        }
    }
}

impl Route {
    fn measure(&self) -> bool {
        let more = json!({ "subscriptions": self.many.subscriptions, "connections": self.many.connections, "rate": self.rate });
        let measured = || {
            let mut run =
                Run::start(&self.server, Audience::One, self.many.subscriptions, self.many.connections)?;
            run.warm_up()?;
            let used = run.connected.resident_bytes.saturating_sub(run.empty.resident_bytes);
            let measured = run.paced(self.rate, Duration::from_secs_f64(self.rate_s))?;
            Ok(with(measured.json(), json!({ "subscribed_bytes": used, "ready_s": run.ready.as_secs_f64() })))
        };
        print(with(self.server.line(), more), measured())
    }
}

impl Subscribe {
    fn measure(&self) -> bool {
        let more = json!({ "subscriptions": self.many.subscriptions, "connections": self.many.connections });
        let measured = || {
            let mut run =
                Run::start(&self.server, Audience::One, self.many.subscriptions, self.many.connections)?;
            let cpu = run.connected.cpu_since(&run.empty).as_secs_f64();
            run.warm_up()?;
            Ok(json!({ "ready_s": run.ready.as_secs_f64(), "cpu_s": cpu }))
        };
        print(with(self.server.line(), more), measured())
    }
}

impl Memory {
    fn measure(&self) -> bool {
        self.steps().map_or_else(|error| print(self.server.line(), Err(error)), |()| true)
    }

    fn steps(&self) -> Result<()> {
        let most = self.steps.iter().max().copied().unwrap_or(0) * self.per_connection;
        let audience = if self.per_connection > 1 { Audience::One } else { Audience::Everybody };
        let mut ledger = Ledger::new(audience, most)?;
        let mut crowd = Crowd::new(self.server.target())?;
        let mut all = run::wanted(audience, most, most / self.per_connection.max(1));
        let mut open = 0;
        self.read(&mut crowd, &mut ledger, 0, false)?;
        for step in &self.steps {
            crowd.open(all.by_ref().take(step - open), &mut ledger, self.server.label.patience())?;
            open = *step;
            self.read(&mut crowd, &mut ledger, open, false)?;
        }
        crowd.leave();
        self.read(&mut crowd, &mut ledger, 0, true)
    }

    /// Prints what memory has become, once it has settled.
    fn read(&self, crowd: &mut Crowd, ledger: &mut Ledger, connections: usize, left: bool) -> Result<()> {
        let mut resident = Usage::of(self.server.pid)?.resident_bytes;
        for look in 1..=LOOK.1 {
            let began = Instant::now();
            crowd.until(ledger, LOOK.0, |_| began.elapsed() >= LOOK.0)?;
            let earlier = std::mem::replace(&mut resident, Usage::of(self.server.pid)?.resident_bytes);
            let has_time = left && look < LOOKS_MIN_LEFT;
            if !has_time && resident.abs_diff(earlier) < SETTLED_BYTES {
                break;
            }
        }
        let more = json!({
            "connections": connections,
            "subscriptions": connections * self.per_connection,
            "per_connection": self.per_connection,
            "left": left,
        });
        print(with(self.server.line(), more), Ok(json!({ "rss_bytes": resident })));
        Ok(())
    }
}

impl Hop {
    fn measure(&self) -> bool {
        let mut is_ok = true;
        for rate in &self.paced.rates {
            let line = json!({
                "part": self.label.part,
                "system": "hop",
                "wake_up": "notify",
                "shape": "paced",
                "subscribers": 1,
                "rate": rate,
                "round": self.label.round,
            });
            is_ok &= print(line, hop::measure(self, *rate));
        }
        is_ok
    }
}
