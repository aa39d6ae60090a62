//! Has the database clean up after itself: retention, expired reservations.

use std::time::Duration;

use tokio_postgres::Config;

use super::connection::connect;
use super::error::{SessionError, in_time};

/// Pause between two calls. `tidings.maintain()` decides by the clock what is due, and an advisory
/// lock lets one of several daemons do it.
const PERIOD: Duration = Duration::from_secs(60);

/// Calls `tidings.maintain()` once a minute, for ever. A failure is logged and costs nothing but
/// time: the table only grows until the next success.
pub async fn maintain(database: Config) {
    loop {
        // Several daemons started together spread out.
        tokio::time::sleep(PERIOD.mul_f64(rand::random_range(0.75..1.25))).await;
        match once(&database).await {
            Ok(report) => tracing::debug!(report, "maintenance"),
            Err(error) => tracing::warn!(error = %error.for_people(), "tidings.maintain() failed"),
        }
    }
}

/// Connects for this one call: a connection held open for a minute of idling serves nobody.
async fn once(database: &Config) -> Result<String, SessionError> {
    let (client, connection) = connect(database, "tidings maintain").await?;
    let task = tokio::spawn(connection);
    let report = in_time(async {
        client.query_one("select tidings.maintain()::text", &[]).await.map_err(SessionError::Query)
    })
    .await;
    task.abort();
    Ok(report?.get(0))
}
