//! The check of policies: what PostgreSQL would add to the caller's SELECT, evaluated against the records of
//! events in place of the table.

use std::time::Duration;

use futures_util::try_join;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::queue::{Answer, Answered};
use super::statement;
use crate::source::policies::{Check, Record, Verdict};

/// The caller's condition, as of now.
const POLICIES: &str =
    "select relation, alias, condition, reads::text[], hidden::text[] from tidings.select_policies($1, $2)";

/// Answers a check.
pub(super) async fn run(client: &Client, check: &Check, timeout: Duration) -> Result<Answered, Error> {
    let role = &*check.caller.role;
    let rows = client.query_typed(POLICIES, &[(&check.table, Type::OID), (&role, Type::NAME)]).await?;
    let verdict = match rows.first() {
        // Not attached with row security any more, or no such role.
        None => Verdict::default(),
        Some(row) => {
            let hidden: Vec<String> = row.get(4);
            Verdict {
                admitted: admitted(client, check, row, timeout).await?,
                hidden: hidden.into_iter().map(Into::into).collect(),
            }
        }
    };
    Ok(Ok(Answer::Verdict(verdict)))
}

async fn admitted(
    client: &Client,
    check: &Check,
    policies: &Row,
    timeout: Duration,
) -> Result<Vec<usize>, Error> {
    let reads: Vec<String> = policies.get(3);
    // A column that the event does not have would be null, which some policies admit.
    let decidable =
        |record: &Record| reads.iter().all(|column| record.columns.iter().any(|has| **has == **column));
    let records = check.records.iter().enumerate().filter(|(_, record)| decidable(record));
    let (places, records): (Vec<usize>, Vec<&str>) =
        records.map(|(place, record)| (place, record.json())).unzip();
    let condition = match policies.get::<_, Option<&str>>(2) {
        None => return Ok(places),
        Some("false") => return Ok(Vec::new()),
        Some(_) if places.is_empty() => return Ok(Vec::new()),
        Some(condition) => condition,
    };
    let begin = statement::begin(&check.caller.role, timeout);
    // To compile the condition takes longer than to evaluate it for a batch.
    client.batch_execute(&format!("{begin}; set local jit = off")).await?;
    let statement = admits(policies.get(0), policies.get(1), condition);
    let claims = &*check.caller.claims;
    let claims: [(&(dyn ToSql + Sync), Type); 1] = [(&claims, Type::TEXT)];
    let events: [(&(dyn ToSql + Sync), Type); 1] = [(&records, Type::TEXT_ARRAY)];
    // Sent together; should the first fail, the second does, too.
    let (_, rows) =
        try_join!(client.query_typed(statement::CLAIMS, &claims), client.query_typed(&statement, &events),)?;
    // Places count from 1.
    let place = |row: &Row| places.get(usize::try_from(row.get::<_, i64>(0)).ok()?.checked_sub(1)?).copied();
    Ok(rows.iter().filter_map(place).collect())
}

/// The condition stands in a query of its own whose only table is called like the attached one: a bare name in
/// it means a column of that first, whatever the columns are called, and a subquery may name it.
fn admits(relation: &str, alias: &str, condition: &str) -> String {
    format!(
        "select event.place from unnest($1::text[]) with ordinality event(record, place) \
         where exists (select from json_populate_record(null::{relation}, event.record::json) as {alias} \
         where ({condition}))"
    )
}
