//! Bounds of reservations.

use super::{DAY_S, KIB, Setting, setting};

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "reservations.per_user",
        "Reservations of one user",
        "1 to 100000",
        put!(c.reservations.per_user = v.count(1, 100_000)),
    ),
    setting(
        "reservations.total",
        "Reservations in all",
        "1 to 10000000",
        put!(c.reservations.total = v.count(1, 10_000_000)),
    ),
    setting(
        "reservations.bytes",
        "Bytes of the requests of one reservation's operations",
        "1 KiB (1024) to 64 MiB",
        put!(c.reservations.bytes = v.count(KIB, 64 * KIB * KIB)),
    ),
    setting(
        "reservations.unfulfilled_s",
        "Life of a reservation whose stream was never opened",
        "1 to 86400 seconds, not above reservations.idle_s",
        put!(c.reservations.unfulfilled = v.seconds(1, DAY_S)),
    ),
    setting(
        "reservations.idle_s",
        "Life of a reservation after its stream was last open",
        "1 to 2592000 seconds; keep it below tidings.retention",
        put!(c.reservations.idle = v.seconds(1, 30 * DAY_S)),
    ),
];
