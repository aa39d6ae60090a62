//! The trigger function: one row change in, one event out.
//!
//! It fires AFTER ROW, and its triggers' names sort before all others, so that within a transaction the
//! ids follow the order of a row's versions, nested writes by other triggers included.

use crate::plan::{Config, Plan, plan_for};
use crate::publish::KEY_BYTES_MAX;
use crate::render::{self, NeutralSession, Record, Values};
use crate::store::{Audience, Event, When, store};
use crate::{order, settings, transaction};
use pgrx::prelude::*;

/// Tells PostgreSQL the calling convention of `capture`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_capture() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `tidings.capture()`; see `sql/40_capture.sql`.
///
/// # Safety
/// PostgreSQL calls it with a function call info; that it is a trigger's is checked.
#[unsafe(no_mangle)]
#[pg_guard]
pub(crate) unsafe extern "C-unwind" fn capture(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the context is checked to be a trigger's before it is read as one; everything it points
    // to stays valid during the call.
    unsafe {
        if !pgrx::trigger_support::called_as_trigger(fcinfo) {
            error!("tidings.capture() can only be called as a trigger");
        }
        let data = &*(*fcinfo).context.cast::<pg_sys::TriggerData>();
        require_our_kind_of_trigger(data.tg_event);
        if let Some(plan) = plan_for(data.tg_relation, &*data.tg_trigger) {
            capture_change(&plan, data);
        }
    }
    pg_sys::Datum::null()
}

/// A trigger made by hand may fire at other times, without the tuples that are read here.
fn require_our_kind_of_trigger(event: pg_sys::TriggerEvent) {
    let after = event & pg_sys::TRIGGER_EVENT_TIMINGMASK == pg_sys::TRIGGER_EVENT_AFTER;
    let row = event & pg_sys::TRIGGER_EVENT_ROW != 0;
    let truncate = event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_TRUNCATE;
    if !after || row == truncate {
        crate::error::refuse(
            PgSqlErrorCode::ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            "tidings.capture() is the function of an AFTER ROW trigger, or of an AFTER TRUNCATE trigger"
                .to_owned(),
            "Triggers that call it are made by attach_trigger; drop this one.",
        );
    }
}

/// # Safety
/// `data` must be a trigger call on the plan's relation.
unsafe fn capture_change(plan: &Plan, data: &pg_sys::TriggerData) {
    let operation = data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK;
    if operation == pg_sys::TRIGGER_EVENT_TRUNCATE {
        return store_truncate(&plan.config);
    }
    transaction::forget_truncate();
    // SAFETY: the tuples of a row trigger are of the relation's row type.
    let values = |tuple| unsafe { Values::of(tuple, (*data.tg_relation).rd_att) };
    let none = std::ptr::null_mut();
    let (ids, old, new) = match operation {
        pg_sys::TRIGGER_EVENT_INSERT => {
            (vec![store_row(plan, "INSERT", &values(data.tg_trigtuple))], none, data.tg_trigtuple)
        }
        pg_sys::TRIGGER_EVENT_DELETE => {
            (vec![store_row(plan, "DELETE", &values(data.tg_trigtuple))], data.tg_trigtuple, none)
        }
        pg_sys::TRIGGER_EVENT_UPDATE => {
            let ids = store_update(plan, &values(data.tg_trigtuple), &values(data.tg_newtuple));
            (ids, data.tg_trigtuple, data.tg_newtuple)
        }
        _ => return,
    };
    // SAFETY: both are null or tuples of the relation.
    unsafe { order::captured((*data.tg_relation).rd_id, old, new, &ids) };
}

/// Carries no data, so it goes to every subscriber of the table. The statement triggers of a parent
/// and its partitions make one event together.
fn store_truncate(config: &Config) {
    if transaction::first_truncate(&config.type_name) {
        let event = Event {
            channel: &config.channel,
            event_type: "TRUNCATE",
            type_name: Some(&config.type_name),
            audience: Audience::Open,
            tenant_id: None,
            user_id: None,
            payload: b"{}",
            old_payload: None,
            changed_columns: None,
            metadata: None,
            truncated: false,
        };
        store(event, When::Now);
    }
}

/// Who may see a version of a row.
#[derive(Debug, PartialEq, Eq)]
struct Keys {
    tenant: Option<String>,
    user: Option<String>,
}

fn keys_of(plan: &Plan, values: &Values, session: &NeutralSession) -> Keys {
    let key = |index: Option<usize>| {
        let column = plan.columns.get(index?)?;
        render::key(column, values, KEY_BYTES_MAX, session)
    };
    Keys { tenant: key(plan.tenant), user: key(plan.user) }
}

fn store_row(plan: &Plan, operation: &str, values: &Values) -> i64 {
    let (keys, record) = {
        let session = NeutralSession::enter();
        (keys_of(plan, values, &session), render::record(plan, values, settings::max_event_bytes(), &session))
    };
    store_record(plan, operation, &keys, &record, None, None)
}

/// The ids of the events: none, one, or two if the row changed hands.
fn store_update(plan: &Plan, old: &Values, new: &Values) -> Vec<i64> {
    let moved = [plan.tenant, plan.user]
        .into_iter()
        .flatten()
        .any(|index| !render::same(&plan.columns[index], old, new));
    if moved && audience_changed(plan, old, new) {
        // Neither audience may see the other's record.
        return vec![store_row(plan, "DELETE", old), store_row(plan, "INSERT", new)];
    }
    let changed: Vec<_> = plan.columns.iter().filter(|column| !render::same(column, old, new)).collect();
    if plan.config.when_changed.is_some() && !changed.iter().any(|column| column.watched) {
        return Vec::new();
    }
    let limit = settings::max_event_bytes();
    let (keys, record, before) = {
        let session = NeutralSession::enter();
        (
            keys_of(plan, new, &session),
            render::record(plan, new, limit, &session),
            plan.config.include_old.then(|| render::record(plan, old, limit, &session)),
        )
    };
    let names = changed.iter().filter(|column| column.published).map(|column| column.name.as_str()).collect();
    vec![store_record(plan, "UPDATE", &keys, &record, before.as_ref(), Some(names))]
}

fn audience_changed(plan: &Plan, old: &Values, new: &Values) -> bool {
    let session = NeutralSession::enter();
    keys_of(plan, old, &session) != keys_of(plan, new, &session)
}

fn store_record(
    plan: &Plan,
    operation: &str,
    keys: &Keys,
    record: &Record,
    before: Option<&Record>,
    changed_columns: Option<Vec<&str>>,
) -> i64 {
    let config = &plan.config;
    let event = Event {
        channel: &config.channel,
        event_type: operation,
        type_name: Some(&config.type_name),
        // From the configuration, not from the columns found: a column that is gone leaves its part
        // required and null, which reaches nobody.
        audience: Audience::of(config.tenant_column.is_some(), config.user_column.is_some()),
        tenant_id: keys.tenant.as_deref(),
        user_id: keys.user.as_deref(),
        payload: &record.json,
        old_payload: before.map(|record| record.json.as_slice()),
        changed_columns,
        metadata: None,
        truncated: record.truncated || before.is_some_and(|record| record.truncated),
    };
    store(event, When::AfterTriggers)
}
