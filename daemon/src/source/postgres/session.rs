//! A session with the database: one connection that polls, one that listens.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::PostgresOptions;
use super::listen::Listener;
use super::poll::{POLL, POLL_AFTER_RECONNECT};
use crate::source::cursor::Cursor;
use crate::source::snapshot::{Snapshot, SnapshotError};

/// What drives a client; it ends when the server or the client goes away.
pub(super) type Connection =
    tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

/// Longest time to connect and to answer any one statement; a server that needs longer is taken
/// for lost, which shows in readiness, and connected to again.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Settings of the polling connection.
///
/// Custom plans, because only the actual snapshot tells the planner how few rows are new; no
/// sequential scan and no parallel workers, because a poll must cost the same on a large table; no
/// JIT, because it costs more than the poll.
pub const SESSION_SETTINGS: &str = "\
    set plan_cache_mode = force_custom_plan; set enable_seqscan = off; \
    set max_parallel_workers_per_gather = 0; set jit = off; set search_path = pg_catalog, pg_temp; \
    set default_transaction_read_only = on; set statement_timeout = '30s'; \
    set idle_in_transaction_session_timeout = '60s'";

/// Where a new follower starts: everything visible now counts as seen.
const START: &str = "\
    select pg_is_in_recovery(), \
           case when pg_is_in_recovery() then 0 else tidings.history_id() end, \
           pg_current_snapshot()::text, \
           coalesce((select max(id) from tidings.events), 0), \
           'tidings.events'::regclass::oid";

/// Both connections, ready.
#[derive(Debug)]
pub struct Session {
    pub(super) client: Client,
    pub(super) listener: Listener,
    pub(super) poll: Statement,
    pub(super) poll_after_reconnect: Statement,
    /// The table that is polled; it stays the same as long as the history does.
    pub(super) events_oid: u32,
    /// Whether the next poll is the first since a connection was lost: the server may have crashed
    /// in between and given xids below our snapshot to new transactions.
    pub(super) after_reconnect: bool,
    task: JoinHandle<()>,
}

/// Why there is no session, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
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
    #[error("the server is in recovery (a standby); point TIDINGS_DATABASE_URL at the primary")]
    InRecovery,
    /// The extension was dropped and created again.
    #[error("tidings.events is not the table that was followed; the extension was created anew")]
    Replaced,
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
    pub fn for_people(&self) -> String {
        let (Self::Connect(source) | Self::Query(source)) = self else { return self.to_string() };
        let Some(database) = source.as_db_error() else {
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

impl Session {
    /// Connects, and reads where a new follower would start. LISTEN comes first: what is
    /// published after the start was read wakes us.
    pub(super) async fn open(options: &PostgresOptions) -> Result<(Self, Cursor), SessionError> {
        let (listen_client, listen_connection) = connect(&options.database, "tidings listen").await?;
        let listener = in_time(Listener::start(listen_client, listen_connection)).await?;
        let (client, connection) = connect(&options.database, "tidings poll").await?;
        let task = tokio::spawn(async move {
            // The failure shows in the statement that was waiting.
            let _ = connection.await;
        });
        let prepared = async {
            client.batch_execute(SESSION_SETTINGS).await?;
            let row = client.query_one(START, &[]).await?;
            Ok((row, client.prepare(POLL).await?, client.prepare(POLL_AFTER_RECONNECT).await?))
        };
        let (row, poll, poll_after_reconnect) =
            in_time(async { prepared.await.map_err(SessionError::Query) }).await?;
        if row.get::<_, bool>(0) {
            return Err(SessionError::InRecovery);
        }
        let seen: Snapshot = row.get::<_, &str>(2).parse()?;
        let history = row.get::<_, i64>(1).cast_unsigned();
        let start = Cursor { history, top: row.get(3), seen: Arc::new(seen), within: None };
        let events_oid = row.get(4);
        let session =
            Self { client, listener, poll, poll_after_reconnect, events_oid, after_reconnect: false, task };
        Ok((session, start))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(config: &Config, name: &str) -> Result<(Client, Connection), SessionError> {
    let mut config = config.clone();
    config
        .application_name(name)
        .connect_timeout(ANSWER_TIME_MAX)
        .keepalives(true)
        // A peer that vanished without a word is noticed in about ten seconds.
        .keepalives_idle(Duration::from_secs(4))
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(10));
    in_time(async { config.connect(NoTls).await.map_err(SessionError::Connect) }).await
}

/// Bounds a wait for the server.
pub(super) async fn in_time<T>(
    answer: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    tokio::time::timeout(ANSWER_TIME_MAX, answer).await.map_err(|_| SessionError::Timeout)?
}
