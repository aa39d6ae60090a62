//! What subscriptions have missed, read from `tidings.events`.

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::PostgresOptions;
use super::connection::connect;
use super::earlier;
use super::error::{SessionError, in_time};
use super::following::{Followed, Following};
use super::poll::{PAGE, Page, Xid, bounds_where, event_of, floor_of};
use super::session::{IN_RECOVERY, SESSION_SETTINGS};
use super::standby;
use crate::metrics::Metrics;
use crate::source::cursor::Cursor;
use crate::source::history::{Earlier, History, HistoryError, Missing, Moment, Passage};
use crate::source::ring::RingLimits;
use crate::source::status::SourceStatus;

/// Most connections that read at a time. A statement reads for everybody who waits, so few are enough.
const CONNECTIONS_MAX: usize = 2;

/// It stays the same for as long as a connection lasts, unless the extension is created anew.
const HISTORY: &str = "select tidings.history_id()";

/// The moment now, and where what is missing of it lies: one statement, so that all of it is of one snapshot.
/// Parameters: as of [`PAGE`], without the snapshot.
const MOMENT: &str = concat!(
    "select tidings.history_id(), pg_current_snapshot()::text, \
            greatest((select max(id) from tidings.events), floor.top), \
            (select last_value from tidings.events_id_seq), \
            floor.snapshot::text, floor.top, missing.first, missing.last \
     from tidings.retention_floor floor, (",
    bounds_where!("xid >= $1 or xid = any($2) or id > $3"),
    ") missing"
);

/// Reads `tidings.events` again, on connections of its own.
#[derive(Debug)]
pub(super) struct PostgresHistory {
    options: PostgresOptions,
    metrics: Metrics,
    status: Arc<SourceStatus>,
    following: Arc<Following>,
    free: Semaphore,
    /// Those that are open and not in use.
    idle: Mutex<Vec<Reader>>,
}

/// One connection with its prepared statements.
#[derive(Debug)]
struct Reader {
    client: Client,
    /// What was followed when it was opened.
    followed: Followed,
    moment: Statement,
    page: Statement,
}

impl PostgresHistory {
    /// Reads beside a source, of which the parts are.
    pub(super) fn new(
        options: &PostgresOptions,
        (metrics, status, following): (Metrics, Arc<SourceStatus>, Arc<Following>),
    ) -> Self {
        let free = Semaphore::new(CONNECTIONS_MAX);
        Self { options: options.clone(), metrics, status, following, free, idle: Mutex::default() }
    }

    /// One that is open and reaches the server that is followed now.
    fn idle(&self) -> Option<Reader> {
        let followed = self.following.get();
        let mut idle = self.idle.lock();
        idle.retain(|reader| reader.followed == followed && !reader.client.is_closed());
        idle.pop()
    }

    /// Reads with a connection; one that failed is not used again.
    async fn with<T>(
        &self,
        read: impl AsyncFnOnce(&Reader) -> Result<T, SessionError>,
    ) -> Result<T, HistoryError> {
        let told = |error: SessionError| HistoryError(error.for_people());
        let _permit = self.free.acquire().await.map_err(|_| told(SessionError::Timeout))?;
        let reader = match self.idle() {
            Some(reader) => reader,
            None => Reader::open(&self.options, self.following.get()).await.map_err(told)?,
        };
        let read = read(&reader).await.map_err(told)?;
        self.idle.lock().push(reader);
        Ok(read)
    }

    /// Has what was found wait for the standby, if it has to.
    async fn wait(&self, reader: &Reader, found: bool) -> Result<(), SessionError> {
        if found && self.options.wait_for_standby {
            standby::wait(&reader.client, &self.status, &self.metrics).await?;
        }
        Ok(())
    }
}

impl Reader {
    async fn open(options: &PostgresOptions, followed: Followed) -> Result<Self, SessionError> {
        let (client, connection) = connect(&options.database, "tidings replay").await?;
        tokio::spawn(async move {
            // The failure shows in the statement that was waiting.
            let _ = connection.await;
        });
        in_time(async {
            client.batch_execute(SESSION_SETTINGS).await.map_err(SessionError::Query)?;
            let in_recovery = client.query_one(IN_RECOVERY, &[]).await.map_err(SessionError::Query)?;
            if in_recovery.get::<_, bool>(0) {
                return Err(SessionError::InRecovery);
            }
            let history = client.query_one(HISTORY, &[]).await.map_err(SessionError::Query)?;
            if !followed.admits(history.get::<_, i64>(0).cast_unsigned()) {
                return Err(SessionError::NotFollowed);
            }
            let moment = client.prepare(MOMENT).await.map_err(SessionError::Query)?;
            let page = client.prepare(PAGE).await.map_err(SessionError::Query)?;
            Ok(Self { client, followed, moment, page })
        })
        .await
    }

    async fn moment(&self, missing: &Missing) -> Result<Moment, SessionError> {
        let (xmax, running) = (Xid(missing.xmax), running(missing));
        let parameters: [&(dyn ToSql + Sync); 3] = [&xmax, &running, &missing.top];
        let row = self.client.query_one(&self.moment, &parameters).await.map_err(SessionError::Query)?;
        Ok(Moment {
            history: row.get::<_, i64>(0).cast_unsigned(),
            snapshot: Arc::new(row.get::<_, &str>(1).parse()?),
            top: row.get(2),
            last_id: row.get(3),
            floor: floor_of(&row, 4)?,
            ids: row.get::<_, Option<i64>>(6).zip(row.get(7)),
        })
    }

    async fn passage(
        &self,
        missing: &Missing,
        moment: &Moment,
        after: i64,
        width: i64,
        bytes_max: usize,
    ) -> Result<Passage, SessionError> {
        let last = moment.ids.map_or(after, |(_, last)| last);
        let upto = after.saturating_add(width).min(last);
        let (xmax, running, text) = (Xid(missing.xmax), running(missing), moment.snapshot.to_string());
        let parameters: [&(dyn ToSql + Sync); 6] = [&xmax, &running, &missing.top, &text, &after, &upto];
        let rows = self.client.query_raw(&self.page, parameters).await.map_err(SessionError::Query)?;
        let mut rows = pin!(rows);
        let head = rows.try_next().await.map_err(SessionError::Query)?.ok_or(SessionError::Replaced)?;
        let floor = floor_of(&head, 16)?;
        let mut page = Page::default();
        while let Some(row) = rows.try_next().await.map_err(SessionError::Query)? {
            let event = event_of(&row)?;
            let id = event.id;
            page.push(event);
            if page.bytes > bytes_max {
                return Ok(Passage { events: page.events, upto: id, floor });
            }
        }
        Ok(Passage { events: page.events, upto, floor })
    }
}

fn running(missing: &Missing) -> Vec<Xid> {
    missing.running.iter().copied().map(Xid).collect()
}

impl History for PostgresHistory {
    fn moment<'a>(&'a self, missing: &'a Missing) -> BoxFuture<'a, Result<Moment, HistoryError>> {
        self.with(async move |reader| {
            let moment = in_time(reader.moment(missing)).await?;
            self.wait(reader, moment.ids.is_some()).await?;
            Ok(moment)
        })
        .boxed()
    }

    fn passage<'a>(
        &'a self,
        missing: &'a Missing,
        moment: &'a Moment,
        after: i64,
        width: i64,
    ) -> BoxFuture<'a, Result<Passage, HistoryError>> {
        let bytes_max = self.options.page_bytes;
        self.with(async move |reader| in_time(reader.passage(missing, moment, after, width, bytes_max)).await)
            .boxed()
    }

    fn earlier<'a>(
        &'a self,
        at: &'a Cursor,
        limits: RingLimits,
    ) -> BoxFuture<'a, Result<Option<Earlier>, HistoryError>> {
        self.with(async move |reader| {
            let earlier = in_time(earlier::read(&reader.client, at, limits)).await?;
            self.wait(reader, !earlier.events.is_empty()).await?;
            Ok(Some(earlier))
        })
        .boxed()
    }
}
