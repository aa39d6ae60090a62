//! `tidings.read_events`: pages of events for consumers that poll. See `sql/77_pull.sql`, which judges cursors and says
//! what is wrong with them; which events a page has is decided in [`tidings_cursor::reading`].

mod arguments;
mod events;

use std::sync::Arc;

use crate::error::refuse;
use crate::select::{as_of_now, select_one};
use crate::sys;
use arguments::Arguments;
use events::{Selected, Stored};
use pgrx::prelude::*;
use tidings_cursor::cursor::{Cursor, Floor};
use tidings_cursor::reading::{self, Limits};
use tidings_cursor::snapshot::Snapshot;

/// Bounds of one page, besides the events that are asked for. Together they keep a call in the order of tens of
/// milliseconds and its memory in that of its result.
const LIMITS: Limits = Limits {
    rows: 0,
    bytes: 8 * 1024 * 1024,
    ids: 50_000,
    ids_of_statement: 10_000,
    rows_of_statement: 1_000,
    events_by_transaction: 20_000,
    parts: 8,
};

/// A row of `tidings.event_and_cursor`; json is represented like text.
type EventAndCursor = (
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<String>>,
    Option<String>,
    Option<TimestampWithTimeZone>,
    Option<bool>,
    String,
    bool,
);

/// `tidings.hold_events`: from here to the end of the transaction nothing is removed.
#[pg_extern(sql = false)]
fn hold_events() {
    // SAFETY: reads a flag of the server.
    if unsafe { pg_sys::RecoveryInProgress() } {
        refuse(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "events cannot be read on a standby: its snapshots hide transactions that have not ended"
                .to_owned(),
            "Read from the primary.",
        )
    }
    for table in [c"events", c"events_0", c"events_1", c"events_2"] {
        // SAFETY: the lock of any reader; it is released with the transaction.
        unsafe { pg_sys::LockRelationOid(sys::relation_oid(table), pg_sys::AccessShareLock as i32) };
    }
}

/// `tidings.latest_floor`: a transaction whose snapshot is older would see the events as gone, and the floor where it was.
#[pg_extern(sql = false)]
fn latest_floor() -> TableIterator<'static, (name!(snapshot, Option<String>), name!(top, i64))> {
    let statement = "select snapshot::text, top from tidings.retention_floor";
    let floor = as_of_now(|| {
        // SAFETY: a text and a bigint.
        select_one(statement, &[], |row| unsafe { Some((row.get(1), row.get(2).unwrap_or_default())) })
    });
    TableIterator::new(floor)
}

/// `tidings.cursor_of`: the set of all that the snapshot sees up to an id, but for the caller's own transaction.
#[pg_extern(sql = false)]
fn cursor_of(history: i64, snapshot: &str, own: Option<&str>, top: i64) -> String {
    let cursor = Cursor {
        history: history.cast_unsigned(),
        top,
        seen: Arc::new(without_own(snapshot, own)),
        within: None,
        left: Vec::new(),
    };
    cursor.encode().to_string()
}

/// `tidings.cursor_problem`: why nobody can go on after this text; null if that is possible.
#[pg_extern(sql = false)]
fn cursor_problem(
    cursor: &str,
    history: i64,
    last_id: i64,
    floor_snapshot: Option<&str>,
    floor_top: i64,
) -> Option<&'static str> {
    let Some(cursor) = Cursor::decode(cursor).ok().filter(reading::can_go_on_from) else {
        return Some("CURSOR_INVALID");
    };
    if cursor.is_foreign_to(history.cast_unsigned(), last_id) {
        return Some("CURSOR_HISTORY_CHANGED");
    }
    let floor = floor_snapshot.map(|snapshot| Floor { snapshot: parsed(snapshot), top: floor_top });
    floor.is_some_and(|floor| cursor.lacks(&floor)).then_some("CURSOR_EXPIRED")
}

/// `tidings.read_after`: the page after a cursor that has been judged.
#[pg_extern(sql = false)]
#[expect(clippy::type_complexity, reason = "pgrx wants the row's type spelled out")]
fn read_after(
    cursor: &str,
    channel: Option<&str>,
    max_rows: Option<i32>,
    of_somebody: bool,
    tenant_id: Option<&str>,
    user_id: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(id, Option<i64>),
        name!(channel, Option<String>),
        name!(event_type, Option<String>),
        name!(type_name, Option<String>),
        name!(tenant_id, Option<String>),
        name!(user_id, Option<String>),
        name!(payload, Option<String>),
        name!(old_payload, Option<String>),
        name!(changed_columns, Option<Vec<String>>),
        name!(metadata, Option<String>),
        name!(created_at, Option<TimestampWithTimeZone>),
        name!(truncated, Option<bool>),
        name!(cursor, String),
        name!(more, bool),
    ),
> {
    let arguments = Arguments::checked(channel, max_rows, of_somebody, tenant_id, user_id);
    let Ok(seen) = Cursor::decode(cursor) else { error!("tidings.read_after() was called with no cursor") };
    let statement = "select pg_current_snapshot()::text, pg_current_xact_id_if_assigned()::text";
    // SAFETY: two texts.
    let now =
        select_one(statement, &[], |row| unsafe { Some((row.get::<String>(1)?, row.get::<String>(2))) });
    let Some((now, own)) = now else { error!("pg_current_snapshot() returned nothing") };
    let snapshot = Arc::new(without_own(&now, own.as_deref()));
    let limits = Limits { rows: arguments.max_rows, ..LIMITS };
    let mut events = Stored::new(&arguments, own);
    let page = reading::read(seen, &snapshot, &limits, &mut events);
    let (last, more) = (page.rows.len().saturating_sub(1), page.more);
    if page.rows.is_empty() {
        return TableIterator::once(row_of(None, page.end.to_string(), more));
    }
    let rows = page.rows.into_iter().enumerate();
    TableIterator::new(
        rows.map(move |(index, (event, cursor))| {
            row_of(Some(event), cursor.to_string(), more || index < last)
        }),
    )
}

/// The snapshot without one's own transaction, which PostgreSQL counts as seen by itself.
fn without_own(snapshot: &str, own: Option<&str>) -> Snapshot {
    let snapshot = parsed(snapshot);
    let own = own.and_then(|own| own.parse().ok());
    let running = snapshot.in_progress().iter().copied().chain(own).collect();
    Snapshot::new(snapshot.xmax(), running)
}

fn parsed(snapshot: &str) -> Snapshot {
    snapshot.parse().unwrap_or_else(|problem| error!("{problem}"))
}

fn row_of(event: Option<Selected>, cursor: String, more: bool) -> EventAndCursor {
    let Some(event) = event else {
        return (None, None, None, None, None, None, None, None, None, None, None, None, cursor, more);
    };
    (
        Some(event.id),
        Some(event.channel),
        Some(event.event_type),
        event.type_name,
        event.tenant_id,
        event.user_id,
        Some(event.payload),
        event.old_payload,
        event.changed_columns,
        event.metadata,
        event.created_at,
        Some(event.truncated),
        cursor,
        more,
    )
}
