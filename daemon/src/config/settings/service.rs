//! The service itself: where its database is, what it shows to whom, how fast it looks and leaves.

use super::{DAY_S, GIB, KIB, Setting, secret, setting};
use crate::config::value::NotAllowed;
use crate::config::{LogFormat, Secret, SourceKind, StoreKind};

/// Where the database is.
pub(super) const PLACE: &[Setting] = &[setting(
    "database_url",
    "Connection string of the database",
    "postgres://user@host:port/database",
    |c, v| {
        let text = v.text()?;
        let known =
            text.starts_with("postgres://") || text.starts_with("postgresql://") || text.contains('=');
        c.database_url = Some(Secret::new(text));
        if known { Ok(()) } else { Err(NotAllowed) }
    },
)];

/// What it does.
pub(super) const CONDUCT: &[Setting] = &[
    setting(
        "graphiql",
        "Whether browsers get GraphiQL at the endpoint",
        "true or false",
        put!(c.graphiql = v.boolean()),
    ),
    setting(
        "metadata_channels",
        "Channels whose events show their metadata",
        "a list of channels",
        put!(c.schema.metadata_channels = v.list()),
    ),
    setting(
        "source",
        "Where events come from",
        "postgres, or memory for tests (redis comes later)",
        put!(c.source = v.one_of(&[("postgres", SourceKind::Postgres), ("memory", SourceKind::Memory)])),
    ),
    setting(
        "store",
        "Where reservations are kept (default: postgres if that is the source, else memory)",
        "postgres, or memory for a daemon that is alone (redis comes later)",
        put!(c.store = v.one_of(&[("postgres", StoreKind::Postgres), ("memory", StoreKind::Memory)])),
    ),
    secret(setting(
        "redis_url",
        "Connection string of Redis",
        "nothing yet: Redis is not supported",
        |_, _| Err(NotAllowed),
    )),
    setting(
        "log.format",
        "Form of log lines",
        "text or json",
        put!(c.log_format = v.one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)])),
    ),
    setting(
        "log.filter",
        "Which log lines to write",
        "a level, or a list such as warn,tidings_daemon=debug",
        |c, v| {
            let text = v.text()?;
            text.parse::<tracing_subscriber::filter::Targets>().map_err(|_| NotAllowed)?;
            c.log_filter = text;
            Ok(())
        },
    ),
    setting(
        "mailbox.messages",
        "Deliveries that may wait for one connection",
        "1 to 1000000",
        put!(c.mailbox.messages = v.count(1, 1_000_000)),
    ),
    setting(
        "mailbox.bytes",
        "Bytes that may wait for one connection",
        "64 KiB (65536) to 1 GiB",
        put!(c.mailbox.bytes = v.count(64 * KIB, GIB)),
    ),
    setting(
        "ring.events",
        "Last events that stay in memory for those who come back",
        "0 to 10000000",
        put!(c.ring.events = v.count(0, 10_000_000)),
    ),
    setting("ring.bytes", "Bytes of such events", "0 to 16 GiB", put!(c.ring.bytes = v.count(0, 16 * GIB))),
    setting(
        "events_roles",
        "Roles that may read channels of attached tables through events",
        "a list of roles",
        put!(c.schema.events_roles = v.list()),
    ),
];

/// How long it takes.
pub(super) const TIMES: &[Setting] = &[
    setting(
        "wait_for_standby",
        "Whether events wait until the synchronous standbys have them",
        "true or false",
        put!(c.wait_for_standby = v.boolean()),
    ),
    setting(
        "safety_poll_ms",
        "How often the source polls though nothing woke it",
        "10 to 60000 milliseconds",
        put!(c.safety_poll = v.milliseconds(10, 60_000)),
    ),
    setting(
        "max_lag_ms",
        "Lag of the source above which /readyz is red",
        "100 to 3600000 milliseconds",
        put!(c.max_lag = v.milliseconds(100, 3_600_000)),
    ),
    setting(
        "drain_s",
        "Time over which streams leave after SIGTERM",
        "0 to 86400 seconds",
        put!(c.drain = v.seconds(0, DAY_S)),
    ),
];
