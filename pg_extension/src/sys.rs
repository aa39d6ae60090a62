//! PostgreSQL functions that pgrx does not bind, and small safe wrappers around bound ones.

use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_char, c_int};

unsafe extern "C-unwind" {
    #[link_name = "datum_image_eq"]
    fn pg_datum_image_eq(left: pg_sys::Datum, right: pg_sys::Datum, by_value: bool, length: c_int) -> bool;

    fn nextval_internal(sequence: pg_sys::Oid, check_permissions: bool) -> i64;

    fn Async_Notify(channel: *const c_char, payload: *const c_char);

    // Raise errors, so their callers have a guard.
    pub(crate) fn MemoryContextReset(context: pg_sys::MemoryContext);
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    fn ExecInsertIndexTuples(
        target: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        state: *mut pg_sys::EState,
        update: bool,
        no_duplicate_error: bool,
        conflict: *mut bool,
        arbiters: *mut pg_sys::List,
    ) -> *mut pg_sys::List;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    fn ExecInsertIndexTuples(
        target: *mut pg_sys::ResultRelInfo,
        slot: *mut pg_sys::TupleTableSlot,
        state: *mut pg_sys::EState,
        update: bool,
        no_duplicate_error: bool,
        conflict: *mut bool,
        arbiters: *mut pg_sys::List,
        only_summarizing: bool,
    ) -> *mut pg_sys::List;

    // As pgrx binds these, they cannot be called by a hook that errors jump over.
    pub(crate) fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);
    pub(crate) fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);
    pub(crate) fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );

    // Called for every event and unable to raise an error, so they need no guard, which would cost more than they do.
    fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    fn GetCurrentSubTransactionId() -> pg_sys::SubTransactionId;
    fn TransactionIdIsCurrentTransactionId(xid: pg_sys::TransactionId) -> bool;

    /// The handler of SIGTERM in every backend, as a handler: pgrx binds it as a function to call.
    pub(crate) fn die(signal: c_int);

    /// `BYTEA_OUTPUT_ESCAPE` or `BYTEA_OUTPUT_HEX`; read and written by `render`.
    pub(crate) static mut bytea_output: c_int;
}

/// Binary comparison of two values that are not null.
///
/// # Safety
/// Both values must be of a type with this length and by-value flag.
pub(crate) unsafe fn same_image(
    left: pg_sys::Datum,
    right: pg_sys::Datum,
    by_value: bool,
    length: i16,
) -> bool {
    // SAFETY: the guard turns an error raised inside (a corrupt toast pointer) into an unwind; the
    // caller vouches for the values.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| pg_datum_image_eq(left, right, by_value, c_int::from(length)))
    }
}

/// The entries of a row that was inserted, in all indexes. Raises errors without a guard.
///
/// # Safety
/// The target's indexes must be open, and the slot hold the row with its place.
pub(crate) unsafe fn insert_index_entries(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
) {
    let (conflict, arbiters) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller vouches for the arguments; nobody asked for conflicts.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        ExecInsertIndexTuples(target, slot, state, false, false, conflict, arbiters);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        ExecInsertIndexTuples(target, slot, state, false, false, conflict, arbiters, false);
    }
}

/// The next value of a sequence, whoever runs the statement.
pub(crate) fn next_value(sequence: pg_sys::Oid) -> i64 {
    // SAFETY: the guard turns an error (a read-only transaction) into an unwind.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| nextval_internal(sequence, false)) }
}

/// NOTIFY at the commit of this transaction.
pub(crate) fn notify(channel: &CStr) {
    // SAFETY: both strings live across the call, which copies them; the guard is for errors, as above.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| Async_Notify(channel.as_ptr(), c"".as_ptr())) }
}

/// The time of now, not of the transaction.
pub(crate) fn now() -> pg_sys::TimestampTz {
    // SAFETY: reads the clock.
    unsafe { GetCurrentTimestamp() }
}

/// The subtransaction that is open now.
pub(crate) fn current_subtransaction() -> pg_sys::SubTransactionId {
    // SAFETY: reads a counter of the current transaction; we are always called inside one.
    unsafe { GetCurrentSubTransactionId() }
}

/// True of this transaction and of its subtransactions that were not rolled back.
pub(crate) fn is_ours(xid: pg_sys::TransactionId) -> bool {
    // SAFETY: as above.
    unsafe { TransactionIdIsCurrentTransactionId(xid) }
}

/// A C string; text with a zero byte cannot come out of PostgreSQL, so cutting there loses nothing.
pub(crate) fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text.as_bytes()[..end]).unwrap_or_default()
}

/// The schema and the tables of this extension, by name, each time: a `DROP EXTENSION` and
/// `CREATE EXTENSION` in the same session gives them new OIDs.
pub(crate) fn relation_oid(name: &CStr) -> pg_sys::Oid {
    // SAFETY: syscache look-ups inside a transaction, with static C strings.
    let oid = unsafe {
        pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(c"tidings".as_ptr(), true))
    };
    if oid == pg_sys::InvalidOid {
        crate::error::refuse(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("table tidings.{} does not exist", name.to_string_lossy()),
            "Install the extension in this database: create extension tidings;",
        );
    }
    oid
}

/// A text datum made of raw bytes in the server's encoding.
pub(crate) fn text_datum(bytes: &[u8]) -> pg_sys::Datum {
    let length = c_int::try_from(bytes.len()).unwrap_or(c_int::MAX);
    // SAFETY: copies `length` bytes, which the slice has; json shares text's representation.
    unsafe { pg_sys::Datum::from(pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), length)) }
}
