//! Whose rights count.

use crate::error::refuse;
use crate::sys;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

/// `tidings.outer_role`; see `sql/40_capture.sql`.
#[pg_extern(sql = false)]
fn outer_role() -> pg_sys::Oid {
    // SAFETY: reads a global that is always set in a backend.
    unsafe { pg_sys::GetOuterUserId() }
}

/// `tidings.attach_for_caller`; see `sql/40_capture.sql`.
#[pg_extern(sql = false)]
fn attach_for_caller(request: Option<pgrx::AnyElement>, caller_path: Option<&str>) {
    let caller = caller();
    let (Some(request), Some(caller_path)) = (request, caller_path) else {
        refuse(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "tidings.attach_for_caller() takes a request and a search_path".to_owned(),
            "Call attach_trigger instead.",
        )
    };
    // SAFETY: the value came in with this type.
    let request = unsafe { DatumWithOid::new(request.datum(), request.oid()) };
    run_as_owner("select tidings.attach($1, $2, $3)", &[request, caller_path.into(), caller.into()]);
}

/// `tidings.detach_for_caller`; see `sql/40_capture.sql`.
#[pg_extern(sql = false)]
fn detach_for_caller(target: Option<pg_sys::Oid>) {
    let caller = caller();
    let target = match target {
        // SAFETY: a regclass is represented as its OID.
        Some(target) => unsafe { DatumWithOid::new(target, pg_sys::REGCLASSOID) },
        None => DatumWithOid::null_oid(pg_sys::REGCLASSOID),
    };
    run_as_owner("select tidings.detach($1, $2)", &[target, caller.into()]);
}

/// The role whose rights count: the one that is running the call, be it because of a security definer
/// function. Refused where PostgreSQL runs code as the owner of a table while somebody else, often a
/// superuser or autovacuum, maintains it.
fn caller() -> pg_sys::Oid {
    // SAFETY: both read globals that are always set in a backend.
    let (caller, restricted) = unsafe { (pg_sys::GetUserId(), pg_sys::InSecurityRestrictedOperation()) };
    if restricted {
        refuse(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "tables cannot be attached or detached within a security-restricted operation".to_owned(),
            "Call attach_trigger and detach_trigger on their own, not from an index or a materialized view.",
        );
    }
    caller
}

/// The statement is parsed under the caller's search_path, so it holds qualified names only, and no
/// operators.
fn run_as_owner(statement: &str, arguments: &[DatumWithOid<'_>]) {
    let _owner = RunAsOwner::of(sys::relation_oid(c"events"));
    if let Err(problem) = Spi::run_with_args(statement, arguments) {
        error!("{statement} could not be run: {problem}");
    }
}

/// Runs as the owner of the events, who alone may write there, until dropped.
pub(crate) struct RunAsOwner {
    user: pg_sys::Oid,
    context: i32,
}

impl RunAsOwner {
    pub(crate) fn of(table: pg_sys::Oid) -> Self {
        let mut saved = Self { user: pg_sys::InvalidOid, context: 0 };
        // SAFETY: the table is opened, read and closed again; its lock stays until the end of the
        // transaction, as the insert needs it anyway. Only the saved identity is restored later.
        unsafe {
            let relation = pg_sys::table_open(table, pg_sys::RowExclusiveLock as i32);
            let owner = (*(*relation).rd_rel).relowner;
            pg_sys::table_close(relation, pg_sys::NoLock as i32);
            pg_sys::GetUserIdAndSecContext(&mut saved.user, &mut saved.context);
            pg_sys::SetUserIdAndSecContext(
                owner,
                saved.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32,
            );
        }
        saved
    }
}

impl Drop for RunAsOwner {
    fn drop(&mut self) {
        // SAFETY: restores what GetUserIdAndSecContext returned. After an error PostgreSQL restores
        // it once more when the (sub)transaction aborts.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}
