//! What is kept of reservations, and the contract of those who keep it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::owner::{Owner, Principal};
use super::token::TokenHash;
use crate::graphql::request::Request;

/// Time for which a node may think that it serves a stream, unless it renews its lease.
pub const LEASE: Duration = Duration::from_secs(30);

/// Bounds of reservations.
#[derive(Debug, Clone, Copy)]
pub struct ReservationLimits {
    /// Reservations of one user. One more takes the place of the one that was idle for longest.
    pub per_user: usize,
    /// Reservations in all.
    pub total: usize,
    /// Life of a reservation that nobody has fulfilled.
    pub unfulfilled: Duration,
    /// Life of a reservation after its stream was last seen.
    pub idle: Duration,
    /// Operations of one reservation.
    pub documents: usize,
    /// Bytes of the requests of all its operations.
    pub bytes: usize,
}

impl ReservationLimits {
    /// How many somebody may have. Those of a tenant who are no users count as one, and leave room for everybody else;
    /// where nobody proves who they are, there is nobody else, and no limit of theirs.
    pub(super) fn of(&self, owner: &Owner) -> Option<usize> {
        match (&owner.user, &owner.claims) {
            (Some(_), _) => Some(self.per_user),
            (None, Some(_)) => Some(self.per_user.max(self.total / 4)),
            (None, None) => None,
        }
    }
}

impl Default for ReservationLimits {
    fn default() -> Self {
        Self {
            per_user: 100,
            total: 100_000,
            unfulfilled: Duration::from_secs(300),
            idle: Duration::from_secs(86_400),
            documents: 256,
            bytes: 512 << 10,
        }
    }
}

/// What a request takes of its reservation's room.
pub(super) fn request_bytes(request: &Request) -> usize {
    /// For what is not its text: an entry, a row.
    const ENTRY_BYTES: usize = 256;
    let json = |members: &Option<serde_json::Map<String, serde_json::Value>>| {
        // Writing what was JSON into memory cannot fail.
        members.as_ref().map_or(0, |members| serde_json::to_string(members).unwrap_or_default().len())
    };
    let name = request.operation_name.as_ref().map_or(0, String::len);
    ENTRY_BYTES + request.query.len() + name + json(&request.variables) + json(&request.extensions)
}

/// An operation that is to be stored.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The client's name for it.
    pub id: Arc<str>,
    /// The request.
    pub request: Request,
    /// What happens after this cursor belongs to it; nothing if it begins when its stream is opened.
    pub start: Option<Arc<str>>,
}

/// An operation that is stored.
#[derive(Debug, Clone)]
pub struct Document {
    /// Of its reservation, in the order in which they came.
    pub number: i64,
    /// The operation.
    pub operation: Operation,
}

/// A stream that a node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The node.
    pub node: Arc<str>,
    /// Which of its streams.
    pub stream: i64,
}

/// A reservation that has just been fulfilled.
#[derive(Debug, Clone)]
pub struct Fulfilment {
    /// Where the stream before stood; nothing if it was the first, or never came to say so.
    pub place: Option<Arc<str>>,
    /// The stream that it takes over from.
    pub before: Option<Served>,
    /// The operations.
    pub documents: Documents,
}

/// The operations of a reservation as of a revision, in the order of their numbers.
#[derive(Debug, Clone, Default)]
pub struct Documents {
    /// Changes with every operation that is stored or deleted.
    pub revision: i64,
    /// All of them.
    pub all: Vec<Document>,
}

/// What a node says of a stream that it serves.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// The reservation.
    pub token: TokenHash,
    /// The stream.
    pub stream: i64,
    /// Where it stands, if that has changed.
    pub place: Option<Arc<str>>,
}

/// Whose reservations are to be voided. What is not given restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Those of this user.
    pub user: Option<String>,
    /// Those of this tenant.
    pub tenant: Option<String>,
}

impl Revocation {
    /// Whether nothing is given: then nobody is meant, and not everybody.
    pub fn names_nobody(&self) -> bool {
        self.user.is_none() && self.tenant.is_none()
    }

    /// Whether an owner is meant.
    pub fn names(&self, owner: &Owner) -> bool {
        let is = |wanted: &Option<String>, given: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| given == Some(wanted))
        };
        !self.names_nobody()
            && is(&self.user, owner.user.as_deref())
            && is(&self.tenant, owner.tenant.as_deref())
    }
}

/// Why a store refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such reservation, or not for this principal, or it has expired.
    #[error("there is no such reservation")]
    Unknown,
    /// This stream serves it already.
    #[error("the reservation's stream is open")]
    Open(Served),
    /// Another operation has that id.
    #[error("the operation id is in use")]
    Taken,
    /// The user has too many reservations, with a stream all of them.
    #[error("the user has too many streams")]
    TooManyStreams,
    /// There are too many reservations in all.
    #[error("there are too many reservations")]
    Full,
    /// The reservation has too many operations.
    #[error("the reservation has too many operations")]
    TooManyDocuments,
    /// The requests of its operations are too large.
    #[error("the operations of the reservation are too large")]
    TooLarge,
    /// What keeps reservations cannot be reached, or fails. The log says more.
    #[error("the store of reservations is not available")]
    Unavailable,
}

/// The answer of a store.
pub type Stored<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps reservations. Every answer comes in bounded time.
pub trait ReservationStore: fmt::Debug + Send + Sync + 'static {
    /// Keeps a new reservation. Returns how many older ones of its owner had to go.
    fn reserve(&self, token: TokenHash, owner: Owner) -> Stored<'_, usize>;

    /// Whether there is this reservation for this principal.
    fn find(&self, token: TokenHash, principal: Principal) -> Stored<'_, ()>;

    /// Stores an operation. Returns the stream that has to look.
    fn store(
        &self,
        token: TokenHash,
        principal: Principal,
        operation: Operation,
    ) -> Stored<'_, Option<Served>>;

    /// Deletes an operation at the client's request. Returns the stream that has to look.
    fn delete(&self, token: TokenHash, principal: Principal, id: Arc<str>) -> Stored<'_, Option<Served>>;

    /// Has a stream serve a reservation. One that is served already is taken over only if asked to.
    fn fulfil(
        &self,
        token: TokenHash,
        principal: Principal,
        served: Served,
        take_over: bool,
    ) -> Stored<'_, Fulfilment>;

    /// Renews the leases of a node's streams. Returns the revisions of those that it still serves.
    fn renew(&self, renewals: Vec<Renewal>) -> Stored<'_, HashMap<i64, i64>>;

    /// The operations of a reservation now.
    fn documents(&self, token: TokenHash) -> Stored<'_, Documents>;

    /// Removes operations that have ended.
    fn finish(&self, token: TokenHash, numbers: Vec<i64>) -> Stored<'_, ()>;

    /// Ends a lease: the stream is no more. Does nothing if another stream serves the reservation.
    fn release(&self, last: Renewal) -> Stored<'_, ()>;

    /// Voids one reservation.
    fn void(&self, token: TokenHash) -> Stored<'_, ()>;

    /// Voids reservations. Returns the streams that have to look.
    fn revoke(&self, whose: Revocation) -> Stored<'_, Vec<Served>>;
}
