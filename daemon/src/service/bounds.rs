//! Where a subscription can go on whose cursor is of no use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::hub::mailbox::{Bounds, CursorText};
use crate::source::history::{History, Missing};

/// How long the oldest cursor is told without another look: bad cursors cost few statements.
const AGE_MAX: Duration = Duration::from_secs(1);

/// How long somebody with a bad cursor is kept waiting for it.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Knows the oldest cursor that is of use.
#[derive(Debug)]
pub(super) struct Oldest {
    history: Arc<dyn History>,
    known: Mutex<Option<(Instant, CursorText)>>,
}

impl Oldest {
    pub(super) fn new(history: Arc<dyn History>) -> Self {
        Self { history, known: Mutex::default() }
    }

    /// Where to go on with everything that is still there, or with what happens after the newest cursor.
    pub(super) async fn bounds(&self, newest: CursorText) -> Bounds {
        Bounds { oldest: self.oldest().await.unwrap_or_default(), newest }
    }

    /// The history has changed.
    pub(super) fn forget(&self) {
        *self.known.lock() = None;
    }

    async fn oldest(&self) -> Option<CursorText> {
        let fresh = |(at, _): &&(Instant, _)| at.elapsed() < AGE_MAX;
        if let Some((_, known)) = self.known.lock().as_ref().filter(fresh) {
            return Some(known.clone());
        }
        let nothing = Missing::nothing();
        let moment = tokio::time::timeout(ANSWER_TIME, self.history.moment(&nothing)).await.ok()?.ok()?;
        let oldest = moment.oldest().encode();
        *self.known.lock() = Some((Instant::now(), oldest.clone()));
        Some(oldest)
    }
}
