//! The right to serve the stream of a reservation, for as long as nobody else has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::node::Shared;
use super::reservation::{Documents, Renewal, StoreError};
use super::token::TokenHash;

/// Why a stream must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// Another stream of the same reservation has begun (PROTOCOLS S10).
    TakenOver,
    /// There is no such reservation any more.
    Gone,
}

/// What a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Its operations may have changed.
    Documents,
    /// It must end.
    Lost(Lost),
}

/// A stream that this node serves, or is about to.
#[derive(Debug)]
pub(super) struct Stream {
    token: TokenHash,
    /// Whether the store knows that we serve it.
    begun: AtomicBool,
    /// The revision of the operations that it was last told of.
    revision: AtomicI64,
    changed: AtomicBool,
    lost: Mutex<Option<Lost>>,
    wake: Notify,
    place: Mutex<Place>,
}

/// Where a stream stands, and what of that is stored.
#[derive(Debug, Default)]
struct Place {
    now: Option<Arc<str>>,
    stored: Option<Arc<str>>,
}

impl Stream {
    pub(super) fn new(token: TokenHash) -> Self {
        Self {
            token,
            begun: AtomicBool::new(false),
            revision: AtomicI64::new(0),
            changed: AtomicBool::new(false),
            lost: Mutex::new(None),
            wake: Notify::new(),
            place: Mutex::default(),
        }
    }

    pub(super) fn begin(&self, revision: i64) {
        self.revision.store(revision, Ordering::Relaxed);
        self.begun.store(true, Ordering::Release);
    }

    pub(super) fn set_changed(&self) {
        self.changed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    pub(super) fn lose(&self, lost: Lost) {
        self.lost.lock().get_or_insert(lost);
        self.wake.notify_one();
    }

    /// What is to be stored of it; nothing before it has begun.
    pub(super) fn renewal(&self, number: i64) -> Option<Renewal> {
        let begun = self.begun.load(Ordering::Acquire);
        let place = self.place.lock();
        let changed = place.now != place.stored;
        begun.then(|| Renewal {
            token: self.token,
            stream: number,
            place: place.now.clone().filter(|_| changed),
        })
    }

    /// The lease was renewed.
    pub(super) fn renewed(&self, revision: i64, place: Option<Arc<str>>) {
        if place.is_some() {
            self.place.lock().stored = place;
        }
        if self.revision.swap(revision, Ordering::Relaxed) != revision {
            self.set_changed();
        }
    }
}

/// The right to serve a stream. Dropping it lets others.
#[derive(Debug)]
pub struct Lease {
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    number: i64,
}

impl Lease {
    pub(super) fn new(shared: Arc<Shared>, stream: Arc<Stream>, number: i64) -> Self {
        Self { shared, stream, number }
    }

    /// Waits for the next change. Cancel-safe.
    pub async fn changed(&self) -> Change {
        loop {
            if let Some(lost) = *self.stream.lost.lock() {
                return Change::Lost(lost);
            }
            if self.stream.changed.swap(false, Ordering::AcqRel) {
                return Change::Documents;
            }
            self.stream.wake.notified().await;
        }
    }

    /// Notes where the stream stands, for whoever opens it next.
    pub fn stands_at(&self, place: &Arc<str>) {
        self.stream.place.lock().now = Some(place.clone());
    }

    /// How to read the operations as they are now.
    pub fn documents(&self) -> impl Future<Output = Result<Documents, StoreError>> + Send + 'static {
        let (shared, stream) = (self.shared.clone(), self.stream.clone());
        async move {
            let documents = shared.counted(shared.store.documents(stream.token).await)?;
            stream.revision.store(documents.revision, Ordering::Relaxed);
            Ok(documents)
        }
    }

    /// Voids the reservation: nobody opens it again.
    pub fn void(&self) {
        self.stream.lose(Lost::Gone);
        let (shared, token) = (self.shared.clone(), self.stream.token);
        self.shared.shutdown.spawn(async move {
            let voided = shared.counted(shared.store.void(token).await);
            if let Err(error) = voided {
                tracing::warn!(%error, "a kicked client's reservation could not be voided");
            }
        });
    }

    /// How to remove operations that have ended: their ids are free again.
    pub fn finish(&self, numbers: Vec<i64>) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let (shared, token) = (self.shared.clone(), self.stream.token);
        async move { shared.counted(shared.store.finish(token, numbers).await) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.forget(self.number);
        // A lease that was lost is somebody else's, and one that never began is nobody's.
        let last = self.stream.renewal(self.number).filter(|_| self.stream.lost.lock().is_none());
        if let Some(last) = last {
            let shared = self.shared.clone();
            self.shared.shutdown.spawn(async move {
                // If it fails, the lease ends by itself.
                let _ = shared.counted(shared.store.release(last).await);
            });
        }
    }
}
