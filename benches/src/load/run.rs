//! A run: subscribers, a publisher and the books, against one server.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::arguments::{CHANNEL, Server};
use crate::connection::Wanted;
use crate::crowd::Crowd;
use crate::ledger::{Audience, Ledger};
use crate::process::Usage;
use crate::publisher::{Order, Publisher};

/// After the last expected delivery, how long a duplicate may take to show itself.
const QUIET: Duration = Duration::from_millis(300);

/// After the last of events that come at a rate, how long a delivery may take. More means that the server falls behind.
const BEHIND_MAX: Duration = Duration::from_secs(3);

/// How long everybody may take to receive one event, before the next is tried.
const TRIAL: Duration = Duration::from_millis(500);

/// Bursts that bring a server to its working temperature, events of each, and how long they may take together.
const WARM_UP: (u32, u32, Duration) = (5, 10, Duration::from_secs(1));

/// Without a channel of one's own for each, so many events say that all is well.
const SAMPLE_MAX: u32 = 2_000;

pub(crate) struct Run {
    server: Server,
    audience: Audience,
    crowd: Crowd,
    ledger: Ledger,
    publisher: Publisher,
    subscribers: u32,
    /// Number of the next event.
    next: u32,
    pub(crate) empty: Usage,
    pub(crate) connected: Usage,
    pub(crate) ready: Duration,
}

impl Run {
    /// So many subscribers on so many connections, all of them live.
    pub(crate) fn start(
        server: &Server,
        audience: Audience,
        subscribers: usize,
        connections: usize,
    ) -> Result<Self> {
        let mut ledger = Ledger::new(audience, subscribers)?;
        let mut crowd = Crowd::new(server.target())?;
        let count = u32::try_from(subscribers)?;
        let channels = if audience == Audience::One { count } else { 0 };
        let publisher = Publisher::start(server.style(channels));
        let empty = Usage::of(server.pid)?;
        let began = Instant::now();
        crowd.open(wanted(audience, subscribers, connections), &mut ledger, server.label.patience())?;
        let ready = began.elapsed();
        let connected = Usage::of(server.pid)?;
        let server = server.clone();
        Ok(Self {
            server,
            audience,
            crowd,
            ledger,
            publisher,
            subscribers: count,
            next: 0,
            empty,
            connected,
            ready,
        })
    }

    /// Makes sure that everybody receives. Tidings says when a subscription is live; of others, events find it out.
    pub(crate) fn warm_up(&mut self) -> Result<()> {
        let began = Instant::now();
        let round = match self.audience {
            Audience::Everybody => 1,
            Audience::One => self.subscribers,
        };
        if self.crowd.target().system.is_ours() {
            // Those who are not told of the first event are counted as missing by the run itself.
            let sample = round.min(SAMPLE_MAX);
            self.ledger.count_from(self.next);
            self.publish(Order { first: self.next, count: sample, rate: 0 })?;
            self.await_deliveries(sample, self.server.label.patience())?;
        } else {
            while !self.ledger.is_everybody_live() {
                if began.elapsed() > self.server.label.patience() {
                    bail!("not everybody is live after {} s", began.elapsed().as_secs());
                }
                self.publish(Order { first: self.next, count: round, rate: 0 })?;
                self.crowd.until(&mut self.ledger, TRIAL, Ledger::is_everybody_live)?;
            }
        }
        self.begin_to_count();
        let (bursts, events, length) = WARM_UP;
        let began = Instant::now();
        for _ in 0..bursts {
            self.burst(events)?;
            if began.elapsed() > length {
                break;
            }
        }
        Ok(())
    }

    /// Publishes and waits until that is committed.
    fn publish(&mut self, order: Order) -> Result<()> {
        self.next = order.first + order.count;
        self.publisher.begin(order)?;
        while !self.publisher.is_done()? {
            self.crowd.turn(&mut self.ledger)?;
        }
        Ok(())
    }

    /// One burst that everybody receives.
    fn burst(&mut self, events: u32) -> Result<()> {
        let first = self.next;
        let before = self.ledger.delivered();
        self.publish(Order { first, count: events, rate: 0 })?;
        let due = before + self.ledger.due(events);
        let patience = self.server.label.patience();
        if !self.crowd.until(&mut self.ledger, patience, |ledger| ledger.delivered() >= due)? {
            bail!(
                "cannot keep up: {} of {due} deliveries after {} s",
                self.ledger.delivered(),
                patience.as_secs()
            );
        }
        Ok(())
    }

    /// Bursts for so long.
    pub(crate) fn bursts(&mut self, events: u32, length: Duration) -> Result<Measured> {
        self.begin_to_count();
        let (before, began) = (Usage::of(self.server.pid)?, Instant::now());
        let mut count = 0;
        while began.elapsed() < length {
            self.burst(events)?;
            count += events;
        }
        self.measured(count, began.elapsed(), before)
    }

    /// Events that come one by one.
    pub(crate) fn paced(&mut self, rate: u32, length: Duration) -> Result<Measured> {
        self.begin_to_count();
        let count = (f64::from(rate) * length.as_secs_f64()).ceil() as u32;
        let (before, began) = (Usage::of(self.server.pid)?, Instant::now());
        let order = Order { first: self.next, count, rate };
        self.next += count;
        self.publisher.begin(order)?;
        while !self.publisher.is_done()? {
            self.crowd.turn(&mut self.ledger)?;
        }
        self.await_deliveries(count, BEHIND_MAX)?;
        self.measured(count, began.elapsed(), before)
    }

    fn begin_to_count(&mut self) {
        self.ledger.count_from(self.next);
    }

    fn await_deliveries(&mut self, events: u32, patience: Duration) -> Result<()> {
        let due = self.ledger.due(events);
        let began = Instant::now();
        if !self.crowd.until(&mut self.ledger, patience, |ledger| ledger.delivered() >= due)? {
            let percent = self.ledger.delivered() * 100 / due;
            bail!(
                "cannot keep up: {percent} % delivered {} s after the last event",
                began.elapsed().as_secs()
            );
        }
        Ok(())
    }

    fn measured(&mut self, events: u32, wall: Duration, before: Usage) -> Result<Measured> {
        let after = Usage::of(self.server.pid)?;
        self.crowd.until(&mut self.ledger, QUIET, |_| false)?;
        self.ledger.reconcile(events).context("this run does not count")?;
        let late = self.ledger.late();
        let millis = |quantile| late.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Measured {
            events,
            deliveries: self.ledger.delivered(),
            wall,
            cpu: after.cpu_since(&before),
            resident_bytes: after.resident_bytes,
            p50_ms: millis(0.5),
            p99_ms: millis(0.99),
            max_ms: millis(1.0),
        })
    }
}

/// What each connection subscribes to.
pub(crate) fn wanted(
    audience: Audience,
    subscribers: usize,
    connections: usize,
) -> impl Iterator<Item = Wanted> {
    let each = subscribers.div_ceil(connections.max(1));
    (0..subscribers).step_by(each.max(1)).map(move |first| {
        let channel = |subscriber: usize| match audience {
            Audience::Everybody => CHANNEL.to_owned(),
            Audience::One => format!("{CHANNEL}{subscriber}"),
        };
        Wanted { first, channels: (first..(first + each).min(subscribers)).map(channel).collect() }
    })
}

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Measured {
    events: u32,
    deliveries: u64,
    wall: Duration,
    cpu: Duration,
    resident_bytes: u64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

impl Measured {
    pub(crate) fn json(&self) -> Value {
        json!({
            "events": self.events,
            "deliveries": self.deliveries,
            "wall_s": self.wall.as_secs_f64(),
            "cpu_s": self.cpu.as_secs_f64(),
            "rss_bytes": self.resident_bytes,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "max_ms": self.max_ms,
        })
    }
}
