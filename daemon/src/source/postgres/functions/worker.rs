//! A worker: one connection, and the calls that it takes from the queue one batch after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};

use super::FunctionLimits;
use super::queue::{Answered, Job, Question, Queue};
use super::statement;
use crate::source::functions::CallError;
use crate::source::postgres::connection::connect;

/// A call that waited longer is not made any more: whoever asked has moved on, and those behind it wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Time beyond a call's own after which a server that says nothing is taken for lost.
const GRACE: Duration = Duration::from_secs(3);

/// Pause between two attempts to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Worker {
    database: Config,
    limits: FunctionLimits,
    queue: Arc<Queue>,
    link: Option<Link>,
}

/// A connection that is being driven.
struct Link {
    client: Client,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why a batch has no answers.
enum Trouble {
    Database(Error),
    Silence,
    Unreachable,
}

impl Worker {
    pub(super) fn new(database: Config, limits: FunctionLimits, queue: Arc<Queue>) -> Self {
        Self { database, limits, queue, link: None }
    }

    /// Answers calls until the queue is closed.
    pub(super) async fn work(mut self) {
        while let Some(mut jobs) = self.queue.take().await {
            let (lane, began) = (jobs[0].lane(), Instant::now());
            jobs.retain(|job| !job.reply.is_closed());
            let (late, jobs): (Vec<Job>, Vec<Job>) =
                jobs.into_iter().partition(|job| job.since.elapsed() > WAIT_MAX);
            late.into_iter().for_each(|job| answer(job, Err(CallError::Overloaded)));
            if !jobs.is_empty() {
                self.answer(jobs).await;
            }
            self.queue.done(&lane, began.elapsed());
        }
    }

    async fn answer(&mut self, jobs: Vec<Job>) {
        let function = jobs[0].call.function.clone();
        let began = Instant::now();
        let done = self.run(&jobs).await;
        let took = began.elapsed();
        self.queue.metrics.time.observe(took.as_secs_f64());
        if took >= self.limits.slow {
            tracing::warn!(%function, duration_ms = took.as_millis(), calls = jobs.len(), "slow resolver");
        }
        match done {
            Ok(answers) => jobs.into_iter().zip(answers).for_each(|(job, it)| answer(job, it)),
            // One of them is to blame, and only that one is to pay.
            Err(_) if jobs.len() > 1 => self.queue.retry_alone(jobs),
            Err(trouble) => {
                // The database's own log has its message, which may quote a claim or a value of a record.
                let reason = trouble.code();
                let role = &jobs[0].call.caller.role;
                match &jobs[0].question {
                    Question::Check(_) => tracing::warn!(%role, %reason, "a check of policies failed"),
                    Question::Read(reading) => {
                        let table = reading.read.table;
                        tracing::warn!(table, %role, %reason, "current rows could not be read");
                    }
                    Question::Resolve(_) | Question::Authorize => {
                        tracing::warn!(%function, %reason, "a resolver failed");
                    }
                }
                jobs.into_iter().for_each(|job| answer(job, Err(trouble.for_callers())));
            }
        }
        self.settle().await;
    }

    async fn run(&mut self, jobs: &[Job]) -> Result<Vec<Answered>, Trouble> {
        let timeout = self.limits.timeout;
        let client = &self.connected().await?.client;
        let answers = tokio::time::timeout(timeout + GRACE, statement::run(client, jobs, timeout)).await;
        match answers {
            Ok(answers) => answers.map_err(Trouble::Database),
            Err(_) => {
                self.link = None;
                Err(Trouble::Silence)
            }
        }
    }

    /// Ends the transaction, or drops a connection that cannot.
    async fn settle(&mut self) {
        let Some(link) = &self.link else { return };
        let ended = tokio::time::timeout(GRACE, statement::end(&link.client)).await;
        if !matches!(ended, Ok(Ok(()))) {
            self.link = None;
        }
    }

    /// The connection, made anew for as long as a call may take: a restart costs what ran, not what waits.
    async fn connected(&mut self) -> Result<&Link, Trouble> {
        if self.link.as_ref().is_some_and(|link| link.client.is_closed()) {
            self.link = None;
        }
        let began = Instant::now();
        while self.link.is_none() {
            match connect(&self.database, "tidings resolve").await {
                Ok((client, connection)) => {
                    let task = tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection for resolvers has ended");
                        }
                    });
                    self.link = Some(Link { client, task });
                }
                Err(error) if began.elapsed() >= self.limits.timeout => {
                    tracing::warn!(error = %error.for_people(), "resolvers cannot reach the database");
                    break;
                }
                Err(_) => tokio::time::sleep(RECONNECT_PAUSE).await,
            }
        }
        self.link.as_ref().ok_or(Trouble::Unreachable)
    }
}

fn answer(job: Job, answer: Answered) {
    // Nobody waits any more if the subscription has ended meanwhile.
    let _ = job.reply.send(answer);
}

impl Trouble {
    /// For the log, without the words of the database.
    fn code(&self) -> String {
        match self {
            Self::Database(error) => {
                error.code().map_or_else(|| error.to_string(), |code| format!("SQLSTATE {}", code.code()))
            }
            Self::Silence => "the database did not answer in time".into(),
            Self::Unreachable => "the database cannot be reached".into(),
        }
    }

    /// Texts of the database may tell what is not a client's business, except those that the function's
    /// author raised for it.
    fn for_callers(&self) -> CallError {
        let error = match self {
            Self::Database(error) => error,
            Self::Silence => return CallError::Timeout,
            Self::Unreachable => return CallError::Unavailable,
        };
        match error.as_db_error() {
            // Without an answer of the database, the connection was lost.
            None => CallError::Unavailable,
            Some(error) if is_shutting_down(error.code()) => CallError::Unavailable,
            Some(error)
                if [SqlState::QUERY_CANCELED, SqlState::LOCK_NOT_AVAILABLE].contains(error.code()) =>
            {
                CallError::Timeout
            }
            Some(error) if error.code().code().starts_with("P0") => {
                CallError::Raised(error.message().to_owned())
            }
            Some(_) => CallError::Failed,
        }
    }
}

/// Whether the server ended the session, and not the statement.
fn is_shutting_down(code: &SqlState) -> bool {
    [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN, SqlState::CANNOT_CONNECT_NOW].contains(code)
}
