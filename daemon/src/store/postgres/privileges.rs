//! What the daemon's role may do with reservations.

use tokio_postgres::Config;

use crate::source::postgres::{SessionError, connect, in_time};

/// Tables and privileges that are missing; of a table that is not there, all of them.
const MISSING: &str = "\
    select t.name || ' (' || string_agg(p.name, ', ' order by p.name) || ')' \
    from unnest('{tidings.connections,tidings.documents}'::text[]) t (name), \
        unnest('{select,insert,update,delete}'::text[]) p (name) \
    where not coalesce(has_table_privilege(to_regclass(t.name), p.name), false) \
        or not has_schema_privilege('tidings', 'usage') \
    group by t.name order by t.name";

/// Which privileges the store lacks.
///
/// # Errors
///
/// If the database cannot be asked.
pub async fn missing_privileges(database: &Config) -> Result<Vec<String>, String> {
    let ask = async {
        let (client, connection) = connect(database, "tidings check").await?;
        let task = tokio::spawn(connection);
        let rows = in_time(async { client.query(MISSING, &[]).await.map_err(SessionError::Query) }).await;
        task.abort();
        Ok(rows?.iter().map(|row| row.get(0)).collect())
    };
    ask.await.map_err(|error: SessionError| error.for_people())
}
