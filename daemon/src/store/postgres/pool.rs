//! Connections to the database that reservations are kept in, and the time that it has for its answers.

use std::time::{Duration, Instant};

use deadpool_postgres::{
    Client, Connect, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod,
    Runtime,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

use crate::source::postgres::{SessionError, connect_to_any, with_settings};
use crate::store::reservation::StoreError;

/// Connections, and so statements at once.
const CONNECTIONS_MAX: usize = 4;

/// Time for a connection, and for the answer to what is asked on it.
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The server gives up a little earlier than we do.
const SETTINGS: &str = "set statement_timeout = '4s'; set lock_timeout = '3s'; \
                        set idle_in_transaction_session_timeout = '10s'";

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store has one: no.
    Refused(StoreError),
    /// A statement failed.
    Database(tokio_postgres::Error),
    /// Nothing came in time.
    Silence,
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

/// Connects as everything else does.
struct ToAny;

impl Connect for ToAny {
    fn connect(
        &self,
        config: &Config,
    ) -> BoxFuture<'_, Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        async move {
            let (client, connection) = connect_to_any(&config).await?;
            // A failure shows in the statement that was waiting.
            Ok((client, tokio::spawn(connection.map(drop))))
        }
        .boxed()
    }
}

/// The connections.
#[derive(Debug)]
pub(super) struct Connections(Pool);

impl Connections {
    /// Of a database; each is made when it is first needed.
    ///
    /// # Errors
    ///
    /// If there is no runtime.
    pub(super) fn new(database: &Config) -> Result<Self, String> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(with_settings(database, "tidings store"), ToAny, config);
        let set = Hook::async_fn(|client: &mut deadpool_postgres::ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(SETTINGS).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS_MAX)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(ANSWER_TIME))
            .create_timeout(Some(ANSWER_TIME))
            .recycle_timeout(Some(ANSWER_TIME))
            .post_create(set)
            .build();
        pool.map(Self).map_err(|error| error.to_string())
    }

    /// One of them.
    pub(super) async fn get(&self) -> Result<Client, StoreError> {
        self.0.get().await.map_err(|error| unavailable(&reason(error)))
    }
}

/// Bounds what is asked on a connection.
pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    tokio::time::timeout(ANSWER_TIME, answer).await.unwrap_or(Err(Trouble::Silence))
}

/// Gives a connection back, and turns the answer into what the store says.
pub(super) fn settle<T>(client: Client, answer: Result<T, Trouble>) -> Result<T, StoreError> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(Trouble::Refused(refusal)) => Err(refusal),
        Err(Trouble::Database(error)) => Err(unavailable(&SessionError::Query(error).for_people())),
        Err(Trouble::Silence) => {
            // Nobody knows what it is doing now.
            drop(Object::take(client));
            Err(unavailable(&format!("PostgreSQL did not answer within {ANSWER_TIME:?}")))
        }
    }
}

fn reason(error: PoolError) -> String {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            SessionError::Connect(error).for_people()
        }
        error => error.to_string(),
    }
}

/// Time between two warnings: clients can ask as often as they like, and each failure is counted.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

static WARNED: Mutex<Option<Instant>> = Mutex::new(None);

fn unavailable(reason: &str) -> StoreError {
    let mut warned = WARNED.lock();
    if warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE) {
        *warned = Some(Instant::now());
        tracing::warn!(error = reason, "the store of reservations does not answer");
    } else {
        tracing::debug!(error = reason, "the store of reservations does not answer");
    }
    StoreError::Unavailable
}
