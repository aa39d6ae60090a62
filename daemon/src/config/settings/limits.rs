//! Bounds of clients.

use super::{KIB, Setting, setting};

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "limits.connections",
        "Client streams in all",
        "1 to 10000000",
        put!(c.limits.connections = v.count(1, 10_000_000)),
    ),
    setting(
        "limits.connections_per_user",
        "Client streams of one user",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.connections_per_user = v.count(0, 10_000_000)),
    ),
    setting(
        "limits.connections_per_tenant",
        "Client streams of all users of one tenant",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.connections_per_tenant = v.count(0, 10_000_000)),
    ),
    setting(
        "limits.attempts_per_minute",
        "Attempts to connect from one client address in a minute",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.attempts_per_minute = v.rate(10_000_000)),
    ),
    setting(
        "limits.operations_per_minute",
        "Operations that one user may begin in a minute",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.operations_per_minute = v.rate(10_000_000)),
    ),
    setting(
        "limits.deliveries_per_second",
        "Results that one user may get in a second",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.deliveries_per_second = v.rate(10_000_000)),
    ),
    setting(
        "limits.sockets",
        "Sockets in all",
        "1 to 10000000",
        put!(c.limits.sockets = v.count(1, 10_000_000)),
    ),
    setting(
        "limits.sockets_per_address",
        "Sockets from one address",
        "0 to 10000000; 0 is without bound",
        put!(c.limits.sockets_per_address = v.count(0, 10_000_000)),
    ),
    setting(
        "limits.subscriptions",
        "Running subscriptions of one connection",
        "1 to 100000",
        put!(c.limits.subscriptions = v.count(1, 100_000)),
    ),
    setting(
        "limits.body_bytes",
        "Bytes of a request body or WebSocket message",
        "1 KiB (1024) to 64 MiB",
        put!(c.limits.body_bytes = v.count(KIB, 64 * KIB * KIB)),
    ),
    // hyper cannot work with less than 8 KiB.
    setting(
        "limits.header_bytes",
        "Bytes of a request's head",
        "8 KiB (8192) to 1 MiB",
        put!(c.limits.header_bytes = v.count(8 * KIB, KIB * KIB)),
    ),
    setting(
        "limits.request_s",
        "Time for a request's head, for its body, and for a TLS handshake",
        "1 to 300 seconds",
        put!(c.limits.request_time = v.seconds(1, 300)),
    ),
    setting(
        "limits.idle_s",
        "Time for which a socket may stay between two requests",
        "1 to 3600 seconds",
        put!(c.limits.idle = v.seconds(1, 3_600)),
    ),
    setting(
        "limits.write_stall_s",
        "Time for which a write may make no progress",
        "1 to 600 seconds",
        put!(c.limits.write_stall = v.seconds(1, 600)),
    ),
];
