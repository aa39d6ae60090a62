//! Reads current rows. Everything happens in one transaction with one snapshot: which moment it is, how the
//! query has to be written, and the rows.

use std::fmt;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt, try_join};
use parking_lot::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row as SqlRow};

use super::queue::{Answer, Answered, Job};
use super::select::{Select, UnknownColumn, quoted};
use super::statement;
use crate::event::Audience;
use crate::source::functions::CallError;
use crate::source::rows::{Moment, Read, Row, Take};

/// Rows that are fetched at once. They are handed over while they arrive, so this bounds only what the
/// server still sends when nobody wants more.
const PAGE_ROWS: usize = 256;

/// The table or one of its columns was dropped or renamed.
const GONE: [SqlState; 2] = [SqlState::UNDEFINED_COLUMN, SqlState::UNDEFINED_TABLE];

/// Times that the rows are read, should the table be rewritten just when the moment has been fixed.
const ATTEMPTS_MAX: usize = 3;

/// What a session must be set to for values to look as in events.
const SETTINGS: &str = "\
    begin isolation level repeatable read read only; set local search_path = pg_catalog, pg_temp; \
    set local timezone = 'UTC'; set local datestyle = 'ISO, MDY'; set local intervalstyle = 'iso_8601'; \
    set local bytea_output = 'hex'; set local extra_float_digits = 1; \
    set local standard_conforming_strings = on; set local jit = off";

/// To a snapshot from before retention empties a slot, events that it counts as seen are not there, and the floor says
/// nothing. So the lock comes first.
const LOCK: &str = "savepoint moment; lock table tidings.events in access share mode";

/// Events are not read any more: retention need not wait for the rows.
const UNLOCK: &str = "rollback to savepoint moment; release savepoint moment";

/// The first statement, so its snapshot is everybody's.
const MOMENT: &str = "\
    select pg_current_snapshot()::text, \
           greatest((select max(id) from tidings.events), (select top from tidings.retention_floor)), \
           tidings.history_id(), (extract(epoch from now()) * 1000000)::bigint, \
           q.relation, q.alias, q.columns, q.texts, q.record, q.key_record, q.ordering, q.condition, \
           q.tenant, q.user_id, q.audience, q.channel, q.type_name, q.max_bytes \
    from (select) one left join lateral tidings.rows_query($1, $2) q on true";

/// Whether the table was rewritten after the snapshot: to the snapshot, a new file is empty. Asked once the
/// table is locked, so no rewriting can follow.
const REWRITTEN: &str = "\
    select exists ( \
        select from pg_class c \
        where c.oid in (select $1 union all select t.relid from pg_partition_tree($1) t) \
            and c.relkind = 'r' and c.relfilenode <> pg_relation_filenode(c.oid))";

/// A read, and who takes its rows.
pub(super) struct Reading {
    pub(super) read: Read,
    take: Mutex<Take>,
}

impl Reading {
    pub(super) fn new(read: Read, take: Take) -> Self {
        Self { read, take: Mutex::new(take) }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read.fmt(formatter)
    }
}

/// Answers a read: with the moment, once the rows are handed over.
pub(super) async fn run(
    client: &Client,
    job: &Job,
    reading: &Reading,
    timeout: Duration,
) -> Result<Answered, Error> {
    let deadline = Instant::now() + timeout;
    for _ in 0..ATTEMPTS_MAX {
        if let Some(answer) = attempt(client, job, reading, timeout, deadline).await? {
            return Ok(answer.map(Answer::Moment));
        }
        statement::end(client).await?;
    }
    Ok(Err(reading.refusal("the table is being altered again and again", None)))
}

/// Nothing if the table was rewritten meanwhile, before any row was handed over.
async fn attempt(
    client: &Client,
    job: &Job,
    reading: &Reading,
    timeout: Duration,
    deadline: Instant,
) -> Result<Option<Result<Moment, CallError>>, Error> {
    let Read { table, caller, conditions } = &reading.read;
    client.batch_execute(&format!("{SETTINGS}; {}; {LOCK}", statement::time_limits(timeout))).await?;
    let role = &*caller.role;
    let asked = client.query_typed_one(MOMENT, &[(table, Type::OID), (&role, Type::NAME)]).await;
    let row = match asked {
        Ok(row) => row,
        Err(error) => return reading.raised(error).map(|refusal| Some(Err(refusal))),
    };
    let Some(described) = Described::of(&row) else {
        let reason = "the table is not attached, or there is no such role";
        return Ok(Some(Err(reading.refusal(reason, None))));
    };
    let select = match described.select.sql(conditions) {
        Ok(select) => select,
        Err(UnknownColumn(column)) => {
            let reason = format!("there is no column {column:?} of this table that your role may select");
            return Ok(Some(Err(reading.refusal(&reason, Some(&reason)))));
        }
    };
    let (set_role, declare) = (
        format!("{UNLOCK}; set local role {}", quoted(role)),
        format!("declare tidings_rows no scroll cursor for {select}"),
    );
    let claims = &*caller.claims;
    let claims: [(&(dyn ToSql + Sync), Type); 1] = [(&claims, Type::TEXT)];
    let target: [(&(dyn ToSql + Sync), Type); 1] = [(table, Type::OID)];
    // Sent together; should one fail, those after it do, too.
    let declared = try_join!(
        client.batch_execute(&set_role),
        client.query_typed(statement::CLAIMS, &claims),
        client.batch_execute(&declare),
        client.query_typed_one(REWRITTEN, &target),
    );
    let rewritten = match declared {
        Ok((_, _, _, rewritten)) => rewritten,
        // What it was described as a moment ago is no longer there.
        Err(error) if error.code().is_some_and(|code| GONE.contains(code)) => return Ok(None),
        Err(error) => return Err(error),
    };
    if rewritten.get(0) {
        return Ok(None);
    }
    let fetch = format!("fetch {PAGE_ROWS} from tidings_rows");
    loop {
        let nothing: [(&(dyn ToSql + Sync), Type); 0] = [];
        let mut page = pin!(client.query_typed_raw(&fetch, nothing).await?);
        let mut count = 0;
        while let Some(row) = page.try_next().await? {
            count += 1;
            if described.hand_over(&row, &reading.take).is_break() {
                return Ok(Some(Ok(described.moment)));
            }
        }
        if count < PAGE_ROWS {
            return Ok(Some(Ok(described.moment)));
        }
        // Without anybody who waits it does not matter what is said.
        if Instant::now() >= deadline || job.reply.is_closed() {
            return Ok(Some(Err(CallError::Timeout)));
        }
    }
}

impl Reading {
    /// A failure whose reason is in the log.
    fn refusal(&self, reason: &str, raised: Option<&str>) -> CallError {
        let Read { table, caller, .. } = &self.read;
        tracing::warn!(table, role = %caller.role, %reason, "current rows cannot be read");
        raised.map_or(CallError::Failed, |message| CallError::Raised(message.to_owned()))
    }

    /// What `tidings.rows_query` raises about privileges and types is for people, and quotes no value of a
    /// record.
    fn raised(&self, error: Error) -> Result<CallError, Error> {
        match error.as_db_error() {
            Some(raised)
                if raised.routine() == Some("exec_stmt_raise")
                    && [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::FEATURE_NOT_SUPPORTED]
                        .contains(raised.code()) =>
            {
                let reason = format!("{} ({})", raised.message(), raised.hint().unwrap_or_default());
                Ok(self.refusal(&reason, Some(raised.message())))
            }
            _ => Err(error),
        }
    }
}

/// What the first statement says.
struct Described<'a> {
    moment: Moment,
    read_at_us: i64,
    select: Select<'a>,
    audience: Audience,
    channel: &'a str,
    type_name: &'a str,
}

impl<'a> Described<'a> {
    /// Nothing if there is no such table or role.
    fn of(row: &'a SqlRow) -> Option<Self> {
        let snapshot = row.get::<_, &str>(0).parse().ok()?;
        let moment = Moment { snapshot, top: row.get(1), history: row.get::<_, i64>(2).cast_unsigned() };
        let select = Select {
            relation: row.get::<_, Option<&str>>(4)?,
            alias: row.get(5),
            columns: row.get(6),
            texts: row.get(7),
            record: row.get(8),
            key_record: row.get(9),
            ordering: row.get(10),
            condition: row.get(11),
            tenant: row.get(12),
            user: row.get(13),
            max_bytes: row.get(17),
        };
        let audience = Audience::parse(row.get(14))?;
        let (channel, type_name) = (row.get(15), row.get(16));
        Some(Self { moment, read_at_us: row.get(3), select, audience, channel, type_name })
    }

    fn hand_over(&self, row: &SqlRow, take: &Mutex<Take>) -> ControlFlow<()> {
        let records: Vec<Option<&str>> = row.get(0);
        let whole = records.first().copied().flatten();
        let keys = records.get(1).copied().flatten();
        let row = Row {
            record: whole.or(keys).unwrap_or("{}"),
            truncated: whole.is_none(),
            channel: self.channel,
            type_name: self.type_name,
            audience: self.audience,
            tenant: row.get(1),
            user: row.get(2),
            read_at_us: self.read_at_us,
        };
        (*take.lock())(&row)
    }
}
