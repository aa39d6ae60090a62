//! What a daemon is called among its like.

use std::sync::Arc;

/// Longest name of a host that is taken over.
const HOST_BYTES_MAX: usize = 64;

/// A name for this process: its host and process id, so that an operator finds it, and a number, because a
/// container's host and process id may come again.
pub fn name() -> Arc<str> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let mut host = host.trim();
    if host.is_empty() {
        host = "node";
    }
    let host = &host[..host.floor_char_boundary(HOST_BYTES_MAX)];
    format!("{host}/{}/{:08x}", std::process::id(), rand::random::<u32>()).into()
}
