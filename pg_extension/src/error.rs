//! Errors for people: which argument, why, and what to do about it.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Raises an ERROR with a HINT; does not return.
pub(crate) fn refuse(code: PgSqlErrorCode, message: String, hint: &str) -> ! {
    ErrorReport::new(code, message, "tidings").set_hint(hint).report(PgLogLevel::ERROR);
    unreachable!("an ERROR report does not return")
}

/// An ERROR with a DETAIL.
pub(crate) struct Refusal {
    pub(crate) code: PgSqlErrorCode,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: &'static str,
}

/// Raises it; does not return.
pub(crate) fn refuse_with(refusal: Refusal) -> ! {
    let report = ErrorReport::new(refusal.code, refusal.message, "tidings").set_hint(refusal.hint);
    let report = match refusal.detail {
        Some(detail) => report.set_detail(detail),
        None => report,
    };
    report.report(PgLogLevel::ERROR);
    unreachable!("an ERROR report does not return")
}

/// Raises an ERROR for a bad argument.
pub(crate) fn refuse_argument(message: String, hint: &str) -> ! {
    refuse(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message, hint)
}

/// Raises a WARNING with a HINT.
pub(crate) fn warn(message: String, hint: &str) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, "tidings")
        .set_hint(hint)
        .report(PgLogLevel::WARNING);
}
