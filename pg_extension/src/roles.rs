//! Whose rights count.

use pgrx::prelude::*;

/// The role outside of every security definer function: the one set by login or SET ROLE.
#[pg_extern(sql = false)]
fn outer_role() -> pg_sys::Oid {
    // SAFETY: reads a global that is always set in a backend.
    unsafe { pg_sys::GetOuterUserId() }
}
