//! A client stream's stay: what it holds as long as it lasts, and what may end it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Endpoint;
use super::address::ClientAddress;
use crate::access::limits::subject::Subject;
use crate::access::limits::{Place, Share};
use crate::access::presence::Stay;
use crate::error::ClientError;
use crate::graphql::persisted::DocumentHash;
use crate::hub::audience::Identity;
use crate::hub::mailbox::SubscriptionId;
use crate::service::Connection;

/// A client stream's stay. Dropping it ends the stay.
#[derive(Debug)]
pub struct Admission {
    endpoint: Endpoint,
    transport: &'static str,
    /// The counter of its transport.
    written: Counter,
    since: Instant,
    running: i64,
    place: Option<Place>,
    known: Option<Known>,
    kicked: CancellationToken,
    _hold: TaskTrackerToken,
}

/// What there is once it is known who the client is.
#[derive(Debug)]
struct Known {
    share: Share,
    stay: Stay,
}

impl Endpoint {
    /// Lets a client stream in, whoever it is.
    ///
    /// # Errors
    /// If the daemon is leaving or full.
    pub fn admit(&self, transport: &'static str) -> Result<Admission, ClientError> {
        if self.shutdown().has_begun() {
            return Err(ClientError::Draining);
        }
        let place = Some(self.client_limits().place()?);
        let label = [("transport", transport)];
        self.metrics().connections.get_or_create(&label).inc();
        Ok(Admission {
            endpoint: self.clone(),
            transport,
            written: self.metrics().endpoint.written.get_or_create_owned(&label),
            since: Instant::now(),
            running: 0,
            place,
            known: None,
            kicked: CancellationToken::new(),
            _hold: self.shutdown().hold(),
        })
    }
}

impl Admission {
    /// It is known who the client is. Neither token nor claims belong into a log, so what is logged is the
    /// name of the connection.
    ///
    /// # Errors
    /// If the client, or its tenant, has too many connections, or its token was revoked a moment ago.
    pub fn enter(&mut self, identity: &Arc<Identity>, address: &ClientAddress) -> Result<(), ClientError> {
        let share = self.endpoint.client_limits().share(&Subject::of(identity, address.network))?;
        let presence = self.endpoint.revocations().presence();
        let stay = presence.begin(self.transport, identity.clone(), self.kicked.clone());
        // Whoever is revoked from here on finds the connection present.
        if self.endpoint.revocations().refuse(identity) {
            return Err(ClientError::TokenRevoked);
        }
        tracing::info!(transport = self.transport, connection = %stay.id(), "connection opened");
        self.known = Some(Known { share, stay });
        Ok(())
    }

    /// A connection of the service for a client that has entered.
    pub fn connect(&self, identity: Arc<Identity>) -> Connection {
        let deliveries = self.known.as_ref().and_then(|known| known.share.deliveries.clone());
        match deliveries {
            Some(deliveries) => self.endpoint.service().connect_within(identity, deliveries),
            None => self.endpoint.service().connect(identity),
        }
    }

    /// Counts an operation that the client asks for.
    ///
    /// # Errors
    /// If there were too many.
    pub fn operation(&self) -> Result<(), ClientError> {
        self.known.as_ref().map_or(Ok(()), |known| known.share.operation())
    }

    /// Ends when the client has to leave, which is when its token has expired or somebody kicks it: why.
    pub fn over(&self, identity: Arc<Identity>) -> BoxFuture<'static, ClientError> {
        let kicked = self.kicked.clone();
        async move {
            tokio::select! {
                () = kicked.cancelled() => ClientError::Kicked,
                () = expired(&identity) => ClientError::TokenExpired,
            }
        }
        .boxed()
    }

    /// Is cancelled when somebody kicks the client.
    pub fn kicked(&self) -> &CancellationToken {
        &self.kicked
    }

    /// Where bytes handed to the socket are counted.
    pub fn written(&self) -> &Counter {
        &self.written
    }

    /// Counts bytes handed to the socket.
    pub fn wrote(&self, bytes: usize) {
        self.written.inc_by(bytes as u64);
    }

    /// Counts a subscription that began.
    pub fn subscribed(&mut self, subscription: SubscriptionId, document: DocumentHash) {
        self.running += 1;
        self.gauge().inc();
        if let Some(known) = &self.known {
            known.stay.subscribed(subscription, document);
        }
    }

    /// Counts a subscription that ended.
    pub fn ended(&mut self, subscription: SubscriptionId) {
        self.running -= 1;
        self.gauge().dec();
        if let Some(known) = &self.known {
            known.stay.ended(subscription);
        }
    }

    fn gauge(&self) -> impl std::ops::Deref<Target = prometheus_client::metrics::gauge::Gauge> {
        self.endpoint.metrics().endpoint.subscriptions.get_or_create(&[("transport", self.transport)])
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // Before the log line: who reads it may count on the place.
        self.place = None;
        let id = self.known.take().map(|known| known.stay.id());
        self.gauge().dec_by(self.running);
        let (metrics, label) = (self.endpoint.metrics(), [("transport", self.transport)]);
        metrics.connections.get_or_create(&label).dec();
        let stayed = self.since.elapsed();
        metrics.endpoint.connection_duration.get_or_create(&label).observe(stayed.as_secs_f64());
        tracing::info!(
            transport = self.transport,
            connection = id.map(tracing::field::display),
            duration_s = (stayed.as_secs_f64() * 1000.0).round() / 1000.0,
            "connection closed"
        );
    }
}

/// Ends when an identity's token has expired; never if it does not expire.
///
/// It looks at the clock every minute: a deadline on the monotonic clock alone would be late after
/// the machine has slept or its clock was set.
async fn expired(identity: &Identity) {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    let Some(expires) = identity.expires else { return std::future::pending().await };
    while let Ok(left) = expires.duration_since(SystemTime::now()) {
        tokio::time::sleep(left.min(LOOK_AGAIN).max(Duration::from_millis(1))).await;
    }
}
