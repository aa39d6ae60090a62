//! Results of tables with row security: they are made once the table's policies have admitted the
//! event's own record for the subscriber.

pub(super) mod columns;

mod desk;

mod subscribe;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use crate::event::{Event, Operation};
use crate::graphql::filter::RowFilter;
use crate::graphql::project::ResultPlan;
use crate::hub::mailbox::EndReason;
use crate::hub::project::{ParsedEvent, Predicate, Projection};
use crate::hub::promise::{Deferral, Outcome, Promise};
use crate::source::functions::Caller;

pub(super) use desk::Desk;
pub(super) use subscribe::Asked;

/// Whose view of which table: what one check is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    /// OID of the table.
    pub(super) table: u32,
    pub(super) caller: Caller,
}

/// What is shown of an event that is admitted.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    /// Columns that it shows or that decide about it: without the privilege to see all of them, nothing.
    pub(super) columns: Box<[Box<str>]>,
    /// Whether the record before an UPDATE is shown or decides: then it is checked, too.
    pub(super) old: bool,
    /// The filter, if it looks at the old record: it decides again without one that is not admitted.
    pub(super) filter: Option<Arc<RowFilter>>,
}

impl View {
    /// The result; nothing if the event does not pass the filter without its old record.
    /// `hidden` are columns that the role may not select: not even that they changed is told.
    fn show(&self, result: &ResultPlan, event: &Event, old: bool, hidden: &[Box<str>]) -> Option<Bytes> {
        let changed = event.changed_columns.as_ref().filter(|_| !hidden.is_empty());
        let redacted = changed.map(|changed| Event {
            changed_columns: Some(
                changed.iter().filter(|column| !hidden.contains(column)).cloned().collect(),
            ),
            ..event.clone()
        });
        let mut parsed = ParsedEvent::new(redacted.as_ref().unwrap_or(event));
        if !old {
            parsed.old = None;
        }
        let passes = self.filter.as_ref().is_none_or(|filter| filter.passes(&parsed));
        passes.then(|| result.project(&parsed))
    }
}

/// A result that waits for a check. Interned: equal ones are one.
pub(super) struct Guarded {
    pub(super) subject: Subject,
    pub(super) view: Arc<View>,
    /// Interned, too.
    pub(super) result: Arc<ResultPlan>,
    pub(super) desk: Arc<Desk>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.result, &other.result) && self.subject == other.subject && self.view == other.view
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (Arc::as_ptr(&self.result), &self.subject, &self.view).hash(state);
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Guarded").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Deferral for Guarded {
    fn begin(&self, event: &Arc<Event>, promise: Promise) {
        // It has no record that anybody could be kept from.
        if event.operation == Some(Operation::Truncate) {
            return promise.keep(Outcome::Shown(self.result.project(&ParsedEvent::new(event))));
        }
        self.desk.ask(&self.subject, event, &self.view, &self.result, promise);
    }

    fn broken(&self, _: &Event) -> Outcome {
        Outcome::Lost(EndReason::Undecided)
    }
}
