//! Where requests wait for a check: by subject, until a connection is free. What waits for a subject by
//! then is one check, whoever and however many asked.

use std::collections::{HashMap, VecDeque};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Subject, View};
use crate::event::{Event, Members, Operation};
use crate::graphql::project::ResultPlan;
use crate::hub::mailbox::EndReason;
use crate::hub::promise::{Outcome, Promise};
use crate::metrics::RowSecurityMetrics;
use crate::source::functions::CallError;
use crate::source::policies::{Check, Policies, Record};

/// Checks at once. What the pool of the database cannot take yet waits there.
const CHECKS_MAX: usize = 8;

/// Records of one check; a statement of so many takes a few milliseconds.
const RECORDS_MAX: usize = 1_000;

/// Bytes of records after which a check takes no more.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests that wait; the subscriptions of further ones end. Mailboxes are full long before.
const REQUESTS_MAX: usize = 1_000_000;

/// Checks of one batch that may fail before what they were about is given up. Halves are tried again, so that
/// one record that cannot be decided hides no other.
const FAILURES_MAX: usize = 16;

/// As how many failures one counts that took all its time: others wait for the connection meanwhile.
const TIMEOUT_FAILURES: usize = 4;

/// As how many failures one counts that found no database: the whole part is tried again.
const UNAVAILABLE_FAILURES: usize = 6;

/// An event with the columns of its records, which every check of it needs.
#[derive(Debug)]
struct Known {
    event: Arc<Event>,
    columns: Arc<[Box<str>]>,
    old_columns: Arc<[Box<str>]>,
}

impl Known {
    fn of(event: &Arc<Event>) -> Self {
        let columns = |json: &str| Members::parse(json).names().map(Into::into).collect();
        Self {
            event: event.clone(),
            columns: columns(&event.payload),
            old_columns: columns(event.old_payload.as_deref().unwrap_or_default()),
        }
    }
}

/// Somebody who waits for an event.
pub(super) struct Request {
    event: Arc<Known>,
    view: Arc<View>,
    result: Arc<ResultPlan>,
    promise: Promise,
}

impl Request {
    fn answer(self, record: Decision, old: Decision, hidden: &[Box<str>]) {
        self.promise.keep(match record {
            Decision::Denied | Decision::Raised => Outcome::Hidden,
            Decision::None => Outcome::Lost(EndReason::Undecided),
            // The privilege may have gone since the subscription began.
            Decision::Admitted if self.view.columns.iter().any(|column| hidden.contains(column)) => {
                Outcome::Hidden
            }
            Decision::Admitted if self.view.old && old == Decision::None => {
                Outcome::Lost(EndReason::Undecided)
            }
            Decision::Admitted => {
                let old = old == Decision::Admitted;
                let shown = self.view.show(&self.result, &self.event.event, old, hidden);
                shown.map_or(Outcome::Hidden, Outcome::Shown)
            }
        });
    }
}

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Admitted,
    Denied,
    /// The policies raise an error over it, as a SELECT would: it is not to be seen.
    Raised,
    /// Nobody could say in time.
    None,
}

/// An event with all who wait for it.
struct Awaited {
    event: Arc<Known>,
    requests: Vec<Request>,
    /// Whether somebody needs the old record.
    old: bool,
}

/// The desk.
#[derive(Debug)]
pub(in crate::graphql) struct Desk {
    policies: Arc<dyn Policies>,
    metrics: RowSecurityMetrics,
    permits: Semaphore,
    waiting: Mutex<Waiting>,
    /// The event that was asked for last: those who may see it ask one after the other.
    last: Mutex<Option<Arc<Known>>>,
}

/// A queue for each subject that is being served.
#[derive(Default)]
struct Waiting {
    queues: HashMap<Subject, VecDeque<Request>>,
    count: usize,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Waiting").field("count", &self.count).finish_non_exhaustive()
    }
}

/// What a check of a batch has found.
struct Found {
    decisions: Vec<Decision>,
    hidden: Vec<Box<str>>,
}

impl Desk {
    pub(in crate::graphql) fn new(policies: Arc<dyn Policies>, metrics: RowSecurityMetrics) -> Self {
        let permits = Semaphore::new(CHECKS_MAX);
        Self { policies, metrics, permits, waiting: Mutex::default(), last: Mutex::default() }
    }

    /// Takes a request, which waits for its subject's next turn.
    pub(super) fn ask(
        self: &Arc<Self>,
        subject: &Subject,
        event: &Arc<Event>,
        view: &Arc<View>,
        result: &Arc<ResultPlan>,
        promise: Promise,
    ) {
        let event = self.known(event);
        let request = Request { event, view: view.clone(), result: result.clone(), promise };
        let mut waiting = self.waiting.lock();
        if waiting.count >= REQUESTS_MAX {
            drop(waiting);
            self.metrics.count("overloaded", 1);
            return request.promise.keep(Outcome::Lost(EndReason::Undecided));
        }
        waiting.count += 1;
        if let Some(queue) = waiting.queues.get_mut(subject) {
            return queue.push_back(request);
        }
        waiting.queues.insert(subject.clone(), VecDeque::from([request]));
        drop(waiting);
        tokio::spawn(self.clone().serve(subject.clone()));
    }

    fn known(&self, event: &Arc<Event>) -> Arc<Known> {
        let mut last = self.last.lock();
        match &*last {
            Some(known) if Arc::ptr_eq(&known.event, event) => known.clone(),
            _ => last.insert(Arc::new(Known::of(event))).clone(),
        }
    }

    /// Serves a subject until nobody waits for it.
    async fn serve(self: Arc<Self>, subject: Subject) {
        loop {
            let permit = self.permits.acquire().await;
            let batch = self.take(&subject);
            if batch.is_empty() {
                return;
            }
            // In a task of its own: a defect costs this batch and not the subject.
            if let Err(error) = tokio::spawn(self.clone().settle(subject.clone(), batch)).await {
                tracing::error!(%error, table = subject.table, "a check of policies was lost");
            }
            drop(permit);
        }
    }

    /// The next batch of a subject, whose queue ends with its last.
    fn take(&self, subject: &Subject) -> Vec<Awaited> {
        let mut waiting = self.waiting.lock();
        let Waiting { queues, count } = &mut *waiting;
        let Some(queue) = queues.get_mut(subject) else { return Vec::new() };
        let mut batch: Vec<Awaited> = Vec::new();
        let mut bytes = 0;
        while let Some(request) = queue.front() {
            // All who wait for an event asked one after the other.
            let known = batch.last().is_some_and(|last| Arc::ptr_eq(&last.event, &request.event));
            if !known && (batch.len() >= RECORDS_MAX || bytes >= BYTES_MAX) {
                break;
            }
            let Some(request) = queue.pop_front() else { break };
            *count -= 1;
            if !known {
                let event = &request.event.event;
                bytes += event.payload.len() + event.old_payload.as_ref().map_or(0, |old| old.len());
                batch.push(Awaited { event: request.event.clone(), requests: Vec::new(), old: false });
            }
            if let Some(last) = batch.last_mut() {
                last.old |= request.view.old;
                last.requests.push(request);
            }
        }
        if batch.is_empty() {
            queues.remove(subject);
        }
        batch
    }

    async fn settle(self: Arc<Self>, subject: Subject, batch: Vec<Awaited>) {
        let mut records = Vec::with_capacity(batch.len());
        for Awaited { event: known, old, .. } in &batch {
            let Known { event, columns, old_columns } = &**known;
            records.push(Record { event: event.clone(), old: false, columns: columns.clone() });
            if *old && event.operation == Some(Operation::Update) && event.old_payload.is_some() {
                records.push(Record { event: event.clone(), old: true, columns: old_columns.clone() });
            }
        }
        let found = self.check(&subject, &records).await;
        for (result, decision) in [
            ("admitted", Decision::Admitted),
            ("denied", Decision::Denied),
            ("failed", Decision::Raised),
            ("undecided", Decision::None),
        ] {
            self.metrics.count(result, found.decisions.iter().filter(|it| **it == decision).count());
        }
        let mut places = records.iter().zip(&found.decisions).peekable();
        for awaited in batch {
            let record = places.next().map_or(Decision::None, |(_, decision)| *decision);
            let old = places.next_if(|(record, _)| record.old);
            let old = old.map_or(Decision::Denied, |(_, decision)| *decision);
            for request in awaited.requests {
                request.answer(record, old, &found.hidden);
            }
        }
    }

    /// Asks for all records at once, and for halves of what fails.
    async fn check(&self, subject: &Subject, records: &[Record]) -> Found {
        let mut found = Found { decisions: vec![Decision::None; records.len()], hidden: Vec::new() };
        let mut failures = 0;
        let mut parts: Vec<Range<usize>> = iter::once(0..records.len()).collect();
        while let Some(part) = parts.pop() {
            self.metrics.checks.inc();
            let (table, caller) = (subject.table, subject.caller.clone());
            let check = Check { table, caller, records: records[part.clone()].to_vec() };
            match self.policies.check(Arc::new(check)).await {
                Ok(verdict) => {
                    let decisions = &mut found.decisions[part];
                    decisions.fill(Decision::Denied);
                    for place in verdict.admitted {
                        if let Some(decision) = decisions.get_mut(place) {
                            *decision = Decision::Admitted;
                        }
                    }
                    found.hidden.extend(verdict.hidden);
                }
                Err(CallError::Unavailable) if failures < FAILURES_MAX => {
                    failures += UNAVAILABLE_FAILURES;
                    parts.push(part);
                }
                Err(error) if part.len() > 1 && failures < FAILURES_MAX && may_pass_by_half(&error) => {
                    failures += if error == CallError::Timeout { TIMEOUT_FAILURES } else { 1 };
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
                Err(error) => {
                    let raised = part.len() == 1 && is_a_decision(&error);
                    if raised {
                        found.decisions[part.clone()].fill(Decision::Raised);
                    }
                    tracing::warn!(
                        table = subject.table,
                        role = %subject.caller.role,
                        records = part.len(),
                        reason = error.kind(),
                        "{}",
                        if raised {
                            "policies raise an error over a record, so one identity does not see it"
                        } else {
                            "policies could not be evaluated, so subscriptions of one identity end here"
                        }
                    );
                }
            }
        }
        found
    }
}

/// Whether half of the records may be decided where all of them could not.
fn may_pass_by_half(error: &CallError) -> bool {
    match error {
        CallError::Raised(_) | CallError::Failed | CallError::Timeout => true,
        CallError::Unavailable | CallError::Overloaded => false,
    }
}

/// Whether the error is the database's answer about a record, and not the lack of one.
fn is_a_decision(error: &CallError) -> bool {
    matches!(error, CallError::Raised(_) | CallError::Failed)
}
