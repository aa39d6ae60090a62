//! Which roles the daemon may become.

use super::PostgresOptions;
use super::connection::connect;
use super::error::{SessionError, in_time};

/// A role must exist, and the daemon's must be a member of it.
const MISSING: &str = "\
    select n from unnest($1::text[]) n left join pg_catalog.pg_roles r on r.rolname = n \
    where r.oid is null or not pg_catalog.pg_has_role(r.oid, 'member') order by n";

/// Those of the roles that do not exist, or that the daemon's role is not a member of.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn missing_roles(options: &PostgresOptions, roles: &[String]) -> Result<Vec<String>, String> {
    let ask = async {
        let (client, connection) = connect(&options.database, "tidings check").await?;
        let task = tokio::spawn(connection);
        let rows =
            in_time(async { client.query(MISSING, &[&roles]).await.map_err(SessionError::Query) }).await;
        task.abort();
        Ok(rows?.iter().map(|row| row.get(0)).collect())
    };
    ask.await.map_err(|error: SessionError| error.for_people())
}
