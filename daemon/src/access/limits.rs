//! How many may come in, and how much they may ask for: what one client is counted by, and the counts.
//!
//! # Layout
//!
//! `subject` says who counts as one; `places` counts what is held, `buckets` what happens over time, and
//! `sockets` those that hold places before anybody knows whose they are.

pub mod subject;

pub mod places;

pub mod buckets;

pub mod sockets;

use std::sync::Arc;

use buckets::{Bucket, Buckets, Period};
pub use places::Place;
use places::{KeyedPlace, KeyedPlaces, Places};
use subject::{Network, Subject};

use crate::config::ClientLimits;
use crate::error::{ClientError, Whose};

/// Most keys of one kind that are told apart, unless more connections may be open; further ones share a
/// bucket.
const KEYS_MIN: usize = 65_536;

/// The limits of all clients. Each says no to one client because of what that client does, or because
/// of what all do together; never because of what another one does.
#[derive(Debug)]
pub struct Limits {
    all: Places,
    users: KeyedPlaces<Subject>,
    tenants: KeyedPlaces<Option<Box<str>>>,
    attempts: Option<Buckets<Network>>,
    operations: Option<Buckets<Subject>>,
    deliveries: Option<Buckets<Subject>>,
}

/// What a client that is known holds as long as its connection lasts.
#[derive(Debug)]
pub struct Share {
    /// For its operations.
    pub operations: Option<Arc<Bucket>>,
    /// For what is delivered to it.
    pub deliveries: Option<Arc<Bucket>>,
    _user: Option<KeyedPlace<Subject>>,
    _tenant: Option<KeyedPlace<Option<Box<str>>>>,
}

impl Limits {
    /// The configured limits.
    pub fn new(config: &ClientLimits) -> Self {
        let keys = KEYS_MIN.max(config.connections.saturating_mul(2));
        Self {
            all: Places::new(config.connections),
            users: KeyedPlaces::new(config.connections_per_user),
            tenants: KeyedPlaces::new(config.connections_per_tenant),
            attempts: Buckets::new(config.attempts_per_minute, Period::Minute, keys),
            operations: Buckets::new(config.operations_per_minute, Period::Minute, keys),
            deliveries: Buckets::new(config.deliveries_per_second, Period::Second, keys),
        }
    }

    /// Counts an attempt to connect.
    ///
    /// # Errors
    /// If there were too many from there.
    pub fn attempt(&self, network: Network) -> Result<(), ClientError> {
        let Some(attempts) = &self.attempts else { return Ok(()) };
        attempts.of(&network).take().map_err(ClientError::too_many_attempts)
    }

    /// A place for a connection whose client need not be known yet.
    ///
    /// # Errors
    /// If all are taken.
    pub fn place(&self) -> Result<Place, ClientError> {
        self.all.take().ok_or(ClientError::Overloaded)
    }

    /// Counts an operation of a client without a connection.
    ///
    /// # Errors
    /// If there were too many.
    pub fn operation(&self, subject: &Subject) -> Result<(), ClientError> {
        let Some(operations) = &self.operations else { return Ok(()) };
        operations.of(subject).take().map_err(ClientError::too_many_operations)
    }

    /// What a client gets for a connection.
    ///
    /// # Errors
    /// If it, or its tenant, has too many already.
    pub fn share(&self, subject: &Subject) -> Result<Share, ClientError> {
        let full = |whose, places: usize| ClientError::TooManyConnections(whose, places);
        let user = self.users.take(subject).map_err(|most| full(Whose::User, most))?;
        let tenant = self.tenants.take(&subject.tenant).map_err(|most| full(Whose::Tenant, most))?;
        Ok(Share {
            operations: self.operations.as_ref().map(|operations| operations.of(subject)),
            deliveries: self.deliveries.as_ref().map(|deliveries| deliveries.of(subject)),
            _user: user,
            _tenant: tenant,
        })
    }
}

impl Share {
    /// Counts an operation.
    ///
    /// # Errors
    /// If there were too many.
    pub fn operation(&self) -> Result<(), ClientError> {
        let Some(operations) = &self.operations else { return Ok(()) };
        operations.take().map_err(ClientError::too_many_operations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::hub::audience::Identity;

    fn subject(tenant: &str, user: &str) -> Subject {
        let text = |text: &str| (!text.is_empty()).then(|| text.into());
        let identity = Identity { tenant: text(tenant), user: text(user), ..Identity::default() };
        Subject::of(&identity, Network::Unknown)
    }

    #[test]
    fn one_client_at_its_limit_costs_no_other() {
        let config = ClientLimits {
            connections_per_user: 2,
            connections_per_tenant: 3,
            operations_per_minute: 1,
            ..Config::default().limits
        };
        let limits = Limits::new(&config);
        let shares = [limits.share(&subject("acme", "a")), limits.share(&subject("acme", "a"))];
        assert!(shares.iter().all(Result::is_ok));
        let third = limits.share(&subject("acme", "a")).unwrap_err();
        assert_eq!(third, ClientError::TooManyConnections(Whose::User, 2));
        let other = limits.share(&subject("acme", "b")).unwrap();
        let fourth = limits.share(&subject("acme", "c")).unwrap_err();
        assert_eq!(fourth, ClientError::TooManyConnections(Whose::Tenant, 3));
        // The user `a` of another tenant is somebody else.
        limits.share(&subject("globex", "a")).unwrap();

        assert_eq!(other.operation(), Ok(()));
        assert!(matches!(other.operation(), Err(ClientError::TooManyOperations(_))));
        assert!(matches!(limits.operation(&subject("acme", "b")), Err(ClientError::TooManyOperations(_))));
        assert_eq!(limits.operation(&subject("acme", "a")), Ok(()));

        // What was refused has taken nothing.
        drop((shares, other));
        let again: Vec<_> = (0..2).map(|_| limits.share(&subject("acme", "a")).unwrap()).collect();
        limits.share(&subject("acme", "c")).unwrap();
        drop(again);
    }
}
