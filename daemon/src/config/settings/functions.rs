//! Functions of the database: as whom they run, and their bounds.

use super::{Setting, setting};

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "resolve.role",
        "Database role of functions whose results are shared (EVENT, TENANT)",
        "the name of a role that the daemon's role is a member of",
        |c, v| {
            c.schema.callers.shared = Some(v.text()?);
            Ok(())
        },
    ),
    setting(
        "resolve.roles",
        "Database roles that a role claim may become in functions",
        "a list of roles that the daemon's role is a member of",
        put!(c.schema.callers.allowed = v.list()),
    ),
    setting(
        "resolve.anonymous_role",
        "Database role of functions for those without a role claim",
        "the name of a role that the daemon's role is a member of",
        |c, v| {
            c.schema.callers.anonymous = Some(v.text()?);
            Ok(())
        },
    ),
    setting(
        "resolve.timeout_ms",
        "Time for a call of a function",
        "10 to 60000 milliseconds",
        put!(c.resolve.timeout = v.milliseconds(10, 60_000)),
    ),
    setting(
        "resolve.connections",
        "Connections for functions, and so calls at once",
        "1 to 1000",
        put!(c.resolve.connections = v.count(1, 1_000)),
    ),
    setting(
        "resolve.queue",
        "Calls of functions that may wait",
        "1 to 1000000",
        put!(c.resolve.queue = v.count(1, 1_000_000)),
    ),
    setting(
        "resolve.slow_ms",
        "From when on a call of a function is logged as slow",
        "0 to 60000 milliseconds",
        put!(c.resolve.slow = v.milliseconds(0, 60_000)),
    ),
];
