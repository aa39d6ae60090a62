//! What the tests share: databases, clusters, daemons and clients.

use std::time::Duration;

pub mod cluster;

pub mod daemon;

pub mod database;

pub mod sse;

pub mod websocket;

/// Longest wait for anything that should happen at once; generous, because CI machines are slow.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Waits for something that must come.
///
/// # Panics
///
/// If it does not come in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_MAX, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {what} within {WAIT_MAX:?}"),
    }
}
