//! From rows to results.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::event::{Event, Operation};
use crate::graphql::filter::RowFilter;
use crate::graphql::project::ResultPlan;
use crate::hub::audience::{Identity, admits};
use crate::hub::initial::{Beginning, Duty, Rows as Results};
use crate::hub::mailbox::EndReason;
use crate::hub::project::{Constraint, ParsedEvent, Predicate, Projection};
use crate::metrics::InitialMetrics;
use crate::source::cursor::Cursor;
use crate::source::functions::CallError;
use crate::source::rows::{Moment, Read, Row, Rows};

/// Those who wait for the next read; nothing while none is under way.
pub(super) type Waiting = Mutex<Option<Vec<Duty>>>;

/// What subscriptions begin with that ask the same. Interned: equal ones are one.
pub(in crate::graphql) struct Reading {
    pub(super) rows: Arc<dyn Rows>,
    pub(super) read: Read,
    /// Columns that are shown or that decide.
    pub(super) columns: Box<[Box<str>]>,
    pub(super) constraints: Vec<Constraint>,
    /// Interned, too.
    pub(super) filter: Option<Arc<RowFilter>>,
    /// Interned, too.
    pub(super) result: Arc<ResultPlan>,
    pub(super) tenant: Option<Box<str>>,
    pub(super) user: Option<Box<str>>,
    pub(super) admin: bool,
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
    pub(super) metrics: InitialMetrics,
    pub(super) waiting: Waiting,
}

impl PartialEq for Reading {
    fn eq(&self, other: &Self) -> bool {
        let identity = |it: &Self| (it.tenant.clone(), it.user.clone(), it.admin);
        Arc::ptr_eq(&self.result, &other.result)
            && self.filter.as_ref().map(Arc::as_ptr) == other.filter.as_ref().map(Arc::as_ptr)
            && self.read.table == other.read.table
            && self.read.caller == other.read.caller
            && self.read.conditions == other.read.conditions
            && self.constraints == other.constraints
            && identity(self) == identity(other)
    }
}

impl Eq for Reading {}

impl Hash for Reading {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.result), self.filter.as_ref().map(Arc::as_ptr)).hash(state);
        (self.read.table, &self.read.caller, &self.constraints).hash(state);
        (&self.tenant, &self.user, self.admin).hash(state);
    }
}

impl fmt::Debug for Reading {
    /// Whose it is belongs into no log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reading").field("table", &self.read.table).finish_non_exhaustive()
    }
}

impl Beginning for Reading {
    /// Whoever comes while a read is under way waits for the next: that one may have begun too early.
    fn begin(self: Arc<Self>, duty: Duty) {
        let mut waiting = self.waiting.lock();
        match &mut *waiting {
            Some(others) => others.push(duty),
            None => {
                *waiting = Some(vec![duty]);
                drop(waiting);
                tokio::spawn(self.serve());
            }
        }
    }
}

/// What has been made of the rows so far.
#[derive(Default)]
struct Made {
    results: Vec<Bytes>,
    bytes: usize,
    stopped: Option<EndReason>,
}

impl Reading {
    /// Reads until nobody waits.
    async fn serve(self: Arc<Self>) {
        while let Some(duties) = self.next() {
            // In a task of its own: a defect costs this read and not those after it.
            let done = tokio::spawn(self.clone().read_once()).await;
            match done.unwrap_or_else(|_| Err(failed("the rows could not be read"))) {
                Ok((results, base)) => {
                    duties.into_iter().for_each(|duty| duty.done(results.clone(), base.clone()));
                }
                Err(reason) => duties.into_iter().for_each(|duty| duty.failed(reason.clone())),
            }
        }
    }

    /// Those who wait now; nothing, and no read under way any more, if nobody does.
    fn next(&self) -> Option<Vec<Duty>> {
        let mut waiting = self.waiting.lock();
        let duties = waiting.as_mut().map(std::mem::take).filter(|duties| !duties.is_empty());
        if duties.is_none() {
            *waiting = None;
        }
        duties
    }

    async fn read_once(self: Arc<Self>) -> Result<(Results, Cursor), EndReason> {
        let began = Instant::now();
        let read = self.all().await;
        let (outcome, rows) = match &read {
            Ok((results, _)) => ("read", results.len()),
            Err(EndReason::InitialTooLarge(_)) => ("too_large", 0),
            Err(_) => ("failed", 0),
        };
        self.metrics.count(outcome, rows, began.elapsed().as_secs_f64());
        read
    }

    async fn all(self: &Arc<Self>) -> Result<(Results, Cursor), EndReason> {
        let made = Arc::new(Mutex::new(Made::default()));
        let (reading, into) = (self.clone(), made.clone());
        let take = move |row: &Row<'_>| {
            let mut made = into.lock();
            match reading.take(row, &mut made) {
                Ok(()) => ControlFlow::Continue(()),
                Err(reason) => {
                    made.stopped = Some(reason);
                    ControlFlow::Break(())
                }
            }
        };
        let moment = self.rows.read(self.read.clone(), Box::new(take)).await;
        let Made { results, stopped, .. } = std::mem::take(&mut *made.lock());
        if let Some(reason) = stopped {
            return Err(reason);
        }
        let Moment { snapshot, top, history } = moment.map_err(|error| ended(&error))?;
        let base = Cursor { history, top, seen: Arc::new(snapshot), within: None, left: Vec::new() };
        Ok((closed(&results, &base), base))
    }

    /// Makes the result of a row, if it is one of those that are asked for.
    fn take(&self, row: &Row<'_>, made: &mut Made) -> Result<(), EndReason> {
        let event = Event {
            channel: row.channel.into(),
            event_type: Operation::Initial.as_str().into(),
            type_name: Some(row.type_name.into()),
            operation: Some(Operation::Initial),
            audience: row.audience,
            tenant_id: row.tenant.map(Into::into),
            user_id: row.user.map(Into::into),
            payload: row.record.into(),
            created_at_us: row.read_at_us,
            truncated: row.truncated,
            ..Event::default()
        };
        let (tenant, user, admin) = (self.tenant.clone(), self.user.clone(), self.admin);
        if !admits(&event, &Identity { tenant, user, admin, ..Identity::default() }) {
            return Ok(());
        }
        let parsed = ParsedEvent::new(&event);
        let missing = self.columns.iter().find(|column| parsed.record.get(column).is_none());
        if let Some(column) = missing.filter(|_| !event.truncated) {
            return Err(failed(&format!("your role may not select column {column:?} of this table")));
        }
        let met = self.constraints.iter().all(|constraint| constraint.admits(&parsed));
        if !met || !self.filter.as_ref().is_none_or(|filter| filter.passes(&parsed)) {
            return Ok(());
        }
        if made.results.len() >= self.rows_max {
            return Err(EndReason::InitialTooLarge(format!("{} rows", self.rows_max).into()));
        }
        let result = self.result.project(&parsed);
        made.bytes += result.len();
        if made.bytes > self.bytes_max {
            return Err(EndReason::InitialTooLarge(format!("{} bytes of results", self.bytes_max).into()));
        }
        made.results.push(result);
        Ok(())
    }
}

/// Closes the results. Each says how many follow; behind the last, the subscription can be resumed.
fn closed(results: &[Bytes], base: &Cursor) -> Results {
    let last = format!(r#","extensions":{{"cursor":"{}","initial":{{"remaining":0}}}}}}"#, base.encode());
    let close = |(place, result): (usize, &Bytes)| match results.len() - place - 1 {
        0 => Bytes::from([result, last.as_bytes()].concat()),
        remaining => {
            let end = format!(r#","extensions":{{"initial":{{"remaining":{remaining}}}}}}}"#);
            Bytes::from([result, end.as_bytes()].concat())
        }
    };
    results.iter().enumerate().map(close).collect()
}

fn failed(why: &str) -> EndReason {
    EndReason::InitialFailed(why.trim_end_matches('.').into())
}

fn ended(error: &CallError) -> EndReason {
    failed(match error {
        CallError::Raised(message) => message,
        CallError::Failed => {
            "the rows could not be read: a policy, a condition or a privilege of the table does not allow it; the \
             server's log has the SQLSTATE"
        }
        CallError::Unavailable => "the database is not available; subscribe again later",
        CallError::Timeout => {
            "the rows could not be read in time; narrow the filter, or try again if somebody has locked the table"
        }
        CallError::Overloaded => "too many reads are waiting; subscribe again later",
    })
}
