//! What a client is told when the endpoint itself refuses or ends something: text, HTTP status,
//! stable code and metric label, all in one place.

use crate::graphql::error::GraphQLError;
use crate::hub::mailbox::{Bounds, CursorText, EndReason};

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
            Self::ReservationsFull => "RESERVATIONS_FULL",
            Self::StoreUnavailable => "STORE_UNAVAILABLE",
            Self::Overloaded => "OVERLOADED",
            Self::NotReady => "NOT_READY",
            Self::Draining => "DRAINING",
            Self::TooManySubscriptions(_) => "TOO_MANY_SUBSCRIPTIONS",
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
            Self::TokenMissing | Self::TokenExpired | Self::TokenInvalid => 401,
            Self::Malformed(_) => 400,
            Self::CookieRefused => 403,
            Self::ReservationUnknown => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::NotAcceptable(_) => 406,
            Self::TooSlow => 408,
            Self::StreamOpen | Self::OperationIdTaken => 409,
            Self::ReservationGone => 410,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType => 415,
            Self::TooManySubscriptions(_) | Self::TooManyReservations(_) => 429,
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
            EndReason::HistoryChanged(bounds) => Self::HistoryChanged(bounds),
            EndReason::Expired(bounds) => Self::Expired(bounds),
            EndReason::SchemaChanged => Self::SchemaChanged,
            EndReason::Undecided => Self::Undecided,
            EndReason::InitialTooLarge(limit) => Self::InitialTooLarge(limit),
            EndReason::InitialFailed(why) => Self::InitialFailed(why),
        }
    }
}

/// A response body that holds nothing but errors: `{"errors":[…]}`.
pub fn errors_body(errors: &[GraphQLError]) -> Vec<u8> {
    // Serializing plain strings and numbers into memory cannot fail.
    serde_json::to_vec(&serde_json::json!({ "errors": errors })).unwrap_or_default()
}
