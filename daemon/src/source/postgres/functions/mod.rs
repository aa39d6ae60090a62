//! Functions of the database, called the PostgREST way: in a read-only transaction, under the caller's
//! role, with its claims in `request.jwt.claims`, so that row level security decides what they see.
//!
//! # Layout
//!
//! `queue` holds what waits, `worker` takes batches from it, each on its own connection, and `statement`
//! is what is sent; `policies` is what is sent where row security is to be checked, `rows` where current rows
//! are to be read, with the `select` that is made for it.

mod policies;

mod select;

mod rows;

mod queue;

mod statement;

mod worker;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_postgres::Config;

use queue::{Answer, Answered, Job, Question, Queue, Share};
use rows::Reading;
use worker::Worker;

use crate::metrics::Metrics;
use crate::source::functions::{Call, CallError, Caller, FunctionName, Functions, Resolved};
use crate::source::policies::{Check, Policies, Verdict};
use crate::source::rows::{Moment, Read, Rows, Take};

/// Bounds of calls.
#[derive(Debug, Clone, Copy)]
pub struct FunctionLimits {
    /// Time for a call.
    pub timeout: Duration,
    /// Connections, which is also how many transactions run at once.
    pub connections: usize,
    /// Calls that may wait; further ones are refused.
    pub queue: usize,
    /// From when on a call is named in the log.
    pub slow: Duration,
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            connections: 4,
            queue: 10_000,
            slow: Duration::from_millis(500),
        }
    }
}

/// Calls functions of one database. Dropping it ends its connections.
#[derive(Debug)]
pub struct PostgresFunctions {
    queue: Arc<Queue>,
    metrics: Metrics,
}

impl PostgresFunctions {
    /// Starts the workers; each connects when it first has something to do. Needs a tokio runtime.
    pub fn start(database: &Config, limits: FunctionLimits, metrics: Metrics) -> Self {
        let queue = Arc::new(Queue::new(
            limits.queue,
            Share::of(limits.connections, limits.slow),
            metrics.resolvers.clone(),
        ));
        for _ in 0..limits.connections {
            let worker = Worker::new(database.clone(), limits, queue.clone());
            tokio::spawn(worker.work());
        }
        Self { queue, metrics }
    }

    /// Begins a call. A defect that loses it is a failure of this call alone.
    fn ask(&self, call: Call, question: Question) -> BoxFuture<'static, Answered> {
        let (reply, answer) = oneshot::channel();
        let refused = self.queue.push(Job::new(call, question, reply)).is_err();
        let failures = self.metrics.resolvers.failures.clone();
        async move {
            let answer = match refused {
                true => Err(CallError::Overloaded),
                false => answer.await.unwrap_or(Err(CallError::Failed)),
            };
            if let Err(error) = &answer {
                failures.get_or_create(&[("kind", error.kind())]).inc();
            }
            answer
        }
        .boxed()
    }
}

impl Drop for PostgresFunctions {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A function of the extension, called for one table.
fn about_table(function: &str, caller: &Caller, table: u32) -> Call {
    let function = FunctionName { schema: "tidings".into(), name: function.into() };
    Call { function: Arc::new(function), caller: caller.clone(), arguments: table.to_string().into() }
}

impl Functions for PostgresFunctions {
    fn resolve(&self, call: Call, event: Arc<str>) -> BoxFuture<'static, Resolved> {
        let answer = self.ask(call, Question::Resolve(event));
        async move {
            match answer.await? {
                Answer::Value(value) => Ok(value),
                _ => Err(CallError::Failed),
            }
        }
        .boxed()
    }

    fn authorize(&self, call: Call) -> BoxFuture<'static, Result<bool, CallError>> {
        let answer = self.ask(call, Question::Authorize);
        async move { Ok(matches!(answer.await?, Answer::Value(Some(value)) if *value == *"true")) }.boxed()
    }
}

impl Policies for PostgresFunctions {
    fn check(&self, check: Arc<Check>) -> BoxFuture<'static, Result<Verdict, CallError>> {
        let call = about_table("select_policies", &check.caller, check.table);
        let answer = self.ask(call, Question::Check(check));
        async move {
            match answer.await? {
                Answer::Verdict(verdict) => Ok(verdict),
                _ => Err(CallError::Failed),
            }
        }
        .boxed()
    }
}

impl Rows for PostgresFunctions {
    fn read(&self, read: Read, take: Take) -> BoxFuture<'static, Result<Moment, CallError>> {
        let call = about_table("rows_query", &read.caller, read.table);
        let answer = self.ask(call, Question::Read(Arc::new(Reading::new(read, take))));
        async move {
            match answer.await? {
                Answer::Moment(moment) => Ok(moment),
                _ => Err(CallError::Failed),
            }
        }
        .boxed()
    }
}
