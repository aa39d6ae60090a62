//! The source that tails `tidings.events` by snapshot difference. DESIGN.md, section 3.
//!
//! Event ids are drawn before commit, so "greater than the last id" loses whatever commits late.
//! Instead each poll asks, in one statement, for the snapshot of now and for every event that this
//! snapshot sees and the one before it did not. LISTEN only says when to look.

mod options;

mod error;

mod connection;

mod listen;

pub mod poll;

mod backlog;

pub mod session;

mod catalog;

mod maintain;

mod state;

pub mod functions;

mod following;

mod history;

mod standby;

mod earlier;

mod roles;

mod wake_up;

pub(crate) use connection::{Connection, connect, connect_to_any, with_settings};
pub(crate) use error::{SessionError, in_time};
pub use maintain::maintain;
pub use options::{ConnectionStringError, PostgresOptions};
pub use roles::missing_roles;
pub use state::watch;
pub use wake_up::wake_up_mode;

use std::sync::Arc;
use std::time::{Duration, Instant};

use backlog::Backlog;
use following::Following;
use history::PostgresHistory;
use poll::Polled;
use session::Session;

use super::catalog::Catalog;
use super::cursor::Cursor;
use super::history::History;
use super::status::SourceStatus;
use super::{Batch, Gap, Source, Step};
use crate::metrics::Metrics;

/// First pause before connecting again; doubles with each failure.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause before connecting again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Events of a batch after which the next poll waits for no wake-up. What is committed after the snapshot of a poll
/// wakes by itself, so after fewer events a second look would only double what an event costs that comes alone.
const BUSY_EVENTS: usize = 32;

/// Connects as a follower would, and reads the attached tables. An error says what to do.
///
/// # Errors
///
/// If the database could not be followed now.
pub async fn inspect(options: &PostgresOptions) -> Result<Catalog, String> {
    let read = async {
        let (session, _) = Session::open(options).await?;
        catalog::load(&session.poller.client, &options.roles).await
    };
    read.await.map_err(|error: SessionError| error.for_people())
}

/// Tails one PostgreSQL database; reconnects by itself and goes on from its own snapshot.
#[derive(Debug)]
pub struct PostgresSource {
    options: PostgresOptions,
    status: Arc<SourceStatus>,
    following: Arc<Following>,
    metrics: Metrics,
    /// What has been handed over; nothing before the first connection.
    seen: Option<Cursor>,
    session: Option<Session>,
    /// The rest of a batch too large for one statement. It outlives its session: its snapshots are
    /// fixed and its ids bounded.
    backlog: Option<Backlog>,
    /// Whether retention has removed events that were not handed over.
    expired: bool,
    /// The catalog that was handed over last, and when it was read.
    catalog: Option<Catalog>,
    catalog_read_at: Option<Instant>,
    /// Whether to poll without waiting for a wake-up.
    poll_now: bool,
    /// Failures to connect since the last success.
    failures: u32,
}

impl PostgresSource {
    /// A source that connects when it is first asked for a step.
    pub fn new(options: PostgresOptions, metrics: Metrics) -> Self {
        Self {
            options,
            status: Arc::new(SourceStatus::default()),
            following: Arc::default(),
            metrics,
            seen: None,
            session: None,
            backlog: None,
            expired: false,
            catalog: None,
            catalog_read_at: None,
            poll_now: false,
            failures: 0,
        }
    }

    /// One turn: connects, or waits for a reason to poll and polls. `None` if nothing came of it.
    async fn turn(&mut self) -> Result<Option<Step>, SessionError> {
        let Some(session) = &mut self.session else { return self.connect().await };
        // Before any event: what was closed or narrowed must hold for the pages of a backlog, too.
        let read_again = self.catalog_read_at.is_none_or(|at| at.elapsed() >= self.options.catalog_age_max);
        if session.listener.take_schema_changed() || read_again {
            self.poll_now = true;
            let catalog = catalog::load(&session.poller.client, &self.options.roles).await?;
            self.catalog_read_at = Some(Instant::now());
            if self.catalog.as_ref() == Some(&catalog) {
                return Ok(None);
            }
            self.catalog = Some(catalog.clone());
            return Ok(Some(Step::Catalog(catalog)));
        }
        if let Some(backlog) = &mut self.backlog {
            let page = backlog.next_page(&session.poller, &self.options).await?;
            if page.last {
                self.backlog = None;
                self.poll_now = true;
            }
            return Ok(self.hand_over(page));
        }
        if !std::mem::take(&mut self.poll_now) {
            session.listener.wait(self.options.safety_poll).await?;
        }
        if session.listener.schema_changed() {
            self.poll_now = true;
            return Ok(None);
        }
        let Some(seen) = self.seen.clone() else { return Ok(None) };
        let polled = session.poller.poll(&seen, &self.options).await?;
        let found = !matches!(&polled, Polled::All(batch) if batch.events.is_empty());
        if found && self.options.wait_for_standby {
            standby::wait(&session.poller.client, &self.status, &self.metrics).await?;
        }
        match polled {
            Polled::All(batch) => {
                session.poller.after_reconnect = false;
                self.status.set_current();
                self.poll_now = batch.events.len() >= BUSY_EVENTS;
                Ok(self.hand_over(batch))
            }
            Polled::TooMuch(snapshot) => {
                let backlog = Backlog::begin(&session.poller, seen, snapshot).await?;
                session.poller.after_reconnect = false;
                self.backlog = Some(backlog);
                Ok(None)
            }
        }
    }

    /// Records what is handed over. An empty batch only moves the snapshot forward.
    fn hand_over(&mut self, batch: Batch) -> Option<Step> {
        self.seen = Some(batch.end());
        // The hub's position must follow an idle database too, or quiet subscribers would keep a
        // cursor that retention overtakes; a page without events inside a backlog says nothing.
        (batch.last || !batch.events.is_empty()).then_some(Step::Batch(batch))
    }

    async fn connect(&mut self) -> Result<Option<Step>, SessionError> {
        let (mut session, start) = Session::open(&self.options).await?;
        if let Some(seen) = self.seen.as_ref().filter(|seen| session.was_put_back(seen, &start)) {
            session.begin_history(seen).await?;
            tracing::warn!(
                "the database was put back to an earlier state; it is another history from now on"
            );
            return Ok(None);
        }
        let gap = match &self.seen {
            Some(seen) if seen.history != start.history => Some(Gap::HistoryChanged),
            _ => self.expired.then_some(Gap::Expired),
        };
        let go_on = self.seen.is_some() && gap.is_none();
        self.expired = false;
        self.failures = 0;
        self.poll_now = true;
        session.listener.set_schema_changed();
        session.poller.after_reconnect = go_on;
        tracing::info!(history = format_args!("{:016x}", start.history), "connected to the database");
        self.session = Some(session);
        self.following.connected(start.history);
        if go_on {
            return Ok(None);
        }
        self.backlog = None;
        self.seen = Some(start.clone());
        Ok(Some(match gap {
            Some(gap) => Step::Gap(gap, start),
            None => Step::Start(start),
        }))
    }

    /// Drops the session and waits, longer after each failure, with jitter so that many daemons do
    /// not return at once.
    async fn recover(&mut self, error: SessionError) {
        self.expired |= matches!(error, SessionError::Expired);
        if self.session.take().is_some() {
            self.metrics.source_reconnects.inc();
        }
        let pause = RECONNECT_PAUSE_MIN.saturating_mul(1 << self.failures.min(16)).min(RECONNECT_PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        let pause = pause.mul_f64(rand::random_range(0.5..1.0));
        tracing::warn!(error = %error.for_people(), ?pause, "the database cannot be tailed now; trying again");
        self.status.set_trouble(error.for_people());
        tokio::time::sleep(pause).await;
    }
}

impl Source for PostgresSource {
    async fn next(&mut self) -> Step {
        loop {
            match self.turn().await {
                Ok(Some(step)) => return step,
                Ok(None) => {}
                Err(error) => self.recover(error).await,
            }
        }
    }

    fn history(&self) -> Option<Arc<dyn History>> {
        let parts = (self.metrics.clone(), self.status.clone(), self.following.clone());
        Some(Arc::new(PostgresHistory::new(&self.options, parts)))
    }

    fn status(&self) -> Arc<SourceStatus> {
        self.status.clone()
    }
}
