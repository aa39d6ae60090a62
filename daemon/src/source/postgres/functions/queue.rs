//! What waits for a connection: calls, grouped by what one statement can do together.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::rows::Reading;
use crate::metrics::ResolverMetrics;
use crate::source::functions::{Call, CallError};
use crate::source::policies::{Check, Verdict};
use crate::source::rows::Moment;

/// Calls of one statement. Small enough that one that fails makes few others run again.
const BATCH_CALLS_MAX: usize = 32;

/// What a function is asked.
#[derive(Debug, Clone)]
pub(super) enum Question {
    /// To make a value of this event.
    Resolve(Arc<str>),
    /// Whether a subscription may begin.
    Authorize,
    /// Which records policies admit.
    Check(Arc<Check>),
    /// The current rows of a table.
    Read(Arc<Reading>),
}

/// What comes of a question.
#[derive(Debug)]
pub(super) enum Answer {
    /// JSON text of a function, or null.
    Value(Option<Arc<str>>),
    /// What policies admit.
    Verdict(Verdict),
    /// The moment of the rows, which have been handed over.
    Moment(Moment),
}

pub(super) type Answered = Result<Answer, CallError>;

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) call: Call,
    pub(super) question: Question,
    pub(super) since: Instant,
    /// Set where it runs alone: a statement that did it with others has failed, or it is a check or a read.
    pub(super) alone: Option<u64>,
    pub(super) reply: oneshot::Sender<Answered>,
}

impl Job {
    pub(super) fn new(call: Call, question: Question, reply: oneshot::Sender<Answered>) -> Self {
        // Each does much already, so it shares its statement with no other.
        let alone = match &question {
            Question::Check(check) => Some(Arc::as_ptr(check).addr() as u64),
            Question::Read(reading) => Some(Arc::as_ptr(reading).addr() as u64),
            Question::Resolve(_) | Question::Authorize => None,
        };
        Self { call, question, since: Instant::now(), alone, reply }
    }

    fn key(&self) -> Key {
        let authorizes = matches!(self.question, Question::Authorize);
        Key { call: self.call.clone(), authorizes, alone: self.alone }
    }
}

/// What the calls of one statement have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    call: Call,
    authorizes: bool,
    alone: Option<u64>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The groups, in the order of their turns: a caller with many calls does not starve others.
    turns: VecDeque<Key>,
    jobs: HashMap<Key, VecDeque<Job>>,
    count: usize,
    /// The part of the gauge that stands for this queue: there are several.
    reported: i64,
    retries: u64,
    closed: bool,
}

/// The queue of all workers.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    jobs_max: usize,
    filled: Notify,
    pub(super) metrics: ResolverMetrics,
}

/// The queue holds all that it may.
#[derive(Debug)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(jobs_max: usize, metrics: ResolverMetrics) -> Self {
        Self { waiting: Mutex::default(), jobs_max, filled: Notify::new(), metrics }
    }

    /// Adds a call.
    pub(super) fn push(&self, job: Job) -> Result<(), Full> {
        let mut waiting = self.waiting.lock();
        if waiting.count >= self.jobs_max {
            return Err(Full);
        }
        waiting.add(job);
        waiting.report(&self.metrics);
        drop(waiting);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts calls back that are to run alone. They had their place already, so they always fit.
    pub(super) fn retry_alone(&self, jobs: Vec<Job>) {
        let mut waiting = self.waiting.lock();
        for mut job in jobs {
            waiting.retries += 1;
            job.alone = Some(waiting.retries);
            waiting.add(job);
            self.filled.notify_one();
        }
        waiting.report(&self.metrics);
    }

    /// The next calls that one statement can do; nothing once the queue is closed.
    pub(super) async fn take(&self) -> Option<Vec<Job>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.closed {
                    self.filled.notify_one();
                    return None;
                }
                if let Some(batch) = waiting.batch() {
                    waiting.report(&self.metrics);
                    if waiting.count > 0 {
                        self.filled.notify_one();
                    }
                    return Some(batch);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Ends the workers; what waits is dropped, which its callers notice.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        *waiting = Waiting { closed: true, reported: waiting.reported, ..Waiting::default() };
        waiting.report(&self.metrics);
        drop(waiting);
        self.filled.notify_one();
    }
}

impl Waiting {
    fn report(&mut self, metrics: &ResolverMetrics) {
        let count = i64::try_from(self.count).unwrap_or(i64::MAX);
        metrics.queue.inc_by(count - self.reported);
        self.reported = count;
    }

    fn add(&mut self, job: Job) {
        if self.closed {
            return;
        }
        let key = job.key();
        let group = self.jobs.entry(key.clone()).or_default();
        if group.is_empty() {
            self.turns.push_back(key);
        }
        group.push_back(job);
        self.count += 1;
    }

    fn batch(&mut self) -> Option<Vec<Job>> {
        let key = self.turns.pop_front()?;
        let mut group = self.jobs.remove(&key)?;
        let rest = group.split_off(group.len().min(BATCH_CALLS_MAX));
        self.count -= group.len();
        if !rest.is_empty() {
            self.jobs.insert(key.clone(), rest);
            self.turns.push_back(key);
        }
        Some(group.into())
    }
}
