//! The embedding API: one service, its connections and their subscriptions.
//!
//! Every transport is a caller of this module and of nothing below it. An application that wants
//! no transport at all calls it directly:
//!
//! ```
//! use std::sync::Arc;
//!
//! use tidings_daemon::event::Event;
//! use tidings_daemon::graphql::request::Request;
//! use tidings_daemon::hub::audience::Identity;
//! use tidings_daemon::service::{Service, ServiceOptions};
//! use tidings_daemon::source::{catalog::Catalog, memory};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (publisher, source) = memory::source(Catalog::default(), 1_000);
//! let service = Service::start(source, ServiceOptions::default());
//! service.ready().await;
//!
//! let query = r#"subscription { events(channel: "chat") { type data } }"#;
//! let request = Request { query: query.to_owned(), ..Request::default() };
//! let mut chat = service.subscribe(&request, Arc::new(Identity::default())).await.map_err(|e| format!("{e:?}"))?;
//!
//! let posted = Event {
//!     channel: "chat".into(),
//!     event_type: "posted".into(),
//!     payload: r#"{"body":"hi"}"#.into(),
//!     ..Event::default()
//! };
//! publisher.publish(posted).await?;
//!
//! let result = chat.next().await.ok_or("the subscription ended")?;
//! let result: serde_json::Value = serde_json::from_slice(&result)?;
//! assert_eq!(result["data"]["events"]["data"]["body"], "hi");
//! chat.complete();
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::{OperationKind, Prepared};
use crate::graphql::request::Request;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;
use crate::hub::dispatch::Hub;
use crate::hub::mailbox::{CursorText, EndReason, MailboxLimits};
use crate::hub::outlet::Due;
use crate::metrics::Metrics;
use crate::source::catalog::Catalog;
use crate::source::recent::Recent;
use crate::source::ring::RingLimits;
use crate::source::status::SourceStatus;
use crate::source::{Batch, Gap, Source, Step};

mod connection;

mod acknowledgement;

mod allowance;

mod live;

mod bounds;

mod permit;

mod place;

mod replay;

#[cfg(test)]
mod simulator;

mod resume;

mod outlets;

mod subscription;

mod throttle;

pub use allowance::Allowance;
use bounds::Oldest;
pub use connection::Connection;
pub use permit::Permit;
pub use place::Place;
pub use subscription::Subscription;

/// Events dispatched before the connections get a turn.
const DISPATCH_EVENTS_MAX: usize = 64;

/// How a service behaves.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Size of each connection's mailbox.
    pub mailbox: MailboxLimits,
    /// How far behind the source may be before the service says that it is not ready.
    pub lag_max: Duration,
    /// What the GraphQL schema shows and how much a document may ask for.
    pub schema: SchemaOptions,
    /// How many of the last events stay in memory.
    pub ring: RingLimits,
    /// Where it counts.
    pub metrics: Metrics,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            mailbox: MailboxLimits::default(),
            lag_max: Duration::from_secs(10),
            schema: SchemaOptions::default(),
            ring: RingLimits::default(),
            metrics: Metrics::default(),
        }
    }
}

/// A running service: a source, the hub and the schema. Cheap to clone; the source is dropped with
/// the last clone and the last connection.
#[derive(Debug, Clone)]
pub struct Service(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    status: Arc<SourceStatus>,
    ready: watch::Receiver<bool>,
    _stop: DropGuard,
}

/// The answer to a request that is not a subscription.
#[derive(Debug)]
pub enum Answer {
    /// A query, executed: its complete result as JSON, with the errors of its execution within.
    Result(Bytes),
    /// Refused before execution: syntax, validation, variables, limits. At least one error.
    Refused(Vec<GraphQLError>),
}

/// What the service's task changes and its connections read.
#[derive(Debug)]
struct Shared {
    options: ServiceOptions,
    /// Nothing until the source has described the database. Read-locked while a subscription is
    /// prepared *and* registered, so that a reload meets each one either in the old schema's
    /// registry or not yet prepared.
    schema: RwLock<Option<Arc<Schema>>>,
    live: live::Registry,
    oldest: Oldest,
}

impl Service {
    /// Starts to follow a source. Needs a tokio runtime.
    pub fn start(source: impl Source, options: ServiceOptions) -> Self {
        let replay_metrics = options.metrics.replay.clone();
        let recent = Arc::new(Recent::new(options.ring, source.history(), replay_metrics.clone()));
        let hub = Arc::new(Hub::new(options.metrics.clone(), recent.keeps()));
        let shared = Arc::new(Shared {
            options,
            schema: RwLock::new(None),
            live: live::Registry::default(),
            oldest: Oldest::new(recent.clone()),
        });
        let status = source.status();
        let stop = CancellationToken::new();
        let (ready_sender, ready) = watch::channel(false);
        let replaying = replay::run(hub.clone(), recent.clone(), replay_metrics);
        tokio::spawn(stop.clone().run_until_cancelled_owned(replaying));
        let follower = Follower { hub: hub.clone(), shared: shared.clone(), recent, ready: ready_sender };
        tokio::spawn(stop.clone().run_until_cancelled_owned(follower.follow(source)));
        Self(Arc::new(Inner { hub, shared, status, ready, _stop: stop.drop_guard() }))
    }

    /// Waits until the source has connected and the schema is there.
    pub async fn ready(&self) {
        // The sender lives as long as the follower, which lives as long as `self`.
        let _ = self.0.ready.clone().wait_for(|ready| *ready).await;
    }

    /// Opens a connection for an identity.
    pub fn connect(&self, identity: Arc<Identity>) -> Connection {
        Connection::new(self.clone(), identity, None)
    }

    /// The same for one that may be handed no more than its allowance, which connections can share.
    pub fn connect_within(&self, identity: Arc<Identity>, allowance: Arc<dyn Allowance>) -> Connection {
        Connection::new(self.clone(), identity, Some(allowance))
    }

    /// Subscribes without a transport: a connection with one subscription, as a stream of results.
    ///
    /// # Errors
    ///
    /// If the request is refused, or is not a subscription.
    pub async fn subscribe(
        &self,
        request: &Request,
        identity: Arc<Identity>,
    ) -> Result<Subscription, Vec<GraphQLError>> {
        let permit = self.authorize(request, &identity).await?;
        Subscription::start(self.connect(identity), permit)
    }

    /// Answers a request that is not a subscription; `None` if it is one. Runs on a thread for
    /// blocking work: the introspection of a large schema takes a second, and the connections of
    /// this worker thread must not wait for it.
    pub async fn query(&self, request: &Request, identity: &Arc<Identity>) -> Option<Answer> {
        let answer = self.answer(request, identity).await;
        if let Some(Answer::Refused(errors)) = &answer {
            self.count_refusal(errors);
        }
        answer
    }

    async fn answer(&self, request: &Request, identity: &Arc<Identity>) -> Option<Answer> {
        let Some(schema) = self.schema() else { return Some(Answer::Refused(vec![not_ready()])) };
        if schema.operation_kind(request, identity) == Ok(OperationKind::Subscription) {
            return None;
        }
        let (request, identity) = (request.clone(), identity.clone());
        match tokio::task::spawn_blocking(move || schema.prepare(&request, &identity)).await {
            Ok(Prepared::Query(result)) => Some(Answer::Result(result)),
            Ok(Prepared::Refused(errors)) => Some(Answer::Refused(errors)),
            Ok(Prepared::Subscription(_)) => None,
            Err(error) => {
                tracing::error!(%error, "a query could not be executed");
                let error = GraphQLError::new("INTERNAL_SERVER_ERROR", "the query could not be executed");
                Some(Answer::Refused(vec![error]))
            }
        }
    }

    /// Counts a refused request, by its first error.
    fn count_refusal(&self, errors: &[GraphQLError]) {
        if let Some(first) = errors.first() {
            let refusals = &self.0.shared.options.metrics.document_refusals;
            refusals.get_or_create(&[("code", first.extensions.code)]).inc();
        }
    }

    /// What the request's operation is; `None` if that cannot be told, which [`Service::query`]
    /// answers with the reason.
    pub fn operation_kind(&self, request: &Request, identity: &Identity) -> Option<OperationKind> {
        self.schema()?.operation_kind(request, identity).ok()
    }

    fn schema(&self) -> Option<Arc<Schema>> {
        self.0.shared.schema.read().clone()
    }

    /// The cursor of everything dispatched so far: where a stream that starts now stands.
    pub fn cursor(&self) -> CursorText {
        self.0.hub.position().cursor
    }

    /// Whether a subscription can go on after a cursor: some sources keep no events.
    pub fn replays(&self) -> bool {
        self.0.hub.replays()
    }

    /// The schema in SDL; nothing before the source has described the database.
    pub fn sdl(&self) -> Option<String> {
        self.schema().map(|schema| schema.sdl())
    }

    /// Why the service is not ready, or nothing if it is: source connected and its lag in bounds.
    pub fn unready(&self) -> Option<String> {
        if self.schema().is_none() {
            return self
                .0
                .status
                .unready(self.0.shared.options.lag_max)
                .or_else(|| Some("the schema is not loaded yet".into()));
        }
        self.0.status.unready(self.0.shared.options.lag_max)
    }

    /// How long ago the source had fetched everything visible; nothing before it ever had.
    pub fn lag(&self) -> Option<Duration> {
        self.0.status.lag()
    }
}

fn not_ready() -> GraphQLError {
    GraphQLError::new(
        "NOT_READY",
        "the service has not read the database's schema yet; try again in a moment",
    )
}

/// The task that takes the source's steps in order.
struct Follower {
    hub: Arc<Hub>,
    shared: Arc<Shared>,
    recent: Arc<Recent>,
    ready: watch::Sender<bool>,
}

impl Follower {
    async fn follow(self, mut source: impl Source) {
        loop {
            match source.next().await {
                Step::Batch(batch) => {
                    let batch = Arc::new(batch);
                    self.recent.push(&batch);
                    self.dispatch(&batch).await;
                }
                Step::Start(cursor) => {
                    self.recent.start(&cursor).await;
                    self.hub.start(&cursor);
                }
                Step::Gap(gap, cursor) => {
                    self.recent.start(&cursor).await;
                    // Everybody is told, with the cursor up to which nothing is missing.
                    self.shared.oldest.forget();
                    let bounds = self.shared.oldest.bounds(cursor.encode()).await;
                    self.hub.end_all(match gap {
                        Gap::HistoryChanged => EndReason::HistoryChanged(bounds),
                        Gap::Expired => EndReason::Expired(bounds),
                    });
                    self.hub.start(&cursor);
                }
                Step::Catalog(catalog) => self.load(&catalog),
            }
        }
    }

    async fn dispatch(&self, batch: &Batch) {
        let metrics = &self.shared.options.metrics;
        let mut next = Some(0);
        let mut due = Due::default();
        while let Some(from) = next {
            let began = Instant::now();
            next = self.hub.dispatch(batch, from, DISPATCH_EVENTS_MAX, &mut due);
            metrics.dispatch.observe(began.elapsed().as_secs_f64());
            outlets::write(due.take(), &metrics.direct_deliveries).await;
            // The connections that share this worker thread must get to their mailboxes before a
            // large batch has filled them.
            tokio::task::yield_now().await;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for event in &batch.events {
            let published = Duration::from_micros(u64::try_from(event.created_at_us).unwrap_or_default());
            metrics.event_age.observe(now.saturating_sub(published).as_secs_f64());
        }
    }

    fn load(&self, catalog: &Catalog) {
        let old = self.shared.schema.read().clone();
        let built = match old {
            Some(old) => old.rebuild(catalog),
            None => Schema::build(catalog, self.shared.options.schema.clone()),
        };
        match built {
            Ok(schema) => {
                for problem in schema.problems() {
                    tracing::warn!(problem, "a table is left out of the schema");
                }
                let schema = Arc::new(schema);
                *self.shared.schema.write() = Some(schema.clone());
                self.shared.live.reload(&self.hub, &schema);
                self.ready.send_replace(true);
                tracing::info!(tables = catalog.tables.len(), "schema loaded");
            }
            // The schema before it stays: live subscriptions and known documents go on.
            Err(error) => {
                tracing::error!(%error, "the database's tables give no valid schema; the old one stays")
            }
        }
    }
}
