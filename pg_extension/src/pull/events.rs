//! `tidings.events`, as [`tidings_cursor::reading`] reads it. Each statement looks at a bounded number of index entries,
//! however many events there are and however many are missing.

use super::arguments::Arguments;
use crate::select::{Argument, Row, select, select_one};
use pgrx::prelude::*;
use std::ops::ControlFlow;
use tidings_cursor::reading::{Bound, Events, Found, Range, Swept};

/// An event that is handed over.
pub(super) struct Selected {
    pub(super) id: i64,
    xid: u64,
    pub(super) channel: String,
    pub(super) event_type: String,
    pub(super) type_name: Option<String>,
    pub(super) tenant_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) payload: String,
    pub(super) old_payload: Option<String>,
    pub(super) changed_columns: Option<Vec<String>>,
    pub(super) metadata: Option<String>,
    pub(super) created_at: Option<TimestampWithTimeZone>,
    pub(super) truncated: bool,
}

/// What is stored, but for what the caller's own transaction stored.
pub(super) struct Stored<'a> {
    arguments: &'a Arguments,
    /// The caller's xid as text; 0, which nobody has, if it has none.
    own: String,
}

/// The first entry of each transaction in this order is its lowest id.
const TRANSACTIONS: &str = "\
    select e.xid::text, min(e.id), count(*) from ( \
        select xid, id from tidings.events where xid >= $1::xid8 and xid <> $2::xid8 order by xid, id limit $3 \
    ) e group by e.xid order by e.xid";

const FIRST_OF: &str = "\
    select w.xid::text, e.id \
    from rows from (unnest($1::xid8[]), unnest($2::bigint[])) w (xid, id), \
         lateral (select e.id from tidings.events e where e.xid = w.xid and e.id > w.id order by e.id limit 1) e";

const FIRST_ABOVE: &str =
    "select id from tidings.events where id > $1 and xid <> $2::xid8 order by id limit 1";

const LAST: &str = "select id from tidings.events where xid <> $1::xid8 order by id desc limit 1";

/// Whose an event is decides like in the daemon: a required part that is null on either side admits nobody. Policies
/// of a table cannot be asked here, so with an audience its events are left out, and so are those of a table that is
/// not attached any more, because nobody knows.
const READ: &str = "\
    select id, xid::text, channel, event_type, type_name, tenant_id, user_id, payload::text, old_payload::text, \
           changed_columns, metadata::text, created_at, truncated \
    from tidings.events \
    where id >= $1 and id <= $2 and (id > $3 or xid = any($4::xid8[])) and xid <> $5::xid8 \
        and ($6 is null or channel = $6) \
        and (not $7 or ( \
            (audience not in ('tenant', 'both') or tenant_id = $8) \
            and (audience not in ('user', 'both') or user_id = $9) \
            and (type_name is null or type_name = any(array( \
                select a.type_name from tidings.attachments a where not a.row_security))))) \
    order by id limit $10";

impl<'a> Stored<'a> {
    pub(super) fn new(arguments: &'a Arguments, own: Option<String>) -> Self {
        Self { arguments, own: own.unwrap_or_else(|| "0".to_owned()) }
    }
}

impl Events for Stored<'_> {
    type Row = Selected;

    fn transactions(&mut self, from: u64, events_max: usize) -> Swept {
        let (mut lowest, mut events) = (Vec::new(), 0);
        select(
            TRANSACTIONS,
            &[from.to_string().into(), self.own.clone().into(), bigint(events_max)],
            |row| {
                // SAFETY: a bigint.
                events += unsafe { row.get::<i64>(3) }.unwrap_or_default();
                lowest.extend(bound_of(row));
                ControlFlow::Continue(())
            },
        );
        Swept { lowest, complete: events < i64::try_from(events_max).unwrap_or(i64::MAX) }
    }

    fn first_of(&mut self, transactions: &[Bound]) -> Vec<Bound> {
        if transactions.is_empty() {
            return Vec::new();
        }
        let ids: Vec<i64> = transactions.iter().map(|bound| bound.id).collect();
        let xids = array(transactions.iter().map(|bound| bound.xid));
        let mut found = Vec::new();
        select(FIRST_OF, &[xids.into(), ids.into()], |row| {
            found.extend(bound_of(row));
            ControlFlow::Continue(())
        });
        found
    }

    fn first_above(&mut self, id: i64) -> Option<i64> {
        // SAFETY: a bigint.
        select_one(FIRST_ABOVE, &[id.into(), self.own.clone().into()], |row| unsafe { row.get(1) })
    }

    fn last(&mut self) -> Option<i64> {
        // SAFETY: a bigint.
        select_one(LAST, &[self.own.clone().into()], |row| unsafe { row.get(1) })
    }

    fn read(&mut self, range: &Range<'_>) -> Found<Selected> {
        let asked = self.arguments;
        let arguments: [Argument; 10] = [
            range.from.into(),
            range.upto.into(),
            range.above.into(),
            array(range.xids.iter().copied()).into(),
            self.own.clone().into(),
            asked.channel.clone().into(),
            asked.of_somebody.into(),
            asked.tenant_id.clone().into(),
            asked.user_id.clone().into(),
            bigint(range.rows_max),
        ];
        let (mut rows, mut bytes): (Vec<Selected>, usize) = (Vec::new(), 0);
        let mut full = false;
        select(READ, &arguments, |row| {
            let event = Selected::of(row);
            bytes = bytes.saturating_add(event.size());
            rows.push(event);
            full = rows.len() >= range.rows_max || bytes > range.bytes_max;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let last = rows.last().filter(|_| full).map(|event| event.id);
        Found { rows, upto: last.unwrap_or(range.upto) }
    }
}

impl Selected {
    fn of(row: &Row) -> Self {
        let text = |column| {
            // SAFETY: READ selects texts there; an event whose required columns are null cannot be stored.
            unsafe { row.get::<String>(column) }
        };
        let required = |column| text(column).unwrap_or_default();
        Self {
            // SAFETY: the types are those of READ.
            id: unsafe { row.get(1) }.unwrap_or_default(),
            xid: required(2).parse().unwrap_or_default(),
            channel: required(3),
            event_type: required(4),
            type_name: text(5),
            tenant_id: text(6),
            user_id: text(7),
            payload: required(8),
            old_payload: text(9),
            // SAFETY: as above.
            changed_columns: unsafe { row.get(10) },
            metadata: text(11),
            // SAFETY: as above.
            created_at: unsafe { row.get(12) },
            // SAFETY: as above.
            truncated: unsafe { row.get(13) }.unwrap_or_default(),
        }
    }

    fn size(&self) -> usize {
        let json = [Some(&self.payload), self.old_payload.as_ref(), self.metadata.as_ref()];
        size_of::<Self>() + json.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

impl tidings_cursor::reading::Row for Selected {
    fn id(&self) -> i64 {
        self.id
    }

    fn xid(&self) -> u64 {
        self.xid
    }

    fn bytes(&self) -> usize {
        self.size()
    }
}

/// An xid as text, and an id.
fn bound_of(row: &Row) -> Option<Bound> {
    // SAFETY: a text and a bigint.
    let (xid, id) = unsafe { (row.get::<String>(1)?, row.get(2)?) };
    Some(Bound { xid: xid.parse().ok()?, id })
}

/// The text of an array.
fn array(xids: impl Iterator<Item = u64>) -> String {
    format!("{{{}}}", xids.map(|xid| xid.to_string()).collect::<Vec<_>>().join(","))
}

fn bigint(number: usize) -> Argument {
    i64::try_from(number).unwrap_or(i64::MAX).into()
}
