//! Writes who is connected to this node into `tidings.active_connections`, in batches.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::{Client, Config};

use crate::access::presence::{ConnectionId, Presence, Present};
use crate::source::postgres::{SessionError, connect, in_time};

/// How often what has changed is written.
const WRITE_INTERVAL: Duration = Duration::from_secs(2);

/// How often the node says that it runs; after a minute of silence it counts as gone.
const SEEN_INTERVAL: Duration = Duration::from_secs(10);

/// Connections that one statement writes.
const BATCH_MAX: usize = 1_000;

/// Pauses before connecting again: the first, and the longest.
const RECONNECT_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

const BEGIN: &str = "insert into tidings.nodes (node, seen_at) values ($1, clock_timestamp()) \
                     on conflict (node) do update set seen_at = excluded.seen_at";
const SEEN: &str = "update tidings.nodes set seen_at = clock_timestamp() where node = $1";
const LEAVE: &str = "delete from tidings.nodes where node = $1";
const WRITE: &str = "\
    insert into tidings.node_connections (node, connection_id, transport, tenant_id, user_id, subscriptions, since) \
    select $1, c.id, c.transport, c.tenant, c.usr, c.subscriptions::jsonb, c.since \
    from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[]) \
        c (id, transport, tenant, usr, subscriptions, since) \
    on conflict (connection_id) do update set subscriptions = excluded.subscriptions";
const REMOVE: &str = "delete from tidings.node_connections where node = $1 and connection_id = any ($2)";

/// Keeps the table up to date, until the future is dropped. While the database is away the table is old, and
/// nothing else happens.
pub async fn publish(database: Config, node: Arc<str>, presence: Presence) {
    let mut pause = RECONNECT_PAUSE.0;
    loop {
        let began = Instant::now();
        let Err(error) = serve(&database, &node, &presence).await;
        if began.elapsed() > RECONNECT_PAUSE.1 {
            pause = RECONNECT_PAUSE.0;
        }
        let wait = pause.mul_f64(rand::random_range(0.5..1.0));
        let error = error.for_people();
        tracing::warn!(error, pause = ?wait, "tidings.active_connections cannot be written; trying again");
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(RECONNECT_PAUSE.1);
    }
}

/// Removes what a node has written.
///
/// # Errors
/// If the database does not take it; then it is removed after a minute of silence.
pub(crate) async fn leave(database: &Config, node: &str) -> Result<(), SessionError> {
    let (client, connection) = connect(database, "tidings presence").await?;
    let task = tokio::spawn(connection);
    let left = asked(client.execute(LEAVE, &[&node])).await;
    task.abort();
    left.map(drop)
}

async fn serve(
    database: &Config,
    node: &str,
    presence: &Presence,
) -> Result<std::convert::Infallible, SessionError> {
    let (client, connection) = connect(database, "tidings presence").await?;
    let driver = tokio::spawn(connection);
    let _stop = tokio_util::task::AbortOnDropHandle::new(driver);
    // What is written here need not survive a crash.
    asked(client.batch_execute("set synchronous_commit = off")).await?;
    let mut writer = Writer { client, node, written: HashMap::new() };
    writer.begin().await?;
    let mut tick = interval(WRITE_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Instant::now();
    loop {
        tick.tick().await;
        if seen.elapsed() >= SEEN_INTERVAL {
            writer.seen().await?;
            seen = Instant::now();
        }
        writer.write(presence.all()).await?;
    }
}

/// What this node has written.
struct Writer<'a> {
    client: Client,
    node: &'a str,
    /// With the version of what each connection ran.
    written: HashMap<ConnectionId, u64>,
}

impl Writer<'_> {
    /// Starts anew: rows of a session that was lost go.
    async fn begin(&mut self) -> Result<(), SessionError> {
        asked(self.client.execute(LEAVE, &[&self.node])).await?;
        asked(self.client.execute(BEGIN, &[&self.node])).await?;
        self.written.clear();
        Ok(())
    }

    /// Says that the node runs. It may have counted as gone, or the database have crashed.
    async fn seen(&mut self) -> Result<(), SessionError> {
        if asked(self.client.execute(SEEN, &[&self.node])).await? == 0 {
            self.begin().await?;
        }
        Ok(())
    }

    async fn write(&mut self, present: Vec<Arc<Present>>) -> Result<(), SessionError> {
        let there: HashMap<_, _> = present.iter().map(|present| (present.id, present.version())).collect();
        let gone: Vec<_> = self.written.keys().filter(|id| !there.contains_key(id)).copied().collect();
        for batch in gone.chunks(BATCH_MAX) {
            let ids: Vec<_> = batch.iter().map(ToString::to_string).collect();
            asked(self.client.execute(REMOVE, &[&self.node, &ids])).await?;
            for id in batch {
                self.written.remove(id);
            }
        }
        let is_new = |present: &Arc<Present>| self.written.get(&present.id) != there.get(&present.id);
        let changed: Vec<_> = present.into_iter().filter(is_new).collect();
        for batch in changed.chunks(BATCH_MAX) {
            self.write_batch(batch).await?;
        }
        Ok(())
    }

    async fn write_batch(&mut self, batch: &[Arc<Present>]) -> Result<(), SessionError> {
        let of = |column: fn(&Present) -> Option<&str>| -> Vec<Option<String>> {
            batch.iter().map(|present| column(present).map(storable)).collect()
        };
        let ids: Vec<_> = batch.iter().map(|present| present.id.to_string()).collect();
        let transports: Vec<_> = batch.iter().map(|present| present.transport).collect();
        let tenants = of(|present| present.identity.tenant.as_deref());
        let users = of(|present| present.identity.user.as_deref());
        let running: Vec<_> = batch.iter().map(|present| present.running()).collect();
        let subscriptions: Vec<_> = running
            .iter()
            .map(|running| {
                // In the order in which they began.
                let documents = running.documents.values();
                let each: Vec<_> = documents.map(|hash| json!({ "document": hash.to_string() })).collect();
                serde_json::Value::from(each).to_string()
            })
            .collect();
        let since: Vec<SystemTime> = batch.iter().map(|present| present.since).collect();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&self.node, &ids, &transports, &tenants, &users, &subscriptions, &since];
        asked(self.client.execute(WRITE, &values)).await?;
        for (present, running) in batch.iter().zip(running) {
            self.written.insert(present.id, running.version);
        }
        Ok(())
    }
}

/// PostgreSQL's texts hold every character but one.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

async fn asked<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, SessionError> {
    in_time(async { work.await.map_err(SessionError::Query) }).await
}
