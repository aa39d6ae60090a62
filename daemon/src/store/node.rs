//! Reservations as one node sees them: whose streams it serves, and what the others have to be told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::control::{Control, Message, Signal};
use super::lease::{Lease, Lost, Stream};
use super::owner::{Owner, Principal};
use super::reservation::{
    Documents, Fulfilment, LEASE, Operation, Renewal, ReservationStore, Revocation, Served, StoreError,
};
use super::token::{Token, TokenHash};
use crate::metrics::ReservationMetrics;
use crate::shutdown::Shutdown;

/// Time for the lease of a stream that has ended to do so, too, and the pause between two looks.
const RELEASE_TIME: Duration = Duration::from_secs(2);
const RELEASE_PAUSE: Duration = Duration::from_millis(10);

/// Reservations, and the streams that this node serves. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reservations {
    shared: Arc<Shared>,
    _keeping: Arc<DropGuard>,
}

/// What the streams need, too.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn ReservationStore>,
    control: Control,
    node: Arc<str>,
    streams: Mutex<HashMap<i64, Arc<Stream>>>,
    pub(super) metrics: ReservationMetrics,
    pub(super) shutdown: Shutdown,
}

/// A reservation that was opened: its lease, where the stream before stood, and its operations.
#[derive(Debug)]
pub struct Opened {
    /// The right to serve it.
    pub lease: Lease,
    /// Where the stream before stood, if there was one.
    pub place: Option<Arc<str>>,
    /// The operations.
    pub documents: Documents,
}

impl Reservations {
    /// The reservations of a store. Needs a tokio runtime.
    pub fn start(
        store: Arc<dyn ReservationStore>,
        control: Control,
        metrics: ReservationMetrics,
        shutdown: Shutdown,
    ) -> Self {
        let node = node_name();
        let shared = Arc::new(Shared { store, control, node, streams: Mutex::default(), metrics, shutdown });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(keep(shared.clone())));
        Self { shared, _keeping: Arc::new(stop.drop_guard()) }
    }

    /// What this node is called.
    pub fn node(&self) -> &Arc<str> {
        &self.shared.node
    }

    /// Makes a reservation (PROTOCOLS S8).
    ///
    /// # Errors
    ///
    /// If there is no room, or the store does not answer.
    pub async fn reserve(&self, owner: Owner) -> Result<Token, StoreError> {
        let token = Token::mint()?;
        let evicted = self.shared.counted(self.shared.store.reserve(token.hash(), owner).await)?;
        self.shared.metrics.reserved.inc();
        self.shared.metrics.evicted.inc_by(evicted as u64);
        Ok(token)
    }

    /// Whether there is this reservation for this principal.
    ///
    /// # Errors
    ///
    /// If there is not, or the store does not answer.
    pub async fn find(&self, token: TokenHash, principal: Principal) -> Result<(), StoreError> {
        self.shared.counted(self.shared.store.find(token, principal).await)
    }

    /// Stores an operation, and has it begin if its stream is open somewhere.
    ///
    /// # Errors
    ///
    /// If it cannot be stored.
    pub async fn store(
        &self,
        token: TokenHash,
        principal: Principal,
        operation: Operation,
    ) -> Result<(), StoreError> {
        let stored = self.shared.counted(self.shared.store.store(token, principal, operation).await)?;
        self.shared.look(stored);
        Ok(())
    }

    /// Deletes an operation, and has it end if it runs somewhere.
    ///
    /// # Errors
    ///
    /// If there is no such reservation, or the store does not answer.
    pub async fn delete(
        &self,
        token: TokenHash,
        principal: Principal,
        id: Arc<str>,
    ) -> Result<(), StoreError> {
        let deleted = self.shared.counted(self.shared.store.delete(token, principal, id).await)?;
        self.shared.look(deleted);
        Ok(())
    }

    /// Opens the stream of a reservation. One that is open somewhere is taken over only if asked to (S10).
    ///
    /// # Errors
    ///
    /// If there is no such reservation, it is open, or the store does not answer.
    pub async fn open(
        &self,
        token: TokenHash,
        principal: Principal,
        take_over: bool,
    ) -> Result<Opened, StoreError> {
        let stream = Arc::new(Stream::new(token));
        let number: i64 = rand::random();
        // Before it is fulfilled, so that no message about it is missed. Dropped, the lease ends.
        self.shared.streams.lock().insert(number, stream.clone());
        let lease = Lease::new(self.shared.clone(), stream.clone(), number);
        let served = Served { node: self.shared.node.clone(), stream: number };
        let fulfilled = self.fulfil(token, &principal, &served, take_over).await;
        let fulfilled = self.shared.counted(fulfilled)?;
        stream.begin(fulfilled.documents.revision);
        if let Some(before) = fulfilled.before {
            self.shared.metrics.taken_over.inc();
            self.shared.lose(before, Lost::TakenOver);
        }
        Ok(Opened { lease, place: fulfilled.place, documents: fulfilled.documents })
    }

    /// Waits, not for long, for a stream of this node that has just ended: its lease is about to.
    async fn fulfil(
        &self,
        token: TokenHash,
        principal: &Principal,
        served: &Served,
        mut take_over: bool,
    ) -> Result<Fulfilment, StoreError> {
        let began = Instant::now();
        loop {
            let answer = self.shared.store.fulfil(token, principal.clone(), served.clone(), take_over).await;
            match answer {
                Err(StoreError::Open(by)) if self.shared.is_ending(&by) => {
                    tokio::time::sleep(RELEASE_PAUSE).await;
                    // The end of the lease was lost: nobody else knows better than we do.
                    take_over = began.elapsed() >= RELEASE_TIME;
                }
                answer => return answer,
            }
        }
    }

    /// Voids reservations, and has their streams end. Returns how many were open.
    ///
    /// # Errors
    ///
    /// If the store does not answer.
    pub async fn revoke(&self, whose: Revocation) -> Result<usize, StoreError> {
        let open = self.shared.counted(self.shared.store.revoke(whose).await)?;
        let count = open.len();
        open.into_iter().for_each(|served| self.shared.lose(served, Lost::Gone));
        Ok(count)
    }
}

impl Shared {
    /// Whether a stream is one of ours that is no more, though the store does not know yet.
    fn is_ending(&self, served: &Served) -> bool {
        *served.node == *self.node && !self.streams.lock().contains_key(&served.stream)
    }

    /// The stream is no more.
    pub(super) fn forget(&self, number: i64) {
        self.streams.lock().remove(&number);
    }

    /// Counts an answer that did not come.
    pub(super) fn counted<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(answer, Err(StoreError::Unavailable)) {
            self.metrics.store_failures.inc();
        }
        answer
    }

    /// Has a stream look at its operations again.
    fn look(&self, served: Option<Served>) {
        let Some(served) = served else { return };
        if *served.node != *self.node {
            return self.tell(served.stream);
        }
        // If it is not here any more, whoever opens the stream next reads what is stored.
        if let Some(stream) = self.streams.lock().get(&served.stream) {
            stream.set_changed();
        }
    }

    /// Ends a stream.
    fn lose(&self, served: Served, lost: Lost) {
        if *served.node != *self.node {
            return self.tell(served.stream);
        }
        if let Some(stream) = self.streams.lock().get(&served.stream) {
            stream.lose(lost);
        }
    }

    /// Tells the node that serves a stream. It finds out by itself when it renews its leases, but later.
    fn tell(&self, stream: i64) {
        let control = self.control.clone();
        self.shutdown.spawn(async move {
            if let Err(error) = control.send(&Message::Stream(stream)).await {
                tracing::debug!(%error, "another node was not told of a change");
            }
        });
    }

    /// Renews leases: of one stream, or of all.
    async fn renew(&self, only: Option<i64>) {
        let streams: HashMap<i64, Arc<Stream>> = {
            let all = self.streams.lock();
            let wanted = all.iter().filter(|(number, _)| only.is_none_or(|only| only == **number));
            wanted.map(|(number, stream)| (*number, stream.clone())).collect()
        };
        let renewals: Vec<Renewal> =
            streams.iter().filter_map(|(number, stream)| stream.renewal(*number)).collect();
        if renewals.is_empty() {
            // One that is being opened reads its operations once more when it is.
            streams.values().for_each(|stream| stream.set_changed());
            return;
        }
        // Until the store answers again nobody else gets the leases, either.
        let Ok(renewed) = self.counted(self.store.renew(renewals.clone()).await) else { return };
        for renewal in renewals {
            let Some(stream) = streams.get(&renewal.stream) else { continue };
            match renewed.get(&renewal.stream) {
                Some(revision) => stream.renewed(*revision, renewal.place),
                None => {
                    let documents = self.store.documents(renewal.token).await;
                    let gone = matches!(documents, Err(StoreError::Unknown));
                    stream.lose(if gone { Lost::Gone } else { Lost::TakenOver });
                }
            }
        }
    }
}

/// Renews leases for ever, and looks when others say that something has changed.
async fn keep(shared: Arc<Shared>) {
    let mut signals = shared.control.signals();
    let mut due = tokio::time::interval(LEASE / 3);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let only = tokio::select! {
            _ = due.tick() => None,
            signal = signals.next() => match signal {
                Signal::Reconnected => None,
                Signal::Message(Message::Stream(number)) => Some(number),
                // What it voids is gone from the store.
                Signal::Message(Message::Revoked) => continue,
            },
        };
        shared.renew(only).await;
    }
}

/// A name for this process: its host and process id, so that an operator finds it, and a number, because a
/// container's host and process id may come again.
fn node_name() -> Arc<str> {
    const HOST_BYTES_MAX: usize = 64;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let host = &host[..host.floor_char_boundary(HOST_BYTES_MAX)];
    let host = if host.is_empty() { "node" } else { host };
    format!("{host}/{}/{:08x}", std::process::id(), rand::random::<u32>()).into()
}
