//! An event becomes a row of `tidings.events`.

use crate::roles::RunAsOwner;
use crate::slots::{Relations, RowValues, Rows};
use crate::{pending, settings, slots, statement, sys, transaction, wake_up};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CString;

/// Who may receive an event; see the `audience` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Open,
    Tenant,
    User,
    Both,
}

impl Audience {
    pub(crate) fn of(tenant: bool, user: bool) -> Self {
        match (tenant, user) {
            (false, false) => Self::Open,
            (true, false) => Self::Tenant,
            (false, true) => Self::User,
            (true, true) => Self::Both,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Tenant => "tenant",
            Self::User => "user",
            Self::Both => "both",
        }
    }
}

/// One event, ready to be stored. Payloads are JSON texts that were checked or made by us.
#[derive(Debug)]
pub(crate) struct Event<'a> {
    pub(crate) channel: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) type_name: Option<&'a str>,
    pub(crate) audience: Audience,
    pub(crate) tenant_id: Option<&'a str>,
    pub(crate) user_id: Option<&'a str>,
    pub(crate) payload: &'a [u8],
    pub(crate) old_payload: Option<&'a [u8]>,
    pub(crate) changed_columns: Option<Vec<&'a str>>,
    pub(crate) metadata: Option<&'a [u8]>,
    pub(crate) truncated: bool,
}

thread_local! {
    static RENUMBER_PLAN: Cell<pg_sys::SPIPlanPtr> = const { Cell::new(std::ptr::null_mut()) };
}

/// When an event has to be in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Now,
    /// When the statement has fired its triggers, if it is one that we saw begin.
    AfterTriggers,
}

/// Stores an event in the current transaction and returns its id.
pub(crate) fn store(event: Event<'_>, when: When) -> i64 {
    // SAFETY: reads the clock.
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let slot = slots::slot_at(now);
    let id = sys::next_value(Relations::get().sequence);
    let values = values_of(event, id, slot, now);
    if when == When::AfterTriggers && statement::is_collecting() {
        pending::add(slot, &values);
    } else {
        let mut rows = Rows::for_slot(slot);
        rows.push(&values);
        // SAFETY: as a write of this command, which every later one sees.
        rows.insert(unsafe { pg_sys::GetCurrentCommandId(true) });
    }
    wake_up::at_commit();
    if settings::FORCE_SYNC_COMMIT.get() {
        // SAFETY: sets a flag for the commit of this transaction.
        unsafe { pg_sys::ForceSyncCommit() };
    }
    id
}

/// Gives stored events of this transaction other ids: `old[n]` becomes `new[n]`.
pub(crate) fn renumber(old: Vec<i64>, new: Vec<i64>) {
    pending::write();
    let table = sys::relation_oid(c"events");
    let mut values = [old.into_datum(), new.into_datum()];
    let _owner = RunAsOwner::of(table);
    execute(renumber_plan(), &mut values);
}

/// The values in the order of the columns.
fn values_of(event: Event<'_>, id: i64, slot: usize, now: pg_sys::TimestampTz) -> RowValues {
    let text = |value: &str| Some(sys::text_datum(value.as_bytes()));
    let metadata = match event.metadata {
        Some(explicit) => Some(sys::text_datum(explicit)),
        None => session_metadata(),
    };
    // SAFETY: assigns the top-level transaction id if there is none; we are in a transaction.
    let xid = unsafe { pg_sys::GetTopFullTransactionId() };
    [
        id.into_datum(),
        Some(pg_sys::Datum::from(slot)),
        Some(pg_sys::Datum::from(xid.value)),
        text(event.channel),
        text(event.event_type),
        event.type_name.and_then(text),
        text(event.audience.name()),
        event.tenant_id.and_then(text),
        event.user_id.and_then(text),
        Some(sys::text_datum(event.payload)),
        event.old_payload.map(sys::text_datum),
        event.changed_columns.and_then(IntoDatum::into_datum),
        metadata,
        Some(pg_sys::Datum::from(now)),
        event.truncated.into_datum(),
    ]
}

/// The setting `tidings.metadata`; content that is not JSON never fails the writer.
fn session_metadata() -> Option<pg_sys::Datum> {
    let setting = settings::METADATA.get()?;
    let text = setting.to_bytes();
    if text.is_empty() {
        return None;
    }
    let problem = if text.len() > settings::max_event_bytes() {
        "is larger than tidings.max_event_bytes"
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
        "is not valid JSON"
    } else {
        return Some(sys::text_datum(text));
    };
    if transaction::first_metadata_warning() {
        crate::error::warn(
            format!("setting tidings.metadata {problem}; events of this transaction have no metadata"),
            "Set it to a JSON object: select set_config('tidings.metadata', '{\"actor\":\"ada\"}', true);",
        );
    }
    None
}

/// A NOTIFY when this transaction commits.
pub(crate) fn notify() {
    sys::notify(c"tidings");
}

fn execute(plan: pg_sys::SPIPlanPtr, values: &mut [Option<pg_sys::Datum>]) {
    let mut datums: Vec<pg_sys::Datum> =
        values.iter().map(|value| value.unwrap_or(pg_sys::Datum::null())).collect();
    let nulls: Vec<std::ffi::c_char> =
        values.iter().map(|value| if value.is_some() { b' ' as _ } else { b'n' as _ }).collect();
    // SAFETY: connect and finish are paired (an error unwinds and the abort cleans up SPI); the plan
    // was made for exactly these parameters.
    let code = unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute_plan(plan, datums.as_mut_ptr(), nulls.as_ptr(), false, 0);
        pg_sys::SPI_finish();
        code
    };
    if code < 0 {
        error!("tidings could not renumber events: SPI error {code}");
    }
}

/// Runs under the writer's search_path, so every name and operator is qualified.
fn renumber_plan() -> pg_sys::SPIPlanPtr {
    let mut plan = RENUMBER_PLAN.get();
    if plan.is_null() {
        plan = prepare(
            "update tidings.events as e set id = m.new_id \
             from rows from (pg_catalog.unnest($1), pg_catalog.unnest($2)) as m (old_id, new_id) \
             where e.id operator(pg_catalog.=) m.old_id",
            &mut [pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID],
        );
        RENUMBER_PLAN.set(plan);
    }
    plan
}

/// Makes a plan that lives as long as the backend.
fn prepare(statement: &str, types: &mut [pg_sys::Oid]) -> pg_sys::SPIPlanPtr {
    let statement: CString = sys::c_string(statement);
    let count = i32::try_from(types.len()).unwrap_or(0);
    // SAFETY: the strings and types live across the call; SPI_keepplan moves the plan out of the
    // SPI procedure's memory before SPI_finish frees that.
    unsafe {
        pg_sys::SPI_connect();
        let plan = pg_sys::SPI_prepare(statement.as_ptr(), count, types.as_mut_ptr());
        if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
            let code = pg_sys::SPI_result;
            error!("tidings could not prepare a statement: SPI error {code}");
        }
        pg_sys::SPI_finish();
        plan
    }
}
