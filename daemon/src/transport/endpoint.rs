//! What all transports share: the service, who may come in, and how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::header;
use axum::http::request::Parts;
use tokio_util::sync::DropGuard;

use super::address::ClientAddress;
use super::origin::Origins;
use super::parameters::query_values;
use crate::access::authenticator::Authenticator;
use crate::access::limits::Limits;
use crate::access::limits::subject::Subject;
use crate::access::refusal::TokenError;
use crate::access::revocation::Revocations;
use crate::access::token::{self, Place, Presented};
use crate::config::proxies::TrustedProxies;
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
    revocations: Revocations,
    client_limits: Limits,
    trusted_proxies: TrustedProxies,
    /// Whether it was said already that somebody who is not a trusted proxy behaves like one.
    warned_of_proxy: AtomicBool,
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
        revocations: Revocations,
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
            revocations,
            client_limits: Limits::new(&config.limits),
            trusted_proxies: config.trusted_proxies.clone(),
            warned_of_proxy: AtomicBool::new(false),
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

    /// What clients have of them.
    pub fn client_limits(&self) -> &Limits {
        &self.shared.client_limits
    }

    /// Who has to leave.
    pub fn revocations(&self) -> &Revocations {
        &self.shared.revocations
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

    /// Where a request that wants something of us comes from. Counts as an attempt to connect, before anything
    /// is done for it; programs of this machine make as many as they like.
    ///
    /// # Errors
    /// If there were too many from there.
    pub fn arrive(&self, head: &Parts) -> Result<ClientAddress, ClientError> {
        let address = ClientAddress::of(head, &self.shared.trusted_proxies);
        if address.distrusted && !self.shared.warned_of_proxy.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a request says for whom it was forwarded, and its sender is not among `trusted_proxies`: behind a \
                 proxy that is not listed all clients have one address"
            );
        }
        if !address.local {
            self.client_limits().attempt(address.network)?;
        }
        Ok(address)
    }

    /// Counts an operation of a client that has no connection.
    ///
    /// # Errors
    /// If there were too many.
    pub fn operation(&self, identity: &Identity, address: &ClientAddress) -> Result<(), ClientError> {
        self.client_limits().operation(&Subject::of(identity, address.network))
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
        self.accept(token).await.map_err(|error| {
            let refusals = &self.shared.metrics.access.token_refusals;
            refusals.get_or_create(&[("reason", error.reason())]).inc();
            error.into()
        })
    }

    async fn accept(&self, token: Place) -> Result<Arc<Identity>, TokenError> {
        let identity = self.shared.authenticator.identify(token).await?;
        let loaded = tokio::time::timeout(START_TIME, self.revocations().loaded());
        loaded.await.map_err(|_| TokenError::RevocationsUnknown)?;
        if self.revocations().refuse(&identity) { Err(TokenError::Revoked) } else { Ok(identity) }
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
        let metrics = &self.shared.metrics.endpoint;
        metrics.refusals.get_or_create(&[("code", error.code())]).inc();
        if let Some(limit) = error.limit() {
            metrics.limit_rejections.get_or_create(&[("limit", limit)]).inc();
        }
    }
}
