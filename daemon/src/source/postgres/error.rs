//! What can go wrong between the source and its database.

use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::source::snapshot::SnapshotError;

/// Longest time to connect and to answer any one statement; a server that needs longer is taken
/// for lost, which shows in readiness, and connected to again.
pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Why there is no session, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The server could not be reached or refused us.
    #[error("cannot connect to PostgreSQL")]
    Connect(#[source] tokio_postgres::Error),
    /// A statement failed.
    #[error("a statement failed")]
    Query(#[source] tokio_postgres::Error),
    /// No answer in time.
    #[error("PostgreSQL did not answer within {ANSWER_TIME_MAX:?}")]
    Timeout,
    /// The LISTEN connection ended.
    #[error("the LISTEN connection was lost")]
    ListenLost,
    /// A standby hides running transactions, so tailing it would lose events.
    #[error(
        "the server is in recovery (a standby); promote it, or point TIDINGS_DATABASE_URL at the primary, or name all \
         servers there and add target_session_attrs=read-write"
    )]
    InRecovery,
    /// Events would wait for ever.
    #[error(
        "wait_for_standby is on, and synchronous_standby_names of the server is empty: name the standbys there, or \
         switch it off"
    )]
    NoStandby,
    /// Two primaries, or a failover that the source has not followed yet.
    #[error("another primary answers than the one that is followed; if this lasts, stop the old one")]
    NotFollowed,
    /// The extension was dropped and created again.
    #[error("tidings.events is not the table that was followed; the extension was created anew")]
    Replaced,
    /// Retention was faster than we were.
    #[error("tidings.maintain() removed events that had not been fetched yet; raise tidings.retention")]
    Expired,
    /// The server sent something that is no snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A value that the extension never writes.
    #[error("event {id} holds an unknown value in column {column}; the extension is newer than the daemon")]
    UnknownValue {
        /// Id of the event.
        id: i64,
        /// Column of `tidings.events`.
        column: &'static str,
    },
}

impl SessionError {
    /// What was wrong and what to do, on one line.
    pub(crate) fn for_people(&self) -> String {
        let (Self::Connect(source) | Self::Query(source)) = self else { return self.to_string() };
        let Some(database) = source.as_db_error() else {
            if refuses_writes(source) {
                return format!(
                    "{self}: the server is a standby or read-only; one that takes writes is waited for"
                );
            }
            let mut text = format!("{self}: {source}");
            let mut cause = std::error::Error::source(source);
            while let Some(inner) = cause {
                text = format!("{text}: {inner}");
                cause = inner.source();
            }
            return text;
        };
        let advice =
            if [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME, SqlState::UNDEFINED_FUNCTION]
                .contains(database.code())
            {
                "; run CREATE EXTENSION tidings in this database"
            } else if *database.code() == SqlState::INSUFFICIENT_PRIVILEGE {
                "; run SELECT tidings.grant_daemon('<role>') for the role that the daemon connects as"
            } else {
                ""
            };
        format!("{self}: {}{advice}", database.message())
    }
}

/// Whether the server is there, but no primary: `target_session_attrs=read-write` asks for one.
pub(super) fn refuses_writes(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error)
        .is_some_and(|cause| cause.to_string() == "database does not allow writes")
}

/// Bounds a wait for the server.
pub(crate) async fn in_time<T>(
    answer: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(|_| SessionError::Timeout)?
}
