//! Which roles the daemon may become.

use super::PostgresOptions;
use super::connection::ask;

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
    let rows = ask(&options.database, "tidings check", MISSING, &[&roles]).await;
    rows.map(|rows| rows.iter().map(|row| row.get(0)).collect()).map_err(|error| error.for_people())
}
