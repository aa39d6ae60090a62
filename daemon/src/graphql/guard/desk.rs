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
use crate::hub::promise::Promise;
use crate::metrics::RowSecurityMetrics;
use crate::source::functions::CallError;
use crate::source::policies::{Check, Policies, Record};

/// Checks at once. What the pool of the database cannot take yet waits there.
const CHECKS_MAX: usize = 8;

/// Records of one check; a statement of so many takes a few milliseconds.
const RECORDS_MAX: usize = 1_000;

/// Bytes of records after which a check takes no more.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Requests that wait; further ones are not shown their event. Mailboxes are full long before.
const REQUESTS_MAX: usize = 1_000_000;

/// Checks of one batch that may fail before what they were about is given up. Halves are tried again, so that
/// one record that cannot be decided hides no other.
const FAILURES_MAX: usize = 16;

/// As how many failures one counts that took all its time: others wait for the connection meanwhile.
const TIMEOUT_FAILURES: usize = 4;

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
    promise: Option<Promise>,
}

impl Request {
    fn show(mut self, old: bool, hidden: &[Box<str>]) {
        let result = self.view.show(&self.result, &self.event.event, old, hidden);
        if let Some(promise) = self.promise.take() {
            promise.keep(result);
        }
    }
}

impl Drop for Request {
    /// Whatever happens to a request, an event that was not admitted is not shown.
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            promise.keep(None);
        }
    }
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
    admitted: Vec<bool>,
    hidden: Vec<Box<str>>,
    failed: usize,
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
        let request = Request { event, view: view.clone(), result: result.clone(), promise: Some(promise) };
        let mut waiting = self.waiting.lock();
        if waiting.count >= REQUESTS_MAX {
            drop(waiting);
            self.metrics.count("overloaded", 1);
            return;
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
        let admitted = found.admitted.iter().filter(|admitted| **admitted).count();
        self.metrics.count("admitted", admitted);
        self.metrics.count("failed", found.failed);
        self.metrics.count("denied", records.len() - admitted - found.failed);
        let mut places = records.iter().zip(&found.admitted).peekable();
        for awaited in batch {
            let record = places.next().is_some_and(|(_, admitted)| *admitted);
            let old = places.next_if(|(record, _)| record.old).is_some_and(|(_, admitted)| *admitted);
            if !record {
                continue;
            }
            for request in awaited.requests {
                // The privilege may have gone since the subscription began.
                if !request.view.columns.iter().any(|column| found.hidden.contains(column)) {
                    request.show(old, &found.hidden);
                }
            }
        }
    }

    /// Asks for all records at once, and for halves of what fails.
    async fn check(&self, subject: &Subject, records: &[Record]) -> Found {
        let mut found = Found { admitted: vec![false; records.len()], hidden: Vec::new(), failed: 0 };
        let mut failures = 0;
        let mut parts: Vec<Range<usize>> = iter::once(0..records.len()).collect();
        while let Some(part) = parts.pop() {
            self.metrics.checks.inc();
            let (table, caller) = (subject.table, subject.caller.clone());
            let check = Check { table, caller, records: records[part.clone()].to_vec() };
            match self.policies.check(Arc::new(check)).await {
                Ok(verdict) => {
                    for place in verdict.admitted {
                        if let Some(admitted) = found.admitted[part.clone()].get_mut(place) {
                            *admitted = true;
                        }
                    }
                    found.hidden.extend(verdict.hidden);
                }
                Err(error) if part.len() > 1 && failures < FAILURES_MAX && may_pass_by_half(&error) => {
                    failures += if error == CallError::Timeout { TIMEOUT_FAILURES } else { 1 };
                    let middle = part.start + part.len() / 2;
                    parts.push(middle..part.end);
                    parts.push(part.start..middle);
                }
                Err(error) => {
                    found.failed += part.len();
                    tracing::warn!(
                        table = subject.table,
                        role = %subject.caller.role,
                        records = part.len(),
                        reason = error.kind(),
                        "policies could not be evaluated, so these records are not shown to one identity"
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
        CallError::Overloaded => false,
    }
}
