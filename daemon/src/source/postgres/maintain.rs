//! Has the database clean up after itself: retention, expired reservations.

use std::time::Duration;

use tokio_postgres::Config;

use super::connection::ask;
use super::error::SessionError;
use crate::metrics::DatabaseMetrics;

/// Longest pause between two calls, and the one after a failure. `tidings.maintain()` decides by the clock what is due,
/// says when there is more to do, and an advisory lock lets one of several daemons do it.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Before the first call: a daemon that does not live for long shall have made one.
const PAUSE_FIRST: Duration = Duration::from_secs(2);

/// One call.
const MAINTAIN: &str = "\
    select report::text, (report -> 'busy')::bool, (report ->> 'call_again_s')::float8, \
           jsonb_array_length(coalesce(report -> 'removed_slots', '[]')) > 0 \
               or coalesce(report ->> 'size_cap' like 'removed%', false) \
    from tidings.maintain() report";

/// What a call has done.
struct Done {
    report: String,
    busy: bool,
    pause: Duration,
    removed: bool,
}

/// Calls `tidings.maintain()` when it asks for it, at least about once a minute, for ever. A failure is logged and costs
/// nothing but time: the table only grows until the next success.
pub async fn maintain(database: Config, metrics: DatabaseMetrics) {
    let mut pause = PAUSE_FIRST;
    loop {
        // Several daemons started together spread out.
        tokio::time::sleep(pause.mul_f64(rand::random_range(0.75..1.25))).await;
        match once(&database).await {
            Ok(done) => {
                tracing::debug!(report = done.report, "maintenance");
                metrics.count_maintenance(if done.busy { "busy" } else { "done" });
                metrics.slots_removed.inc_by(u64::from(done.removed));
                pause = done.pause;
            }
            Err(error) => {
                tracing::warn!(error = %error.for_people(), "tidings.maintain() failed");
                metrics.count_maintenance("failed");
                pause = PAUSE_MAX;
            }
        }
    }
}

async fn once(database: &Config) -> Result<Done, SessionError> {
    let rows = ask(database, "tidings maintain", MAINTAIN, &[]).await?;
    let row = rows.first().ok_or(SessionError::Replaced)?;
    let pause = Duration::try_from_secs_f64(row.get(2)).unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
    Ok(Done { report: row.get(0), busy: row.get(1), pause, removed: row.get(3) })
}
