//! Results that functions take part in: the calls of a subscription, and what becomes of their answers.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::json;
use serde_json::value::RawValue;

use crate::event::{Event, Operation};
use crate::graphql::project::ResultPlan;
use crate::hub::project::ParsedEvent;
use crate::hub::promise::{Deferral, Outcome, Promise};
use crate::source::functions::{Call, CallError, Functions, Resolved};

/// A result with the calls that it needs.
#[derive(Debug)]
pub(super) struct Resolution {
    /// Interned: equal ones are one.
    pub(super) result: Arc<ResultPlan>,
    /// Which call answers each place of the plan.
    pub(super) sites: Arc<[usize]>,
    /// The calls, none twice.
    pub(super) calls: Box<[Call]>,
    pub(super) functions: Arc<dyn Functions>,
    pub(super) answers: Arc<Answers>,
}

impl PartialEq for Resolution {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.result, &other.result) && self.sites == other.sites && self.calls == other.calls
    }
}

impl Eq for Resolution {}

impl Hash for Resolution {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.result), &self.sites, &self.calls).hash(state);
    }
}

impl Deferral for Resolution {
    fn begin(&self, event: &Arc<Event>, promise: Promise) {
        let (result, sites, event) = (self.result.clone(), self.sites.clone(), event.clone());
        // There is no row to make anything of, and the plan says so itself.
        if event.operation == Some(Operation::Truncate) {
            return promise.keep(Outcome::Shown(result.project_resolved(&ParsedEvent::new(&event), &[])));
        }
        let answers = self.answers.of(&event, &self.calls, &*self.functions);
        tokio::spawn(async move {
            let answers = join_all(answers).await;
            let resolved: Vec<Resolved> = sites.iter().map(|call| answers[*call].clone()).collect();
            promise.keep(Outcome::Shown(result.project_resolved(&ParsedEvent::new(&event), &resolved)));
        });
    }

    fn broken(&self, event: &Event) -> Outcome {
        let lost = vec![Err(CallError::Failed); self.sites.len()];
        Outcome::Shown(self.result.project_resolved(&ParsedEvent::new(event), &lost))
    }
}

/// An answer that all who made the same call wait for.
type Answer = Shared<BoxFuture<'static, Resolved>>;

/// The calls that were made for the event that is being dispatched, whichever subscriptions need them.
/// Events are dispatched one after the other, so those of the last one are all that can be shared.
#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<OfEvent>);

#[derive(Debug, Default)]
struct OfEvent {
    /// Kept, so that its address cannot become another's.
    event: Option<Arc<Event>>,
    json: Arc<str>,
    answers: HashMap<Call, Answer>,
}

impl Answers {
    fn of(&self, event: &Arc<Event>, calls: &[Call], functions: &dyn Functions) -> Vec<Answer> {
        let mut last = self.0.lock();
        if !last.event.as_ref().is_some_and(|last| Arc::ptr_eq(last, event)) {
            *last =
                OfEvent { event: Some(event.clone()), json: to_json(event).into(), answers: HashMap::new() };
        }
        let OfEvent { json, answers, .. } = &mut *last;
        let mut answer = |call: &Call| match answers.get(call) {
            Some(answer) => answer.clone(),
            None => {
                let answer = functions.resolve(call.clone(), json.clone()).shared();
                answers.insert(call.clone(), answer.clone());
                answer
            }
        };
        calls.iter().map(&mut answer).collect()
    }
}

/// The event as functions get it.
fn to_json(event: &Event) -> String {
    // PostgreSQL stores nothing but JSON there; an embedding program may publish anything.
    let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).ok();
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        id: i64,
        channel: &'a str,
        r#type: &'a str,
        data: Option<Box<RawValue>>,
        metadata: Option<Box<RawValue>>,
        tenant_id: Option<&'a str>,
        user_id: Option<&'a str>,
        created_at: Option<String>,
    }
    let shown = Shown {
        id: event.id,
        channel: &event.channel,
        r#type: &event.event_type,
        data: raw(&event.payload),
        metadata: event.metadata.as_deref().and_then(raw),
        tenant_id: event.tenant_id.as_deref(),
        user_id: event.user_id.as_deref(),
        created_at: Timestamp::from_microsecond(event.created_at_us).ok().map(|time| time.to_string()),
    };
    serde_json::to_string(&shown).unwrap_or_else(|_| json!({ "id": event.id }).to_string())
}
