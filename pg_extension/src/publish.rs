//! `publish_event`: checks its arguments and stores one event.

use crate::error::{refuse, refuse_argument};
use crate::store::{Audience, Event, When, store};
use crate::{settings, transaction};
use pgrx::fcinfo::{pg_getarg, pg_getarg_datum};
use pgrx::prelude::*;
use std::ffi::CStr;

/// Channel names share the limit of PostgreSQL's own identifiers and notification channels.
pub(crate) const CHANNEL_BYTES_MAX: usize = 63;
/// Event types, tenants and users are keys for routing, not content.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// Tells PostgreSQL the calling convention of `publish_event`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_publish_event() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// `publish_event(channel, event_type, data, tenant_id, user_id, metadata)`; see `sql/20_publish.sql`.
///
/// # Safety
/// PostgreSQL calls it with the six arguments of its declaration.
#[unsafe(no_mangle)]
#[pg_guard]
pub(crate) unsafe extern "C-unwind" fn publish_event(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the argument types are those of the declaration.
    let (channel, event_type, tenant_id, user_id) = unsafe {
        (
            pg_getarg::<&str>(fcinfo, 0),
            pg_getarg::<&str>(fcinfo, 1),
            pg_getarg::<&str>(fcinfo, 3),
            pg_getarg::<&str>(fcinfo, 4),
        )
    };
    // SAFETY: a static C string; raises the usual error in a read-only transaction.
    unsafe { pg_sys::PreventCommandIfReadOnly(c"publish_event()".as_ptr()) };
    let channel = required(channel, "channel", CHANNEL_BYTES_MAX);
    let event_type = required(event_type, "event_type", KEY_BYTES_MAX);
    let tenant_id = optional(tenant_id, "tenant_id");
    let user_id = optional(user_id, "user_id");
    // SAFETY: arguments 2 and 5 are jsonb.
    let (data, metadata) = unsafe { (jsonb_text(fcinfo, 2), jsonb_text(fcinfo, 5)) };
    let Some(payload) = data.filter(|text| *text != b"null") else {
        refuse_argument(
            "data must not be null".to_owned(),
            "Pass a JSON object, '{}' if there is nothing to say.",
        )
    };
    check_size(payload, "data");
    if let Some(metadata) = metadata {
        check_size(metadata, "metadata");
    }
    transaction::forget_truncate();
    let event = Event {
        channel,
        event_type,
        type_name: None,
        audience: Audience::of(tenant_id.is_some(), user_id.is_some()),
        tenant_id,
        user_id,
        payload,
        old_payload: None,
        changed_columns: None,
        metadata,
        truncated: false,
    };
    let id = store(event, When::Now);
    pg_sys::Datum::from(id)
}

fn required<'a>(value: Option<&'a str>, name: &str, bytes_max: usize) -> &'a str {
    match value {
        None => refuse_argument(
            format!("{name} must not be null"),
            "Call publish_event(channel, event_type, data).",
        ),
        Some("") => refuse_argument(
            format!("{name} must not be empty"),
            "Name what happened where, for example publish_event('chat', 'posted', '{}').",
        ),
        Some(value) => within(value, name, bytes_max),
    }
}

fn optional<'a>(value: Option<&'a str>, name: &str) -> Option<&'a str> {
    match value {
        None => None,
        Some("") => refuse_argument(
            format!("{name} must not be empty"),
            "Leave it out (null) for an event that is not restricted to one; an empty one would reach nobody.",
        ),
        Some(value) => Some(within(value, name, KEY_BYTES_MAX)),
    }
}

fn within<'a>(value: &'a str, name: &str, bytes_max: usize) -> &'a str {
    if value.len() > bytes_max {
        refuse_argument(
            format!("{name} is {} bytes long, the limit is {bytes_max}", value.len()),
            "Use a short name here and put the details into data.",
        );
    }
    value
}

fn check_size(text: &[u8], name: &str) {
    let limit = settings::max_event_bytes();
    if text.len() > limit {
        refuse(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!("{name} is {} bytes long, tidings.max_event_bytes is {limit}", text.len()),
            "Publish a reference to the content instead, or have an administrator raise tidings.max_event_bytes.",
        );
    }
}

/// The text of a jsonb argument.
///
/// # Safety
/// The argument must be of type jsonb.
unsafe fn jsonb_text<'a>(fcinfo: pg_sys::FunctionCallInfo, number: usize) -> Option<&'a [u8]> {
    // SAFETY: jsonb_out takes a jsonb and returns a palloc'ed C string, which outlives this call.
    unsafe {
        let datum = pg_getarg_datum(fcinfo, number)?;
        let text = pgrx::direct_function_call_as_datum(pg_sys::jsonb_out, &[Some(datum)])?;
        Some(CStr::from_ptr(text.cast_mut_ptr()).to_bytes())
    }
}
