//! The poll: one statement that takes the new snapshot and reads what it sees and the old did not.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row, RowStream, Statement};

use super::PostgresOptions;
use super::error::{SessionError, in_time};
use crate::event::{Audience, Event, Operation};
use crate::source::Batch;
use crate::source::cursor::{Cursor, Floor};
use crate::source::snapshot::Snapshot;

/// Columns of an event, in the order in which [`event_of`] reads them.
macro_rules! event_columns {
    () => {
        "id, xid, channel, event_type, type_name, audience, tenant_id, user_id, payload::text, \
         old_payload::text, changed_columns, metadata::text, created_at, truncated"
    };
}

pub(super) use event_columns;

/// Events that meet a condition. The first row carries no event but the snapshot that the statement
/// sees, the table's oid, and the floor up to which retention has removed events.
macro_rules! events_where {
    ($condition:literal) => {
        concat!(
            "select pg_current_snapshot()::text as snapshot, null::bigint as id, null::xid8 as xid, null::text, \
             null::text, null::text, null::text, null::text, null::text, null::text, null::text, null::text[], \
             null::text, null::timestamptz, null::boolean, 'tidings.events'::regclass::oid, \
             (select snapshot::text from tidings.retention_floor), (select top from tidings.retention_floor) \
             union all (select null, ",
            event_columns!(),
            ", null, null, null from tidings.events where ",
            $condition,
            ")"
        )
    };
}

/// The poll of an unbroken connection. Parameters: xmax and running xids of the old snapshot, the
/// most rows.
pub const POLL: &str = events_where!("xid >= $1 or xid = any($2) limit $3");

/// The first poll after a reconnect: a crash may have given xids that the old snapshot counts as
/// finished to new transactions, but never ids up to the highest that we have seen ($4).
pub const POLL_AFTER_RECONNECT: &str = events_where!("xid >= $1 or xid = any($2) or id > $4 limit $3");

/// A page of a backlog, in order. Parameters: as above, then the highest id seen, the snapshot that
/// the batch leads to, and the ids between which (first exclusive) the page lies.
pub const PAGE: &str = events_where!(
    "id > $5 and id <= $6 and (xid >= $1 or xid = any($2) or id > $3) \
     and pg_visible_in_snapshot(xid, $4::text::pg_snapshot) order by id"
);

/// First and last id of the events that meet a condition. The planner would look for the least id by going through
/// all ids from the lowest in the table on; it does not look into a subquery with an offset.
macro_rules! bounds_where {
    ($condition:literal) => {
        concat!(
            "select min(id) as first, max(id) as last from (select id from tidings.events where ",
            $condition,
            " offset 0) found"
        )
    };
}

pub(super) use bounds_where;

/// Where a backlog lies. Parameters: as of [`PAGE`], up to the snapshot.
pub const BOUNDS: &str = bounds_where!(
    "(xid >= $1 or xid = any($2) or id > $3) and pg_visible_in_snapshot(xid, $4::text::pg_snapshot)"
);

/// How a session plans [`POLL`] once it has begun.
pub const PLAN_ONCE: &str = "set plan_cache_mode = force_generic_plan";
const PLAN_EACH_TIME: &str = "set plan_cache_mode = force_custom_plan";

/// What a poll found.
#[derive(Debug)]
pub(super) enum Polled {
    /// Everything that became visible.
    All(Batch),
    /// More than one statement should carry, up to this snapshot.
    TooMuch(Arc<Snapshot>),
}

/// The polling connection with its prepared statements.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) client: Client,
    poll: Statement,
    poll_after_reconnect: Statement,
    pub(super) page: Statement,
    /// The table that is polled; it stays the same as long as the history does.
    events_oid: u32,
    /// Whether the session plans each statement once, see [`Poller::plan_once`].
    plans_once: AtomicBool,
    /// Whether the next poll is the first since a connection was lost: the server may have crashed
    /// in between and given xids below our snapshot to new transactions.
    pub(super) after_reconnect: bool,
}

impl Poller {
    pub(super) async fn new(client: Client, events_oid: u32) -> Result<Self, SessionError> {
        let prepare =
            async |text| in_time(async { client.prepare(text).await.map_err(SessionError::Query) }).await;
        let (poll, poll_after_reconnect) = (prepare(POLL).await?, prepare(POLL_AFTER_RECONNECT).await?);
        let page = prepare(PAGE).await?;
        Ok(Self {
            client,
            poll,
            poll_after_reconnect,
            page,
            events_oid,
            plans_once: AtomicBool::new(false),
            after_reconnect: false,
        })
    }

    /// Polls once.
    pub(super) async fn poll(
        &self,
        seen: &Cursor,
        options: &PostgresOptions,
    ) -> Result<Polled, SessionError> {
        let xmax = Xid(seen.seen.xmax());
        let running = running(seen);
        let rows_max = options.page_events as i64 + 1;
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&xmax, &running, &rows_max];
        let statement = if self.after_reconnect {
            parameters.push(&seen.top);
            &self.poll_after_reconnect
        } else {
            &self.poll
        };
        in_time(async {
            self.plan_once(!self.after_reconnect).await?;
            let mut rows = pin!(self.query(statement, &parameters).await?);
            let snapshot = Arc::new(self.head(&mut rows, seen).await?);
            let mut page = Page::default();
            while let Some(row) = rows.try_next().await.map_err(SessionError::Query)? {
                page.push(event_of(&row)?);
                if page.events.len() > options.page_events || page.bytes > options.page_bytes {
                    return Ok(Polled::TooMuch(snapshot));
                }
            }
            let mut events = page.events;
            // The order within a batch: a second writer of a row draws its id after the first commits.
            events.sort_unstable_by_key(|event| event.id);
            Ok(Polled::All(Batch { events, start: seen.clone(), snapshot, last: true }))
        })
        .await
    }

    /// Whether statements are planned once, or each time with their parameters. The poll has one plan, a bitmap of the
    /// index by xid, and planning it takes three times as long as the rest; what reads a backlog needs to know how much.
    pub(super) async fn plan_once(&self, once: bool) -> Result<(), SessionError> {
        if self.plans_once.load(Ordering::Relaxed) == once {
            return Ok(());
        }
        let mode = if once { PLAN_ONCE } else { PLAN_EACH_TIME };
        self.client.batch_execute(mode).await.map_err(SessionError::Query)?;
        self.plans_once.store(once, Ordering::Relaxed);
        Ok(())
    }

    /// Reads the first row: the statement's snapshot, if nothing between it and what was seen is lost.
    pub(super) async fn head(
        &self,
        rows: &mut Pin<&mut RowStream>,
        seen: &Cursor,
    ) -> Result<Snapshot, SessionError> {
        let row = rows.try_next().await.map_err(SessionError::Query)?.ok_or(SessionError::Replaced)?;
        // The extension may be dropped and created again between two polls; the statement then
        // quietly finds the new table.
        if row.get::<_, u32>(15) != self.events_oid {
            return Err(SessionError::Replaced);
        }
        if floor_of(&row, 16)?.is_some_and(|floor| seen.lacks(&floor)) {
            return Err(SessionError::Expired);
        }
        Ok(row.get::<_, &str>(0).parse()?)
    }

    /// Runs a statement and hands over its rows as they arrive.
    pub(super) async fn query(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<RowStream, SessionError> {
        self.client.query_raw(statement, parameters.iter().copied()).await.map_err(SessionError::Query)
    }
}

/// Reads the floor from two columns of a row, its snapshot and its top; nothing if nothing was removed yet.
pub(super) fn floor_of(row: &Row, column: usize) -> Result<Option<Floor>, SessionError> {
    let Some(snapshot) = row.get::<_, Option<&str>>(column) else { return Ok(None) };
    Ok(Some(Floor { snapshot: snapshot.parse()?, top: row.get(column + 1) }))
}

/// The transactions that were in progress, as a parameter.
pub(super) fn running(seen: &Cursor) -> Vec<Xid> {
    seen.seen.in_progress().iter().copied().map(Xid).collect()
}

/// Events read so far, and the bytes of their payloads.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) events: Vec<Event>,
    pub(super) bytes: usize,
}

impl Page {
    pub(super) fn push(&mut self, event: Event) {
        self.bytes += event.payload.len() + event.old_payload.as_ref().map_or(0, |old| old.len());
        self.events.push(event);
    }
}

/// Reads an event from a row of [`POLL`] or [`PAGE`].
pub(super) fn event_of(row: &Row) -> Result<Event, SessionError> {
    let id = row.get(1);
    let text = |index: usize| row.get::<_, Option<&str>>(index).map(Box::<str>::from);
    let event_type: &str = row.get(4);
    let type_name = text(5);
    let audience =
        Audience::parse(row.get(6)).ok_or(SessionError::UnknownValue { id, column: "audience" })?;
    let operation = match &type_name {
        None => None,
        Some(_) => Some(
            Operation::parse(event_type).ok_or(SessionError::UnknownValue { id, column: "event_type" })?,
        ),
    };
    let changed: Option<Vec<&str>> = row.get(11);
    Ok(Event {
        id,
        xid: row.get::<_, Xid>(2).0,
        channel: row.get::<_, &str>(3).into(),
        event_type: event_type.into(),
        type_name,
        operation,
        audience,
        tenant_id: text(7),
        user_id: text(8),
        payload: row.get::<_, &str>(9).into(),
        old_payload: text(10),
        changed_columns: changed.map(|names| names.into_iter().map(Into::into).collect()),
        metadata: text(12),
        created_at_us: row.get::<_, Timestamp>(13).0,
        truncated: row.get(14),
    })
}

/// An `xid8`: eight bytes, unsigned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Xid(pub(super) u64);

impl<'a> FromSql<'a> for Xid {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(u64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::XID8
    }
}

impl ToSql for Xid {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::XID8
    }

    to_sql_checked!();
}

/// A `timestamptz` as microseconds since 1970; on the wire they count from 2000.
struct Timestamp(i64);

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
        Ok(Self(i64::from_be_bytes(raw.try_into()?).saturating_add(POSTGRES_EPOCH_US)))
    }

    fn accepts(sql_type: &Type) -> bool {
        *sql_type == Type::TIMESTAMPTZ
    }
}
