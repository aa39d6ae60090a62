//! What the database says of itself, for the metrics: who holds back retention, and how much is stored.

use std::time::Duration;

use tokio_postgres::{Config, Row};

use super::connection::ask;
use crate::metrics::DatabaseMetrics;

/// Pause between two readings: half of the shortest time after which anybody would want to be called.
const PERIOD: Duration = Duration::from_secs(15);

/// A reading. Its cost does not grow with the events.
const STATE: &str = "\
    select extract(epoch from clock_timestamp())::float8, \
           coalesce(extract(epoch from s.unsettled_age), 0)::float8, coalesce(s.unsettled_pid, 0)::bigint, \
           coalesce(s.events_estimate, 0), coalesce(s.size_bytes, 0), \
           coalesce(extract(epoch from clock_timestamp() - s.oldest_event_at), 0)::float8, \
           extract(epoch from s.retention)::float8, coalesce(extract(epoch from s.floor_moved_at), 0)::float8, \
           s.notify_queue_usage \
    from tidings.stats() s";

/// Reads the state again and again, for ever. While it cannot be read the metrics stay, and so does the time of the last
/// reading.
pub async fn watch(database: Config, metrics: DatabaseMetrics) {
    loop {
        match ask(&database, "tidings state", STATE, &[]).await {
            Ok(rows) => rows.iter().for_each(|row| note(row, &metrics)),
            Err(error) => {
                tracing::warn!(error = %error.for_people(), "the state of the database cannot be read; trying again");
            }
        }
        // Several daemons started together spread out.
        tokio::time::sleep(PERIOD.mul_f64(rand::random_range(0.75..1.25))).await;
    }
}

fn note(row: &Row, metrics: &DatabaseMetrics) {
    metrics.read_at.set(row.get(0));
    metrics.oldest_transaction_age.set(row.get(1));
    metrics.oldest_transaction_pid.set(row.get(2));
    metrics.stored_events.set(row.get(3));
    metrics.stored.set(row.get(4));
    metrics.oldest_event_age.set(row.get(5));
    metrics.retention.set(row.get(6));
    metrics.floor_moved_at.set(row.get(7));
    metrics.notify_queue_usage.set(row.get(8));
}
