//! Everybody who is connected, on one thread.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, Target, Wanted};
use crate::ledger::Ledger;
use crate::result::{Stamp, now_micros};

/// Connections that are being opened at the same time.
const OPENING_MAX: usize = 64;

/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 1024;

/// Room for a burst of one subscriber. It is shared, so that it may be large.
const READ_BYTES: usize = 256 * 1024;

/// Longest wait for one turn: what else there is to look at is looked at then.
const TURN: Duration = Duration::from_millis(5);

pub(crate) struct Crowd {
    target: Target,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    live: usize,
    buffer: Vec<u8>,
}

impl Crowd {
    pub(crate) fn new(target: Target) -> Result<Self> {
        Ok(Self {
            target,
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            connections: Vec::new(),
            live: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection for each, and returns when all subscriptions are live, or so the server says.
    pub(crate) fn open(
        &mut self,
        wanted: impl IntoIterator<Item = Wanted>,
        ledger: &mut Ledger,
        patience: Duration,
    ) -> Result<()> {
        let began = Instant::now();
        let mut wanted = wanted.into_iter().peekable();
        while wanted.peek().is_some() || self.live < self.connections.len() {
            while self.connections.len() - self.live < OPENING_MAX {
                let Some(next) = wanted.next() else { break };
                let mut connection = Connection::open(&self.target, next)?;
                self.poll.registry().register(
                    &mut connection.socket,
                    Token(self.connections.len()),
                    Interest::READABLE | Interest::WRITABLE,
                )?;
                self.connections.push(connection);
            }
            self.turn(ledger)?;
            if began.elapsed() > patience {
                bail!("{} connections live after {} s", self.live, patience.as_secs());
            }
        }
        Ok(())
    }

    /// Waits until somebody has received something, and notes it; or for a moment.
    pub(crate) fn turn(&mut self, ledger: &mut Ledger) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(TURN)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            if event.is_writable() {
                connection.flush()?;
            }
            if event.is_readable() {
                let was_live = connection.is_live();
                let now = now_micros();
                connection.receive(&self.target, &mut self.buffer, &mut |subscriber, result| {
                    ledger.note(subscriber, Stamp::find(result)?, now);
                    Ok(())
                })?;
                self.live += usize::from(!was_live && connection.is_live());
            }
        }
        Ok(())
    }

    /// Goes on until `done`, or for as long as `patience`; returns whether it is done.
    pub(crate) fn until(
        &mut self,
        ledger: &mut Ledger,
        patience: Duration,
        mut done: impl FnMut(&Ledger) -> bool,
    ) -> Result<bool> {
        let began = Instant::now();
        while !done(ledger) {
            if began.elapsed() > patience {
                return Ok(false);
            }
            self.turn(ledger)?;
        }
        Ok(true)
    }

    /// Everybody leaves.
    pub(crate) fn leave(&mut self) {
        self.connections.clear();
        self.live = 0;
    }
}
