//! What a client is told when the endpoint itself refuses or ends something: text, HTTP status,
//! stable code and metric label, all in one place.

use std::fmt;
use std::time::Duration;

use crate::graphql::error::GraphQLError;
use crate::hub::mailbox::{Bounds, CursorText, EndReason};

/// Whose connections are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of one user.
    User,
    /// Those of all users of a tenant.
    Tenant,
}

impl fmt::Display for Whose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Tenant => "tenant",
        })
    }
}

/// A refusal or an end that is the endpoint's, not the document's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No token where one is needed.
    #[error(
        "A token is needed: send `Authorization: Bearer <token>`, or the same in the payload of connection_init."
    )]
    TokenMissing,
    /// The token has expired, before or during the connection.
    #[error("The token has expired.")]
    TokenExpired,
    /// The token is not acceptable; clients learn no more than that.
    #[error("The token is invalid.")]
    TokenInvalid,
    /// The token is from before its user or tenant was kicked.
    #[error("The token was revoked; get a new one.")]
    TokenRevoked,
    /// An operator has ended the connection.
    #[error("The connection was ended by an operator.")]
    Kicked,
    /// A new token for a live connection is somebody else's, or says something else.
    #[error("The new token is not for the same user, tenant, role and claims; connect again with it.")]
    RefreshRefused,
    /// The keys that could tell are not there yet, or too old.
    #[error("The keys that check tokens are not available; try again in a moment.")]
    KeysUnavailable,
    /// The only token is in a cookie that the page may not use.
    #[error("A token in a cookie counts only for pages of this host and of allowed origins.")]
    CookieRefused,
    /// The request is not a GraphQL request.
    #[error("{0}")]
    Malformed(String),
    /// The body is of another type.
    #[error("The body must be application/json in UTF-8.")]
    UnsupportedMediaType,
    /// None of our response types is accepted, or a subscription was sent where it cannot stream.
    #[error("{0}")]
    NotAcceptable(&'static str),
    /// The method is not one of those in the text.
    #[error("This resource takes {0}.")]
    MethodNotAllowed(&'static str),
    /// The body or message is too large; the limit in bytes.
    #[error("The request is larger than {0} bytes.")]
    TooLarge(usize),
    /// The body did not arrive in time.
    #[error("The request did not arrive in time.")]
    TooSlow,
    /// There is no such reservation for whoever asks, or not any more.
    #[error("There is no such reservation, or it has expired, or it is not yours; make one with PUT.")]
    ReservationUnknown,
    /// The reservation is gone while its stream is open.
    #[error("The reservation of this stream is gone; make another one with PUT.")]
    ReservationGone,
    /// The reservation's stream is open.
    #[error("The stream of this reservation is open already; close it, or send Last-Event-ID to take over.")]
    StreamOpen,
    /// The operation id is in use.
    #[error("The operation id is in use; use another one, or delete that operation.")]
    OperationIdTaken,
    /// The user has streams on all the reservations that are allowed; the limit.
    #[error("You already have {0} streams open.")]
    TooManyReservations(usize),
    /// The operations of a reservation are too large together; the limit in bytes.
    #[error("The operations of this reservation take more than {0} bytes; end some of them.")]
    ReservationTooLarge(usize),
    /// There are all the reservations that may be.
    #[error("The server has too many reservations; try again later.")]
    ReservationsFull,
    /// What keeps reservations does not answer.
    #[error("Reservations cannot be reached now; try again in a moment.")]
    StoreUnavailable,
    /// The daemon holds all the connections that it may.
    #[error("The server has too many connections; try again later.")]
    Overloaded,
    /// The daemon does not know the database's schema yet.
    #[error("The server is starting; try again in a moment.")]
    NotReady,
    /// The daemon is shutting down.
    #[error("The server is restarting; connect again.")]
    Draining,
    /// The connection runs all the subscriptions that it may; the limit.
    #[error("This connection already runs {0} subscriptions.")]
    TooManySubscriptions(usize),
    /// Too many attempts to connect came from the client's address; seconds until the next may.
    #[error("Too many attempts to connect came from this address; try again in {0} s.")]
    TooManyAttempts(u64),
    /// A user, or a tenant, has as many connections as it may; whose, and the limit.
    #[error(
        "This {0} already has {1} connections; close one, or run several subscriptions on one WebSocket."
    )]
    TooManyConnections(Whose, usize),
    /// The user has begun too many operations; seconds until the next may.
    #[error("This user has begun too many operations; try again in {0} s.")]
    TooManyOperations(u64),
    /// More happened than may be delivered to the user.
    #[error(
        "More events happen than may be delivered to this user; narrow the subscription, or conflate it with \
         @throttle, then subscribe again."
    )]
    RateLimited,
    /// The mailbox was full.
    #[error("The client reads more slowly than events happen, and its buffer is full; subscribe again.")]
    SlowConsumer,
    /// The database's history is not the one that the cursor belongs to.
    #[error(
        "The database was restored or replaced, so this subscription cannot go on: there may be a gap. Subscribe again, \
         without a cursor or after oldestCursor or newestCursor."
    )]
    HistoryChanged(Bounds),
    /// Retention removed events that had not been delivered.
    #[error(
        "Events were removed before they could be delivered, so there is a gap. Subscribe again, without a cursor or \
         after oldestCursor or newestCursor."
    )]
    Expired(Bounds),
    /// The schema changed under the subscription.
    #[error("The schema has changed and this document is no longer valid.")]
    SchemaChanged,
    /// Row security could not be evaluated for an event.
    #[error(
        "Whether you may see an event could not be decided in time, so there may be a gap; subscribe again."
    )]
    Undecided,
    /// The rows to begin with are too many; the limit.
    #[error("@initial: more than {0} match; narrow the filter, or read the rows in another way.")]
    InitialTooLarge(Box<str>),
    /// The rows to begin with could not be read; why.
    #[error("@initial: {0}.")]
    InitialFailed(Box<str>),
}

impl ClientError {
    /// The stable name: `extensions.code` of the error, and the label of the metric `refusals`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TokenMissing => "UNAUTHENTICATED",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TokenInvalid => "TOKEN_INVALID",
            Self::TokenRevoked => "TOKEN_REVOKED",
            Self::Kicked => "KICKED",
            Self::RefreshRefused => "REFRESH_REFUSED",
            Self::KeysUnavailable => "KEYS_UNAVAILABLE",
            Self::CookieRefused => "COOKIE_REFUSED",
            Self::Malformed(_) => "BAD_REQUEST",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::NotAcceptable(_) => "NOT_ACCEPTABLE",
            Self::MethodNotAllowed(_) => "METHOD_NOT_ALLOWED",
            Self::TooLarge(_) => "REQUEST_TOO_LARGE",
            Self::TooSlow => "REQUEST_TIMEOUT",
            Self::ReservationUnknown => "RESERVATION_UNKNOWN",
            Self::ReservationGone => "RESERVATION_GONE",
            Self::StreamOpen => "STREAM_OPEN",
            Self::OperationIdTaken => "OPERATION_ID_TAKEN",
            Self::TooManyReservations(_) => "TOO_MANY_RESERVATIONS",
            Self::ReservationTooLarge(_) => "RESERVATION_TOO_LARGE",
            Self::ReservationsFull => "RESERVATIONS_FULL",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::NotReady => "NOT_READY",
            Self::Draining => "DRAINING",
            Self::TooManySubscriptions(_) => "TOO_MANY_SUBSCRIPTIONS",
            Self::TooManyAttempts(_) => "TOO_MANY_ATTEMPTS",
            Self::TooManyConnections(..) => "TOO_MANY_CONNECTIONS",
            Self::TooManyOperations(_) => "TOO_MANY_OPERATIONS",
            Self::RateLimited => "RATE_LIMITED",
            Self::SlowConsumer => "SLOW_CONSUMER",
            Self::HistoryChanged(_) => "CURSOR_HISTORY_CHANGED",
            Self::Expired(_) => "CURSOR_EXPIRED",
            Self::SchemaChanged => "SCHEMA_CHANGED",
            Self::Undecided => "POLICIES_UNDECIDED",
            Self::InitialTooLarge(_) => "INITIAL_TOO_LARGE",
            Self::InitialFailed(_) => "INITIAL_FAILED",
        }
    }

    /// The HTTP status, where the protocol lets one be sent.
    pub const fn status(&self) -> u16 {
        match self {
            Self::TokenMissing | Self::TokenExpired | Self::TokenInvalid | Self::TokenRevoked => 401,
            Self::Malformed(_) => 400,
            Self::CookieRefused | Self::Kicked | Self::RefreshRefused => 403,
            Self::ReservationUnknown => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::NotAcceptable(_) => 406,
            Self::TooSlow => 408,
            Self::StreamOpen | Self::OperationIdTaken => 409,
            Self::ReservationGone => 410,
            Self::TooLarge(_) | Self::ReservationTooLarge(_) => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooManyAttempts(_)
            | Self::TooManyConnections(..)
            | Self::TooManySubscriptions(_)
            | Self::TooManyOperations(_)
            | Self::TooManyReservations(_)
            | Self::RateLimited => 429,
            Self::Overloaded
            | Self::NotReady
            | Self::KeysUnavailable
            | Self::ReservationsFull
            | Self::StoreUnavailable
            | Self::Draining => 503,
            Self::SlowConsumer
            | Self::HistoryChanged(_)
            | Self::Expired(_)
            | Self::SchemaChanged
            | Self::Undecided
            | Self::InitialTooLarge(_)
            | Self::InitialFailed(_) => 500,
        }
    }

    /// The limit that was hit, if it is one: the label of the metric `limit_rejections`.
    pub const fn limit(&self) -> Option<&'static str> {
        match self {
            Self::Overloaded => Some("connections"),
            Self::TooManyAttempts(_) => Some("attempts_per_minute"),
            Self::TooManyConnections(Whose::User, _) => Some("connections_per_user"),
            Self::TooManyConnections(Whose::Tenant, _) => Some("connections_per_tenant"),
            Self::TooManySubscriptions(_) => Some("subscriptions"),
            Self::TooManyOperations(_) => Some("operations_per_minute"),
            Self::RateLimited => Some("deliveries_per_second"),
            Self::TooManyReservations(_) => Some("reservations_per_user"),
            Self::ReservationsFull => Some("reservations_total"),
            _ => None,
        }
    }

    /// Seconds after which trying again makes sense; nothing if waiting alone does not help.
    pub const fn retry_after_s(&self) -> Option<u64> {
        /// Where nobody can tell how long it takes.
        const USUAL_S: u64 = 5;
        match self {
            Self::TooManyAttempts(seconds) | Self::TooManyOperations(seconds) => Some(*seconds),
            Self::TooManyConnections(..)
            | Self::Overloaded
            | Self::NotReady
            | Self::KeysUnavailable
            | Self::ReservationsFull
            | Self::StoreUnavailable
            | Self::Draining => Some(USUAL_S),
            _ => None,
        }
    }

    /// The refusal of an attempt to connect, of which another may be made after a time.
    pub fn too_many_attempts(after: Duration) -> Self {
        Self::TooManyAttempts(whole_seconds(after))
    }

    /// The refusal of an operation, of which another may begin after a time.
    pub fn too_many_operations(after: Duration) -> Self {
        Self::TooManyOperations(whole_seconds(after))
    }

    /// The error in the form of a GraphQL error.
    pub fn to_graphql(&self) -> GraphQLError {
        let mut error = GraphQLError::new(self.code(), self.to_string());
        if let Self::HistoryChanged(bounds) | Self::Expired(bounds) = self {
            error.extensions.bounded_by(bounds);
        }
        error
    }

    /// The same with the cursor at which the subscription ended.
    pub fn to_graphql_at(&self, cursor: &CursorText) -> GraphQLError {
        let mut error = self.to_graphql();
        error.extensions.cursor = (!cursor.is_empty()).then(|| cursor.to_string());
        error
    }
}

impl From<EndReason> for ClientError {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::SlowConsumer => Self::SlowConsumer,
            EndReason::RateLimited => Self::RateLimited,
            EndReason::HistoryChanged(bounds) => Self::HistoryChanged(bounds),
            EndReason::Expired(bounds) => Self::Expired(bounds),
            EndReason::SchemaChanged => Self::SchemaChanged,
            EndReason::Undecided => Self::Undecided,
            EndReason::InitialTooLarge(limit) => Self::InitialTooLarge(limit),
            EndReason::InitialFailed(why) => Self::InitialFailed(why),
        }
    }
}

/// Not less than it takes, and never "in 0 s".
fn whole_seconds(duration: Duration) -> u64 {
    (duration.as_secs() + u64::from(duration.subsec_nanos() > 0)).max(1)
}

/// A response body that holds nothing but errors: `{"errors":[…]}`.
pub fn errors_body(errors: &[GraphQLError]) -> Vec<u8> {
    // Serializing plain strings and numbers into memory cannot fail.
    serde_json::to_vec(&serde_json::json!({ "errors": errors })).unwrap_or_default()
}
