//! What waits for a connection: calls, grouped by what one statement can do together.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::rows::Reading;
use crate::metrics::ResolverMetrics;
use crate::source::functions::{Call, CallError, Caller, FunctionName};
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

    /// What it shares the blame with, should it be slow.
    pub(super) fn lane(&self) -> Lane {
        match &self.question {
            Question::Resolve(_) | Question::Authorize => Lane::Function(self.call.function.clone()),
            Question::Check(check) => Lane::Table(check.table, check.caller.role.clone()),
            Question::Read(_) => Lane::Caller(self.call.caller.clone()),
        }
    }

    fn key(&self) -> Key {
        let authorizes = matches!(self.question, Question::Authorize);
        Key { call: self.call.clone(), authorizes, alone: self.alone }
    }
}

/// What may take its time without taking everybody else's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// Calls of one function.
    Function(Arc<FunctionName>),
    /// Checks of one table's policies for one role.
    Table(u32, Arc<str>),
    /// Reads for one caller.
    Caller(Caller),
}

/// How many connections lanes may have at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    /// One lane: all but one, which is left for others.
    lane: usize,
    /// All lanes together that were slow when they last ran: half of them.
    slow: usize,
    /// From when on a lane counts as slow.
    slow_after: Duration,
}

impl Share {
    pub(super) fn of(connections: usize, slow_after: Duration) -> Self {
        Self { lane: (connections - 1).max(1), slow: (connections / 2).max(1), slow_after }
    }
}

/// Most lanes that are remembered as slow. Beyond it all are forgotten, and show themselves again.
const SLOW_LANES_MAX: usize = 10_000;

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
    /// Statements under way, by lane.
    running: HashMap<Lane, usize>,
    /// Lanes that were slow when they last ran.
    slow: HashSet<Lane>,
}

/// The queue of all workers.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    share: Share,
    jobs_max: usize,
    filled: Notify,
    pub(super) metrics: ResolverMetrics,
}

/// The queue holds all that it may.
#[derive(Debug)]
pub(super) struct Full;

impl Queue {
    pub(super) fn new(jobs_max: usize, share: Share, metrics: ResolverMetrics) -> Self {
        Self { waiting: Mutex::default(), share, jobs_max, filled: Notify::new(), metrics }
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

    /// A statement of a lane is over.
    pub(super) fn done(&self, lane: &Lane, took: Duration) {
        let mut waiting = self.waiting.lock();
        if let Some(running) = waiting.running.get_mut(lane) {
            *running -= 1;
            if *running == 0 {
                waiting.running.remove(lane);
            }
        }
        if took < self.share.slow_after {
            waiting.slow.remove(lane);
        } else {
            if waiting.slow.len() >= SLOW_LANES_MAX {
                waiting.slow.clear();
            }
            waiting.slow.insert(lane.clone());
        }
        drop(waiting);
        // Whoever waits for this lane may go on.
        self.filled.notify_one();
    }

    /// The next calls that one statement can do; nothing once the queue is closed. Call
    /// [`Queue::done`] afterwards.
    pub(super) async fn take(&self) -> Option<Vec<Job>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.closed {
                    self.filled.notify_one();
                    return None;
                }
                if let Some(batch) = waiting.batch(self.share) {
                    waiting.report(&self.metrics);
                    if waiting.next(self.share).is_some() {
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

    /// The place of the first whose lane may have another connection.
    fn next(&self, share: Share) -> Option<usize> {
        let slow: usize = self
            .running
            .iter()
            .filter(|(lane, _)| self.slow.contains(lane))
            .map(|(_, running)| running)
            .sum();
        let may = |lane: &Lane| {
            let running = self.running.get(lane).copied().unwrap_or(0);
            running < share.lane && (slow < share.slow || !self.slow.contains(lane))
        };
        // Many have the same lane.
        let mut refused = HashSet::new();
        self.turns.iter().position(|key| {
            let Some(lane) = self.jobs.get(key).and_then(|group| group.front()).map(Job::lane) else {
                return true;
            };
            !refused.contains(&lane) && (may(&lane) || !refused.insert(lane))
        })
    }

    fn batch(&mut self, share: Share) -> Option<Vec<Job>> {
        let key = self.turns.remove(self.next(share)?)?;
        let mut group = self.jobs.remove(&key)?;
        if let Some(first) = group.front() {
            *self.running.entry(first.lane()).or_default() += 1;
        }
        let rest = group.split_off(group.len().min(BATCH_CALLS_MAX));
        self.count -= group.len();
        if !rest.is_empty() {
            self.jobs.insert(key.clone(), rest);
            self.turns.push_back(key);
        }
        Some(group.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Share = Share { lane: 3, slow: 2, slow_after: Duration::from_millis(300) };

    fn queue() -> Queue {
        Queue::new(100, SHARE, ResolverMetrics::default())
    }

    /// A call of a function by somebody.
    fn push(queue: &Queue, name: &str, user: &str) {
        let function = FunctionName { schema: "app".into(), name: name.into() };
        let caller = Caller { role: "web".into(), claims: user.into() };
        let call = Call { function: Arc::new(function), caller, arguments: "{}".into() };
        queue.push(Job::new(call, Question::Authorize, oneshot::channel().0)).unwrap();
    }

    /// The function whose call is made next, if any may be.
    fn take(queue: &Queue) -> Option<String> {
        let batch = queue.waiting.lock().batch(SHARE)?;
        Some(batch[0].call.function.name.to_string())
    }

    fn done(queue: &Queue, name: &str, ms: u64) {
        let function = FunctionName { schema: "app".into(), name: name.into() };
        queue.done(&Lane::Function(Arc::new(function)), Duration::from_millis(ms));
    }

    #[test]
    fn one_function_leaves_a_connection_to_others() {
        let queue = queue();
        for user in 0..5 {
            push(&queue, "a", &user.to_string());
        }
        push(&queue, "b", "x");
        let taken: Vec<_> = std::iter::from_fn(|| take(&queue)).collect();
        assert_eq!(taken, ["a", "a", "a", "b"]);
        done(&queue, "a", 1);
        assert_eq!(take(&queue).as_deref(), Some("a"));
        assert_eq!(take(&queue), None);
    }

    #[test]
    fn slow_functions_have_half_of_the_connections_together() {
        let queue = queue();
        for name in ["a", "b"] {
            push(&queue, name, "first");
            assert_eq!(take(&queue).as_deref(), Some(name));
            done(&queue, name, 500);
        }
        for (name, user) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2"), ("c", "1")] {
            push(&queue, name, user);
        }
        let taken: Vec<_> = std::iter::from_fn(|| take(&queue)).collect();
        assert_eq!(taken, ["a", "b", "c"]);
        done(&queue, "a", 1);
        assert_eq!(take(&queue).as_deref(), Some("a"), "it is not slow any more");
        assert_eq!(take(&queue).as_deref(), Some("b"), "one slow function runs");
        assert_eq!(take(&queue), None);
    }
}
