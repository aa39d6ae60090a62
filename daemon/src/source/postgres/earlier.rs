//! The last events of a set, for a ring that starts with it.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

use super::error::SessionError;
use super::poll::{Page, Xid, event_columns, event_of, floor_of};
use crate::source::cursor::Cursor;
use crate::source::history::Earlier;
use crate::source::ring::RingLimits;

/// The last events that a snapshot sees, the last first. Parameters: the highest id, the snapshot, the most rows.
const LAST: &str = concat!(
    "select null::text, ",
    event_columns!(),
    " from tidings.events where id <= $1 and pg_visible_in_snapshot(xid, $2::text::pg_snapshot) \
     order by id desc limit $3"
);

/// The highest xid of events up to an id.
const HIGHEST_XID: &str = "select xid from tidings.events where id <= $1 order by xid desc limit 1";

const FLOOR: &str = "select snapshot::text, top from tidings.retention_floor";

/// Reads them.
pub(super) async fn read(client: &Client, of: &Cursor, limits: RingLimits) -> Result<Earlier, SessionError> {
    let (snapshot, rows_max) = (of.seen.to_string(), i64::try_from(limits.events).unwrap_or(i64::MAX));
    let parameters: [&(dyn ToSql + Sync); 3] = [&of.top, &snapshot, &rows_max];
    let mut rows = pin!(client.query_raw(LAST, parameters).await.map_err(SessionError::Query)?);
    let mut page = Page::default();
    let mut complete = true;
    while let Some(row) = rows.try_next().await.map_err(SessionError::Query)? {
        page.push(event_of(&row)?);
        if page.bytes > limits.bytes {
            complete = false;
            break;
        }
    }
    complete &= page.events.len() < limits.events;
    let mut events = page.events;
    events.reverse();
    let upto = if complete { None } else { events.first().map(|event| event.id - 1) };
    let xid = match upto {
        Some(upto) => client.query_opt(HIGHEST_XID, &[&upto]).await.map_err(SessionError::Query)?,
        None => None,
    };
    let xid = xid.map_or(0, |row| row.get::<_, Xid>(0).0);
    // After the events: retention does not hide from a statement what it removes meanwhile.
    let row = client.query_one(FLOOR, &[]).await.map_err(SessionError::Query)?;
    let floor = floor_of(&row, 0)?;
    Ok(Earlier::new(of, upto.unwrap_or_default(), xid, floor.as_ref(), events))
}
