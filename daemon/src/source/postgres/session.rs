//! A session with the database: one connection that polls, one that listens.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;

use super::PostgresOptions;
use super::connection::connect;
use super::error::{SessionError, in_time};
use super::listen::Listener;
use super::poll::Poller;
use super::standby;
use crate::source::cursor::Cursor;
use crate::source::snapshot::Snapshot;

/// Settings of the polling connection.
///
/// Custom plans, because only the actual snapshot tells the planner how few rows are new; the poll itself is planned once,
/// see [`Poller::plan_once`]. No
/// sequential scan and no parallel workers, because a poll must cost the same on a large table; no
/// JIT, because it costs more than the poll.
///
/// Read committed, whatever the database's default: then a statement's snapshot is taken once it is planned, and planning
/// locks every slot. A snapshot from before that would not show what retention removes while the lock is waited for,
/// nor that anything was removed.
pub const SESSION_SETTINGS: &str = "\
    set plan_cache_mode = force_custom_plan; set enable_seqscan = off; \
    set max_parallel_workers_per_gather = 0; set jit = off; set search_path = pg_catalog, pg_temp; \
    set default_transaction_isolation = 'read committed'; set default_transaction_read_only = on; \
    set statement_timeout = '30s'; \
    set idle_in_transaction_session_timeout = '60s'";

/// A standby can neither be listened to nor tailed.
pub(super) const IN_RECOVERY: &str = "select pg_is_in_recovery()";

/// Where a new follower starts: everything visible now counts as seen.
const START: &str = "\
    select tidings.history_id(), \
           pg_current_snapshot()::text, \
           greatest((select max(id) from tidings.events), (select top from tidings.retention_floor)), \
           'tidings.events'::regclass::oid, \
           (select last_value from tidings.events_id_seq)";

/// The database is in an earlier state than one that was seen: has it be another history from now on. The polling
/// connection does not write otherwise. Parameters: the history, and the highest id that was seen.
const BEGIN_HISTORY: &str = "select tidings.begin_history($1, $2)";

/// Both connections, ready.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) poller: Poller,
    pub(super) listener: Listener,
    /// The highest id that was ever drawn here.
    pub(super) last_id: i64,
    task: JoinHandle<()>,
}

impl Session {
    /// Connects, and reads where a new follower would start. LISTEN comes first: what is
    /// published after the start was read wakes us.
    pub(super) async fn open(options: &PostgresOptions) -> Result<(Self, Cursor), SessionError> {
        let (client, connection) = connect(&options.database, "tidings poll").await?;
        let task = tokio::spawn(async move {
            // The failure shows in the statement that was waiting.
            let _ = connection.await;
        });
        let in_recovery = in_time(async {
            client.batch_execute(SESSION_SETTINGS).await.map_err(SessionError::Query)?;
            client.query_one(IN_RECOVERY, &[]).await.map_err(SessionError::Query)
        });
        if in_recovery.await?.get::<_, bool>(0) {
            return Err(SessionError::InRecovery);
        }
        if options.wait_for_standby {
            standby::check(&client).await?;
        }
        let (listen_client, listen_connection) = connect(&options.database, "tidings listen").await?;
        let listener = in_time(Listener::start(listen_client, listen_connection)).await?;
        let row = in_time(async { client.query_one(START, &[]).await.map_err(SessionError::Query) }).await?;
        let seen: Snapshot = row.get::<_, &str>(1).parse()?;
        let history = row.get::<_, i64>(0).cast_unsigned();
        let start = Cursor { history, top: row.get(2), seen: Arc::new(seen), within: None, left: Vec::new() };
        let poller = Poller::new(client, row.get(3)).await?;
        Ok((Self { poller, listener, last_id: row.get(4), task }, start))
    }
}

impl Session {
    /// Whether the server has never drawn an id that was seen in its history: ids never go back, so its files were put
    /// back to an earlier state.
    pub(super) fn was_put_back(&self, seen: &Cursor, start: &Cursor) -> bool {
        seen.history == start.history && seen.top > self.last_id
    }

    /// Begins another history, unless another node has done so; this session is of no use then.
    pub(super) async fn begin_history(&self, seen: &Cursor) -> Result<(), SessionError> {
        let client = &self.poller.client;
        in_time(async {
            client.batch_execute("begin read write").await.map_err(SessionError::Query)?;
            let parameters: [&(dyn ToSql + Sync); 2] = [&seen.history.cast_signed(), &seen.top];
            client.execute(BEGIN_HISTORY, &parameters).await.map_err(SessionError::Query)?;
            client.batch_execute("commit").await.map_err(SessionError::Query)
        })
        .await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}
