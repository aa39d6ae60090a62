//! What all transports share: the service, who may come in, and how many.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::http::header;
use axum::http::request::Parts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::DropGuard;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::origin::Origins;
use super::parameters::query_values;
use crate::access::authenticator::Authenticator;
use crate::access::limits::{self, Places};
use crate::access::refusal::TokenError;
use crate::access::token::{self, Place, Presented};
use crate::config::{ClientLimits, Config, Secret};
use crate::error::ClientError;
use crate::hub::audience::Identity;
use crate::metrics::Metrics;
use crate::service::Service;
use crate::shutdown::Shutdown;
use crate::store::Reservations;
use crate::store::reservation::ReservationLimits;

/// How long a client is kept waiting while the service starts.
const START_TIME: Duration = Duration::from_secs(3);

/// The state behind every route. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    service: Service,
    authenticator: Authenticator,
    reservations: Reservations,
    reservation_limits: ReservationLimits,
    /// The keys that the authenticator needs are fetched for as long as there is the endpoint.
    _fetching: DropGuard,
    places: Places,
    origins: Origins,
    cookie: Option<String>,
    query_parameter: Option<String>,
    graphiql: bool,
    limits: ClientLimits,
    metrics: Metrics,
    shutdown: Shutdown,
}

impl Endpoint {
    /// An endpoint for a service. Needs a tokio runtime.
    pub fn new(
        service: Service,
        authenticator: Authenticator,
        reservations: Reservations,
        config: &Config,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> Self {
        let shared = Shared {
            service,
            reservations,
            reservation_limits: config.reservation_limits(),
            _fetching: authenticator.fetch_keys(&metrics.access),
            authenticator,
            places: Places::new(config.limits.connections),
            origins: Origins::new(config.allowed_origins.clone()),
            cookie: config.jwt.cookie.clone(),
            query_parameter: config.jwt.query_parameter.clone(),
            graphiql: config.graphiql,
            limits: config.limits,
            metrics,
            shutdown,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The service.
    pub fn service(&self) -> &Service {
        &self.shared.service
    }

    /// The reservations of single connection mode.
    pub fn reservations(&self) -> &Reservations {
        &self.shared.reservations
    }

    /// The bounds of reservations.
    pub fn reservation_limits(&self) -> &ReservationLimits {
        &self.shared.reservation_limits
    }

    /// The bounds of clients.
    pub fn limits(&self) -> &ClientLimits {
        &self.shared.limits
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// When and how to leave.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shared.shutdown
    }

    /// Which pages may use the endpoint.
    pub fn origins(&self) -> &Origins {
        &self.shared.origins
    }

    /// Whether browsers get GraphiQL.
    pub fn offers_graphiql(&self) -> bool {
        self.shared.graphiql
    }

    /// Who sent a request, by the token in its head. Waits, not for long, for keys that have to be fetched.
    ///
    /// # Errors
    /// If a token is needed and missing, expired or invalid, or the keys to tell are not there.
    pub async fn identify(&self, head: &Parts) -> Result<Arc<Identity>, ClientError> {
        self.identify_token(self.presented(head).choose(None)).await
    }

    /// Who has the token of this place; refusals are counted by reason.
    ///
    /// # Errors
    /// If a token is needed and missing, expired or invalid, or the keys to tell are not there.
    pub async fn identify_token(&self, token: Place) -> Result<Arc<Identity>, ClientError> {
        self.shared.authenticator.identify(token).await.map_err(|error| {
            let refusals = &self.shared.metrics.access.token_refusals;
            refusals.get_or_create(&[("reason", error.reason())]).inc();
            error.into()
        })
    }

    /// The tokens that a request's head presents.
    pub fn presented(&self, head: &Parts) -> Presented {
        let headers: Vec<_> = head.headers.get_all(header::AUTHORIZATION).iter().collect();
        // Two headers are ambiguous, whatever they hold.
        let header = match headers[..] {
            [] => Ok(None),
            [only] => Ok(only.to_str().ok().and_then(token::from_authorization)),
            _ => Err(TokenError::Ambiguous),
        };
        let other_scheme = headers.len() == 1 && header == Ok(None);
        let query = self.shared.query_parameter.as_deref().map_or(Ok(None), |name| {
            let values = query_values(head, name).into_iter().filter(|value| !value.is_empty());
            token::one(values.map(Secret::new))
        });
        Presented { header, other_scheme, cookie: self.cookie(head), query }
    }

    /// The configured cookie. A browser adds it to whatever any page asks for, so it counts only where no
    /// foreign page can have asked.
    fn cookie(&self, head: &Parts) -> Place {
        let Some(name) = &self.shared.cookie else { return Ok(None) };
        let headers = head.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookie = token::one(headers.flat_map(|header| token::from_cookies(header, name)))?;
        let refused = cookie.is_some() && !self.origins().trust(&head.headers, &head.uri);
        if refused { Err(TokenError::ForeignPage) } else { Ok(cookie) }
    }

    /// Whether pages of other origins that are allowed may send cookies.
    pub fn takes_cookies(&self) -> bool {
        self.shared.cookie.is_some()
    }

    /// Waits, not for long, until the service knows the database's schema. After a restart that takes
    /// a moment, and for some clients a refusal is final.
    ///
    /// # Errors
    /// If it takes longer.
    pub async fn ready(&self) -> Result<(), ClientError> {
        let ready = tokio::time::timeout(START_TIME, self.shared.service.ready());
        ready.await.map_err(|_| ClientError::NotReady)
    }

    /// Counts an error that is about to be told to a client.
    pub fn count_refusal(&self, error: &ClientError) {
        self.shared.metrics.endpoint.refusals.get_or_create(&[("code", error.code())]).inc();
    }

    /// Lets a client stream in.
    ///
    /// # Errors
    /// If the daemon is leaving or full.
    pub fn admit(&self, transport: &'static str) -> Result<Admission, ClientError> {
        if self.shared.shutdown.has_begun() {
            return Err(ClientError::Draining);
        }
        let place = self.shared.places.take().ok_or(ClientError::Overloaded)?;
        self.shared.metrics.connections.get_or_create(&[("transport", transport)]).inc();
        Ok(Admission {
            endpoint: self.clone(),
            transport,
            since: Instant::now(),
            running: 0,
            place: Some(place),
            _hold: self.shared.shutdown.hold(),
        })
    }
}

/// A client stream's stay. Dropping it ends the stay.
#[derive(Debug)]
pub struct Admission {
    endpoint: Endpoint,
    transport: &'static str,
    since: Instant,
    running: i64,
    place: Option<limits::Place>,
    _hold: TaskTrackerToken,
}

impl Admission {
    /// Logs that somebody was let in; neither token nor claims belong into a log.
    pub fn opened(&self) {
        tracing::info!(transport = self.transport, "connection opened");
    }

    /// Counts bytes handed to the socket.
    pub fn wrote(&self, bytes: usize) {
        let written = &self.endpoint.metrics().endpoint.written;
        written.get_or_create(&[("transport", self.transport)]).inc_by(bytes as u64);
    }

    /// Counts a subscription that began.
    pub fn subscribed(&mut self) {
        self.running += 1;
        self.gauge().inc();
    }

    /// Counts a subscription that ended.
    pub fn ended(&mut self) {
        self.running -= 1;
        self.gauge().dec();
    }

    fn gauge(&self) -> impl std::ops::Deref<Target = prometheus_client::metrics::gauge::Gauge> {
        self.endpoint.metrics().endpoint.subscriptions.get_or_create(&[("transport", self.transport)])
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // Before the log line: who reads it may count on the place.
        self.place = None;
        self.gauge().dec_by(self.running);
        let (metrics, label) = (self.endpoint.metrics(), [("transport", self.transport)]);
        metrics.connections.get_or_create(&label).dec();
        let stayed = self.since.elapsed();
        metrics.endpoint.connection_duration.get_or_create(&label).observe(stayed.as_secs_f64());
        tracing::info!(
            transport = self.transport,
            duration_s = (stayed.as_secs_f64() * 1000.0).round() / 1000.0,
            "connection closed"
        );
    }
}

/// Ends when an identity's token has expired; never if it does not expire.
///
/// It looks at the clock every minute: a deadline on the monotonic clock alone would be late after
/// the machine has slept or its clock was set.
pub fn expired(identity: Arc<Identity>) -> BoxFuture<'static, ()> {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    async move {
        let Some(expires) = identity.expires else { return std::future::pending().await };
        while let Ok(left) = expires.duration_since(SystemTime::now()) {
            tokio::time::sleep(left.min(LOOK_AGAIN).max(Duration::from_millis(1))).await;
        }
    }
    .boxed()
}
