//! Kicks in the database: reads `tidings.revocations` whenever it may have changed, and has somebody leave.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Config, Row};

use super::Reservations;
use super::control::{Control, Message, Signal, Signals};
use super::reservation::Revocation;
use crate::access::presence::ConnectionId;
use crate::access::revocation::{Kick, Revocations};
use crate::source::postgres::{SessionError, connect, in_time};

/// How often they are read though nobody said that they have changed.
const READ_INTERVAL: Duration = Duration::from_secs(60);

/// Least time between two readings: a script may kick many, one by one.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Pauses after a failure: the first, and the longest.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

const READ: &str = "select id, user_id, tenant_id, connection_id, tokens_before from tidings.revocations \
                    where expires_at > clock_timestamp()";

/// Keeps what this node knows of revocations up to date, for ever. Until the first success nobody with a token
/// comes in; after it a failure leaves in force what was. Reservations that are kept in this process are voided
/// here; `tidings.kick()` has voided those of the database.
pub async fn follow(
    database: Config,
    control: Control,
    revocations: Revocations,
    kept_here: Option<Reservations>,
) {
    let mut signals = control.signals();
    let mut pause = RETRY_PAUSE.0;
    loop {
        match read(&database).await {
            Ok(kicks) => {
                pause = RETRY_PAUSE.0;
                let (new, ended) = revocations.replace(kicks);
                if let Some(reservations) = &kept_here {
                    void(reservations, new).await;
                }
                if ended > 0 {
                    tracing::info!(connections = ended, "connections ended by a kick");
                }
                tokio::time::sleep(READ_PAUSE).await;
                wait_for_change(&mut signals).await;
            }
            Err(error) => {
                let wait = pause.mul_f64(rand::random_range(0.5..1.0));
                tracing::warn!(error = %error.for_people(), pause = ?wait, "kicks cannot be read; trying again");
                tokio::time::sleep(wait).await;
                pause = (pause * 2).min(RETRY_PAUSE.1);
            }
        }
    }
}

async fn void(reservations: &Reservations, kicks: Vec<Kick>) {
    let text = |name: Option<Box<str>>| name.map(String::from);
    for Kick { user, tenant, .. } in kicks {
        // Who keeps them in this process always answers.
        let _ = reservations.revoke(Revocation { user: text(user), tenant: text(tenant) }).await;
    }
}

/// Waits until they may have changed.
async fn wait_for_change(signals: &mut Signals) {
    let at_last = Instant::now() + READ_INTERVAL;
    while let Ok(signal) = timeout_at(at_last, signals.next()).await {
        if matches!(signal, Signal::Reconnected | Signal::Message(Message::Revoked)) {
            return;
        }
    }
}

/// Connects for this one statement, as there may not be another for a long time.
async fn read(database: &Config) -> Result<Vec<Kick>, SessionError> {
    let (client, connection) = connect(database, "tidings revocations").await?;
    let task = tokio::spawn(connection);
    let rows = in_time(async { client.query(READ, &[]).await.map_err(SessionError::Query) }).await;
    task.abort();
    Ok(rows?.iter().map(from_row).collect())
}

fn from_row(row: &Row) -> Kick {
    let text = |column: usize| row.get::<_, Option<&str>>(column).map(Into::into);
    Kick {
        id: row.get(0),
        user: text(1),
        tenant: text(2),
        // The table holds no other.
        connection: row.get::<_, Option<&str>>(3).and_then(|id| id.parse().ok()),
        tokens_before: row.get(4),
    }
}

/// How many are in force.
///
/// # Errors
/// If they cannot be read; what to do.
pub async fn count(database: &Config) -> Result<usize, String> {
    let kicks =
        read(database).await.map_err(|error| format!("kicks cannot be read: {}", error.for_people()))?;
    Ok(kicks.len())
}

/// Who is to leave. What is not named restricts nothing.
#[derive(Debug)]
pub struct Order {
    /// The user.
    pub user: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The connection; then nobody else is named.
    pub connection: Option<ConnectionId>,
    /// For how long tokens from before are refused.
    pub block: Duration,
}

/// Has somebody leave, on every node. Returns the number of the kick.
///
/// # Errors
/// If the database does not take it; what to do.
pub async fn kick(database: &Config, order: &Order) -> Result<i64, String> {
    let connection = order.connection.map(|id| id.to_string());
    let seconds = order.block.as_secs_f64();
    let statement = "select tidings.kick($1, $2, $3, make_interval(secs => $4))";
    let row = ask(database, statement, &[&order.user, &order.tenant, &connection, &seconds]).await?;
    Ok(row.get(0))
}

/// Takes a kick back. False if there is none of that number.
///
/// # Errors
/// If the database does not take it; what to do.
pub async fn lift(database: &Config, number: i64) -> Result<bool, String> {
    ask(database, "select tidings.lift_kick($1)", &[&number]).await.map(|row| row.get(0))
}

async fn ask(
    database: &Config,
    statement: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Row, String> {
    let asked = async {
        let (client, connection) = connect(database, "tidings kick").await?;
        let task = tokio::spawn(connection);
        let row =
            in_time(async { client.query_one(statement, values).await.map_err(SessionError::Query) }).await;
        task.abort();
        row
    };
    asked.await.map_err(|error| error.for_people())
}
