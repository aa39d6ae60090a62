//! The transaction in which functions are called.

use std::time::Duration;

use futures_util::try_join;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

use super::queue::{Answer, Answered, Job, Question};
use super::select::quoted;
use super::{policies, rows};
use crate::source::functions::FunctionName;

/// Makes claims known to whatever is called.
pub(super) const CLAIMS: &str = "select set_config('request.jwt.claims', $1, true)";

/// Answers calls that share function, caller, arguments and kind, in their order.
pub(super) async fn run(client: &Client, jobs: &[Job], timeout: Duration) -> Result<Vec<Answered>, Error> {
    let Some(first) = jobs.first() else { return Ok(Vec::new()) };
    match &first.question {
        Question::Check(check) => return Ok(vec![policies::run(client, check, timeout).await?]),
        Question::Read(reading) => return Ok(vec![rows::run(client, first, reading, timeout).await?]),
        Question::Resolve(_) | Question::Authorize => {}
    }
    // Nothing may be called before it is certain that the role is the caller's.
    client.batch_execute(&begin(&first.call.caller.role, timeout)).await?;
    let claims = async { client.query_typed(CLAIMS, &[(&&*first.call.caller.claims, Type::TEXT)]).await };
    let events: Vec<&str> = jobs.iter().filter_map(|job| event(job)).collect();
    let arguments = &*first.call.arguments;
    let answers = async {
        if matches!(first.question, Question::Authorize) {
            let statement = authorize(&first.call.function);
            return client.query_typed(&statement, &[(&arguments, Type::TEXT)]).await;
        }
        let statement = resolve(&first.call.function);
        client.query_typed(&statement, &[(&arguments, Type::TEXT), (&events, Type::TEXT_ARRAY)]).await
    };
    // Sent together; should the first fail, the second does, too.
    let (_, rows) = try_join!(claims, answers)?;
    let answer = |index: usize| -> Answered {
        // One answer is everybody's where nobody has an event.
        let row = if events.is_empty() { rows.first() } else { rows.get(index) };
        Ok(Answer::Value(row.and_then(|row| row.get::<_, Option<&str>>(0)).map(Into::into)))
    };
    Ok((0..jobs.len()).map(answer).collect())
}

/// Ends the transaction, of which nothing is kept: locks of the session are not part of it.
pub(super) async fn end(client: &Client) -> Result<(), Error> {
    client.batch_execute("rollback; select pg_advisory_unlock_all()").await
}

fn event(job: &Job) -> Option<&str> {
    match &job.question {
        Question::Resolve(event) => Some(event),
        Question::Authorize | Question::Check(_) | Question::Read(_) => None,
    }
}

/// Opens the transaction, in which the role is the caller's.
pub(super) fn begin(role: &str, timeout: Duration) -> String {
    format!(
        "begin read only; set local role {}; set local search_path = pg_catalog, pg_temp; {}",
        quoted(role),
        time_limits(timeout)
    )
}

/// Bounds each statement of the transaction.
pub(super) fn time_limits(timeout: Duration) -> String {
    let timeout_ms = timeout.as_millis();
    format!("set local lock_timeout = {timeout_ms}; set local statement_timeout = {timeout_ms}")
}

/// A scalar subquery, so that a function that returns a set is an error and not a shift of answers.
fn resolve(function: &FunctionName) -> String {
    format!(
        "select ((select {}(call.event::jsonb, $1::jsonb))::jsonb)::text \
         from unnest($2::text[]) with ordinality call(event, place) order by call.place",
        qualified(function)
    )
}

fn authorize(function: &FunctionName) -> String {
    format!("select ((select {}(null::jsonb, $1::jsonb))::boolean)::text", qualified(function))
}

fn qualified(function: &FunctionName) -> String {
    format!("{}.{}", quoted(&function.schema), quoted(&function.name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{begin, resolve};
    use crate::source::functions::FunctionName;

    #[test]
    fn no_name_leaves_its_quotes() {
        let function = FunctionName { schema: r#"a"b"#.into(), name: "f(); drop".into() };
        assert!(resolve(&function).contains(r#"select "a""b"."f(); drop"(call.event"#));
        assert!(begin(r#"r"; set role x"#, Duration::from_secs(1)).contains(r#"role "r""; set role x";"#));
    }
}
