//! The `tidings` PostgreSQL extension.
::pgrx::pg_module_magic!();
