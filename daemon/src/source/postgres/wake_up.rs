//! How writers wake the daemon.

use super::PostgresOptions;
use super::connection::ask;

const MODE: &str = "select tidings.wake_up_mode()";

/// How a transaction that stores events would wake the daemon: `coalesced`, `direct` or `off`.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn wake_up_mode(options: &PostgresOptions) -> Result<String, String> {
    let rows =
        ask(&options.database, "tidings check", MODE, &[]).await.map_err(|error| error.for_people())?;
    Ok(rows.first().map(|row| row.get(0)).unwrap_or_default())
}
