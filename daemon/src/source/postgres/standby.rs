//! Holds events until the synchronous standbys have them, so that a failover takes back none that was delivered.
//!
//! A commit that waits for its standby is not visible before the standby has it. But a session may commit without
//! waiting (`synchronous_commit = local`), an administrator may cancel a wait, and after a crash of the primary
//! everything in its WAL is visible, whoever else has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Row};

use super::error::{SessionError, in_time};
use crate::metrics::Metrics;
use crate::source::status::SourceStatus;

/// The position of WAL now, and whether the standbys have come so far.
const POSITION: &str =
    "select wanted, inserted::text, coalesce(flushed >= inserted, false) from tidings.standby_position()";

/// Whether they have come to a position.
const REACHED: &str =
    "select wanted, $1::text, coalesce(flushed >= $1::text::pg_lsn, false) from tidings.standby_position()";

/// Pauses between two looks: nobody tells when a standby has flushed.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

/// A wait that readiness and the log mention.
const LONG: Duration = Duration::from_secs(1);

/// Waits until as many standbys as a commit waits for have flushed everything that is in WAL now. It is asked after the
/// statement that found the events, so what they are in is in WAL before. Waits for as long as it takes.
pub(super) async fn wait(
    client: &Client,
    status: &Arc<SourceStatus>,
    metrics: &Metrics,
) -> Result<(), SessionError> {
    let began = Instant::now();
    let row = in_time(async { client.query_one(POSITION, &[]).await.map_err(SessionError::Query) }).await?;
    let position: String = row.get(1);
    let (mut reached, mut pause, mut held) = (has_reached(&row)?, PAUSE_MIN, None);
    while !reached {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        let row =
            in_time(async { client.query_one(REACHED, &[&position]).await.map_err(SessionError::Query) });
        reached = has_reached(&row.await?)?;
        if !reached && held.is_none() && began.elapsed() > LONG {
            let text = format!("events are held until the synchronous standbys have WAL up to {position}");
            tracing::warn!("{text}");
            held = Some(status.hold(text));
        }
    }
    metrics.standby_wait.observe(began.elapsed().as_secs_f64());
    Ok(())
}

/// Whether there is anything to wait for.
pub(super) async fn check(client: &Client) -> Result<(), SessionError> {
    let row = in_time(async { client.query_one(POSITION, &[]).await.map_err(SessionError::Query) }).await?;
    has_reached(&row).map(|_| ())
}

fn has_reached(row: &Row) -> Result<bool, SessionError> {
    row.get::<_, Option<i32>>(0).ok_or(SessionError::NoStandby)?;
    Ok(row.get(2))
}
