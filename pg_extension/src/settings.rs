//! The GUCs, each with its unit, its limits and the reason for its default.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::prelude::*;
use std::ffi::CString;

/// What `tidings.maintain()` does when `tidings.max_size` is exceeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PostgresGucEnum)]
pub(crate) enum SizeCapAction {
    #[name = c"warn"]
    Warn,
    #[name = c"remove_oldest"]
    RemoveOldest,
}

/// A JSON text of 1 MiB is far above what a notification needs and far below what hurts the daemon.
const MAX_EVENT_BYTES_DEFAULT: i32 = 1024 * 1024;
/// Old and new record and their hex forms must stay below PostgreSQL's 1 GiB for one value.
const MAX_EVENT_BYTES_LIMIT: i32 = 128 * 1024 * 1024;
/// Two days: a weekend's outage of a consumer is noticed before its cursor expires.
const RETENTION_SECONDS_DEFAULT: i32 = 48 * 3600;
/// Slots are whole seconds. Useful values are hours and days; nothing breaks below that.
const RETENTION_SECONDS_MIN: i32 = 1;

pub(crate) static NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(true);
pub(crate) static COALESCE: GucSetting<bool> = GucSetting::<bool>::new(true);
pub(crate) static DATABASE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub(crate) static FORCE_SYNC_COMMIT: GucSetting<bool> = GucSetting::<bool>::new(true);
pub(crate) static METADATA: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub(crate) static MAX_EVENT_BYTES: GucSetting<i32> = GucSetting::<i32>::new(MAX_EVENT_BYTES_DEFAULT);
pub(crate) static RETENTION: GucSetting<i32> = GucSetting::<i32>::new(RETENTION_SECONDS_DEFAULT);
pub(crate) static MAX_SIZE: GucSetting<i32> = GucSetting::<i32>::new(0);
pub(crate) static SIZE_CAP_ACTION: GucSetting<SizeCapAction> =
    GucSetting::<SizeCapAction>::new(SizeCapAction::Warn);

/// The size limit for one record, as an unsigned number of bytes.
pub(crate) fn max_event_bytes() -> usize {
    usize::try_from(MAX_EVENT_BYTES.get()).unwrap_or(0)
}

pub(crate) fn register() {
    register_wake_up();
    register_events();
    register_retention();
    reserve_prefix();
}

fn register_wake_up() {
    GucRegistry::define_bool_guc(
        c"tidings.notify",
        c"Sends a NOTIFY when a transaction has stored events.",
        c"Switch it off in sessions that must PREPARE TRANSACTION; the daemon then finds the events by polling.",
        &NOTIFY,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"tidings.coalesce",
        c"Lets the wake-up worker send the NOTIFY, where there is one.",
        c"Off, the transaction sends it itself, as it does in databases without a worker.",
        &COALESCE,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"tidings.database",
        c"Database whose NOTIFYs a worker sends, one for many commits.",
        c"Needs tidings in shared_preload_libraries. Empty: every transaction sends its own.",
        &DATABASE,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"tidings.force_sync_commit",
        c"Commits transactions that stored events synchronously, whatever synchronous_commit says.",
        c"Without it a crash may take back a transaction whose events were already delivered.",
        &FORCE_SYNC_COMMIT,
        GucContext::Suset,
        GucFlags::default(),
    );
}

fn register_events() {
    GucRegistry::define_string_guc(
        c"tidings.metadata",
        c"JSON stored as metadata with every event, for example the actor or a trace id.",
        c"Set it per transaction with set_config('tidings.metadata', '{...}', true).",
        &METADATA,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"tidings.max_event_bytes",
        c"Largest record stored with an event.",
        c"publish_event refuses more; a trigger then stores the key columns only and sets truncated.",
        &MAX_EVENT_BYTES,
        1024,
        MAX_EVENT_BYTES_LIMIT,
        GucContext::Suset,
        GucFlags::UNIT_BYTE,
    );
}

fn register_retention() {
    GucRegistry::define_int_guc(
        c"tidings.retention",
        c"How long events are kept at least.",
        c"A slot of the ring spans this time, so events live for one to two times as long.",
        &RETENTION,
        RETENTION_SECONDS_MIN,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"tidings.max_size",
        c"Size of tidings.events above which tidings.size_cap_action is taken; 0 means no cap.",
        c"Checked by tidings.maintain().",
        &MAX_SIZE,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_enum_guc(
        c"tidings.size_cap_action",
        c"What maintain() does above tidings.max_size: warn, or remove_oldest slot before its time.",
        c"remove_oldest expires the cursors that still needed those events; they are told so.",
        &SIZE_CAP_ACTION,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// A mistyped `tidings.…` setting is then an error instead of a silent no-op.
fn reserve_prefix() {
    // SAFETY: called once from _PG_init with a static C string, after all our GUCs are defined.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(c"tidings".as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(c"tidings".as_ptr());
    }
}

/// The settings that SQL functions need.
#[pg_extern(sql = false)]
fn settings() -> TableIterator<
    'static,
    (
        name!(notify, bool),
        name!(retention_seconds, i64),
        name!(max_size_bytes, i64),
        name!(size_cap_action, String),
    ),
> {
    let action = match SIZE_CAP_ACTION.get() {
        SizeCapAction::Warn => "warn",
        SizeCapAction::RemoveOldest => "remove_oldest",
    };
    TableIterator::once((
        NOTIFY.get(),
        i64::from(RETENTION.get()),
        i64::from(MAX_SIZE.get()) * 1024 * 1024,
        action.to_owned(),
    ))
}
