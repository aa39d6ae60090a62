//! Reservations of one process, gone with it: for a daemon that is alone, and for tests.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;

use super::owner::{Owner, Principal};
use super::reservation::{
    Document, Documents, Fulfilment, LEASE, Operation, Renewal, ReservationLimits, ReservationStore,
    Revocation, Served, StoreError, Stored, request_bytes,
};
use super::token::TokenHash;

/// Pause between two removals of what has expired.
const SWEEP: Duration = Duration::from_secs(60);

/// Bytes of all requests; one more operation is refused as if there were no room for reservations.
const BYTES_MAX: usize = 256 << 20;

/// Reservations in memory.
#[derive(Debug)]
pub struct MemoryStore {
    limits: ReservationLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    reservations: HashMap<TokenHash, Reservation>,
    swept: Instant,
    bytes: usize,
}

#[derive(Debug)]
struct Reservation {
    owner: Owner,
    seen: Instant,
    expires: Instant,
    documents: Documents,
    bytes: usize,
    served: Option<(Served, Instant)>,
    place: Option<Arc<str>>,
}

impl Reservation {
    /// Who serves it, unless the lease is over.
    fn served(&self) -> Option<Served> {
        let (served, until) = self.served.as_ref()?;
        (*until > Instant::now()).then(|| served.clone())
    }

    fn is_served_by(&self, stream: i64) -> bool {
        self.served.as_ref().is_some_and(|(served, _)| served.stream == stream)
    }
}

impl State {
    fn get(&mut self, token: TokenHash, principal: &Principal) -> Result<&mut Reservation, StoreError> {
        let found = self.reservations.get_mut(&token);
        found
            .filter(|found| found.owner.principal == *principal && found.expires > Instant::now())
            .ok_or(StoreError::Unknown)
    }

    fn remove_where(&mut self, gone: impl Fn(&Reservation) -> bool) {
        let mut freed = 0;
        self.reservations.retain(|_, reservation| {
            let goes = gone(reservation);
            freed += if goes { reservation.bytes } else { 0 };
            !goes
        });
        self.bytes -= freed;
    }

    /// Makes room for one more of an owner: how many had to go.
    fn make_room(&mut self, owner: &Principal, per_user: usize) -> Result<usize, StoreError> {
        let of_owner = self.reservations.iter().filter(|(_, found)| found.owner.principal == *owner);
        let mut all: Vec<_> =
            of_owner.map(|(token, found)| (found.seen, *token, found.served().is_some())).collect();
        let excess = (all.len() + 1).saturating_sub(per_user);
        all.retain(|(_, _, served)| !served);
        all.sort_unstable_by_key(|(seen, ..)| *seen);
        if all.len() < excess {
            return Err(StoreError::TooManyStreams);
        }
        for (_, token, _) in &all[..excess] {
            self.bytes -= self.reservations.remove(token).map_or(0, |gone| gone.bytes);
        }
        Ok(excess)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new(limits: ReservationLimits) -> Self {
        let state = State { reservations: HashMap::new(), swept: Instant::now(), bytes: 0 };
        Self { limits, state: Mutex::new(state) }
    }

    fn reserve_now(&self, token: TokenHash, owner: Owner) -> Result<usize, StoreError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        if now - state.swept > SWEEP || state.reservations.len() >= self.limits.total {
            state.swept = now;
            state.remove_where(|reservation| reservation.expires <= now);
        }
        let evicted = match self.limits.of(&owner) {
            Some(most) => state.make_room(&owner.principal, most)?,
            None => 0,
        };
        if state.reservations.len() >= self.limits.total {
            return Err(StoreError::Full);
        }
        let reservation = Reservation {
            owner,
            seen: now,
            expires: now + self.limits.unfulfilled,
            documents: Documents::default(),
            bytes: 0,
            served: None,
            place: None,
        };
        state.reservations.insert(token, reservation);
        Ok(evicted)
    }

    fn store_now(
        &self,
        token: TokenHash,
        principal: &Principal,
        operation: Operation,
    ) -> Result<Option<Served>, StoreError> {
        let mut state = self.state.lock();
        let (bytes, used) = (request_bytes(&operation.request), state.bytes);
        let reservation = state.get(token, principal)?;
        let documents = &mut reservation.documents;
        if documents.all.iter().any(|document| document.operation.id == operation.id) {
            return Err(StoreError::Taken);
        }
        if documents.all.len() >= self.limits.documents {
            return Err(StoreError::TooManyDocuments);
        }
        if reservation.bytes + bytes > self.limits.bytes {
            return Err(StoreError::TooLarge);
        }
        if used + bytes > BYTES_MAX {
            return Err(StoreError::Full);
        }
        documents.revision += 1;
        documents.all.push(Document { number: documents.revision, operation });
        reservation.bytes += bytes;
        let served = reservation.served();
        state.bytes += bytes;
        Ok(served)
    }

    fn delete_where(
        state: &mut State,
        token: TokenHash,
        goes: impl Fn(&Document) -> bool,
    ) -> Option<&mut Reservation> {
        let reservation = state.reservations.get_mut(&token)?;
        let mut freed = 0;
        reservation.documents.all.retain(|document| {
            let goes = goes(document);
            freed += if goes { request_bytes(&document.operation.request) } else { 0 };
            !goes
        });
        reservation.bytes -= freed;
        state.bytes -= freed;
        Some(reservation)
    }

    fn fulfil_now(
        &self,
        token: TokenHash,
        principal: &Principal,
        served: Served,
        take_over: bool,
    ) -> Result<Fulfilment, StoreError> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let reservation = state.get(token, principal)?;
        let before = reservation.served();
        if let Some(by) = before.as_ref().filter(|_| !take_over) {
            return Err(StoreError::Open(by.clone()));
        }
        reservation.served = Some((served, now + LEASE));
        reservation.seen = now;
        reservation.expires = now + LEASE + self.limits.idle;
        Ok(Fulfilment { place: reservation.place.clone(), before, documents: reservation.documents.clone() })
    }

    /// Notes what a stream says, if it still serves its reservation. Returns the revision then.
    fn note(&self, renewal: Renewal, goes_on: bool) -> Option<i64> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let reservation = state.reservations.get_mut(&renewal.token)?;
        if !reservation.is_served_by(renewal.stream) {
            return None;
        }
        let served = reservation.served.take();
        reservation.served = served.filter(|_| goes_on).map(|(served, _)| (served, now + LEASE));
        reservation.seen = now;
        reservation.expires = now + self.limits.idle + if goes_on { LEASE } else { Duration::ZERO };
        if renewal.place.is_some() {
            reservation.place = renewal.place;
        }
        Some(reservation.documents.revision)
    }
}

impl ReservationStore for MemoryStore {
    fn reserve(&self, token: TokenHash, owner: Owner) -> Stored<'_, usize> {
        async move { self.reserve_now(token, owner) }.boxed()
    }

    fn find(&self, token: TokenHash, principal: Principal) -> Stored<'_, ()> {
        async move { self.state.lock().get(token, &principal).map(drop) }.boxed()
    }

    fn store(
        &self,
        token: TokenHash,
        principal: Principal,
        operation: Operation,
    ) -> Stored<'_, Option<Served>> {
        async move { self.store_now(token, &principal, operation) }.boxed()
    }

    fn delete(&self, token: TokenHash, principal: Principal, id: Arc<str>) -> Stored<'_, Option<Served>> {
        async move {
            let mut state = self.state.lock();
            state.get(token, &principal)?;
            let deleted = Self::delete_where(&mut state, token, |document| document.operation.id == id);
            let reservation = deleted.ok_or(StoreError::Unknown)?;
            reservation.documents.revision += 1;
            Ok(reservation.served())
        }
        .boxed()
    }

    fn fulfil(
        &self,
        token: TokenHash,
        principal: Principal,
        served: Served,
        take_over: bool,
    ) -> Stored<'_, Fulfilment> {
        async move { self.fulfil_now(token, &principal, served, take_over) }.boxed()
    }

    fn void(&self, token: TokenHash) -> Stored<'_, ()> {
        async move {
            let mut state = self.state.lock();
            state.bytes -= state.reservations.remove(&token).map_or(0, |gone| gone.bytes);
            Ok(())
        }
        .boxed()
    }

    fn renew(&self, renewals: Vec<Renewal>) -> Stored<'_, HashMap<i64, i64>> {
        let renewed = renewals.into_iter().filter_map(|renewal| {
            let stream = renewal.stream;
            Some((stream, self.note(renewal, true)?))
        });
        let renewed = renewed.collect();
        async move { Ok(renewed) }.boxed()
    }

    fn documents(&self, token: TokenHash) -> Stored<'_, Documents> {
        async move {
            let state = self.state.lock();
            Ok(state.reservations.get(&token).ok_or(StoreError::Unknown)?.documents.clone())
        }
        .boxed()
    }

    fn finish(&self, token: TokenHash, numbers: Vec<i64>) -> Stored<'_, ()> {
        async move {
            let mut state = self.state.lock();
            Self::delete_where(&mut state, token, |document| numbers.contains(&document.number));
            Ok(())
        }
        .boxed()
    }

    fn release(&self, last: Renewal) -> Stored<'_, ()> {
        async move {
            self.note(last, false);
            Ok(())
        }
        .boxed()
    }

    fn revoke(&self, whose: Revocation) -> Stored<'_, Vec<Served>> {
        async move {
            let mut state = self.state.lock();
            let of = |reservation: &Reservation| whose.names(&reservation.owner);
            let served = state.reservations.values().filter(|reservation| of(reservation));
            let served = served.filter_map(Reservation::served).collect();
            state.remove_where(of);
            Ok(served)
        }
        .boxed()
    }
}
