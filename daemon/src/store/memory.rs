//! Reservations of one process, gone with it: for a daemon that is alone, and for tests.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graphql::request::Request;
    use crate::hub::audience::Identity;
    use crate::store::token::Token;

    fn owner(user: Option<&str>) -> Owner {
        Owner::of(&Identity { user: user.map(Into::into), ..Identity::default() })
    }

    fn store(per_user: usize, total: usize) -> MemoryStore {
        MemoryStore::new(ReservationLimits { per_user, total, ..ReservationLimits::default() })
    }

    fn served(stream: i64) -> Served {
        Served { node: "n".into(), stream }
    }

    fn operation(id: &str) -> Operation {
        let request = Request { query: "{a}".into(), ..Request::default() };
        Operation { id: id.into(), request, start: None }
    }

    async fn reserve(store: &MemoryStore, owner: &Owner) -> Result<TokenHash, StoreError> {
        let token = Token::mint().unwrap().hash();
        store.reserve(token, owner.clone()).await.map(|_| token)
    }

    #[tokio::test]
    async fn one_more_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let (store, ann) = (store(2, 10), owner(Some("ann")));
        let (first, second) = (reserve(&store, &ann).await.unwrap(), reserve(&store, &ann).await.unwrap());
        store.fulfil(first, ann.principal.clone(), served(1), false).await.unwrap();
        let third = reserve(&store, &ann).await.unwrap();
        assert_eq!(store.find(second, ann.principal.clone()).await, Err(StoreError::Unknown));
        store.find(first, ann.principal.clone()).await.unwrap();
        store.fulfil(third, ann.principal.clone(), served(2), false).await.unwrap();
        assert_eq!(reserve(&store, &ann).await, Err(StoreError::TooManyStreams));
        reserve(&store, &owner(Some("bob"))).await.unwrap();
    }

    #[tokio::test]
    async fn the_total_is_bounded_for_those_without_a_user_too() {
        let (store, nobody) = (store(1, 3), owner(None));
        for _ in 0..3 {
            reserve(&store, &nobody).await.unwrap();
        }
        assert_eq!(reserve(&store, &nobody).await, Err(StoreError::Full));
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_over_is_not_renewed() {
        let (store, ann) = (store(2, 10), owner(Some("ann")));
        let token = reserve(&store, &ann).await.unwrap();
        let principal = ann.principal.clone();
        store.fulfil(token, principal.clone(), served(1), false).await.unwrap();
        let again = store.fulfil(token, principal.clone(), served(2), false).await;
        assert!(matches!(again, Err(StoreError::Open(_))));
        let taken = store.fulfil(token, principal.clone(), served(2), true).await.unwrap();
        assert_eq!(taken.before, Some(served(1)));
        let renewal = |stream, place: &str| Renewal { token, stream, place: Some(place.into()) };
        let renewed = store.renew(vec![renewal(1, "old"), renewal(2, "new")]).await.unwrap();
        assert_eq!(renewed, HashMap::from([(2, 0)]));
        store.release(renewal(1, "old")).await.unwrap();
        store.release(renewal(2, "newer")).await.unwrap();
        let fulfilled = store.fulfil(token, principal, served(3), false).await.unwrap();
        assert_eq!(fulfilled.place.as_deref(), Some("newer"));
    }

    #[tokio::test]
    async fn an_operation_id_is_taken_until_its_operation_is_over() {
        let (store, ann) = (store(2, 10), owner(Some("ann")));
        let (token, principal) = (reserve(&store, &ann).await.unwrap(), ann.principal.clone());
        store.store(token, principal.clone(), operation("1")).await.unwrap();
        assert_eq!(store.store(token, principal.clone(), operation("1")).await, Err(StoreError::Taken));
        store.finish(token, vec![1]).await.unwrap();
        store.store(token, principal.clone(), operation("1")).await.unwrap();
        let documents = store.documents(token).await.unwrap();
        assert_eq!((documents.revision, documents.all[0].number), (2, 2));
        store.delete(token, principal.clone(), "1".into()).await.unwrap();
        store.delete(token, principal, "unknown".into()).await.unwrap();
        assert!(store.documents(token).await.unwrap().all.is_empty());
        assert_eq!(store.state.lock().bytes, 0);
    }

    #[tokio::test]
    async fn what_is_revoked_is_gone() {
        let (store, ann, bob) = (store(2, 10), owner(Some("ann")), owner(Some("bob")));
        let (of_ann, of_bob) = (reserve(&store, &ann).await.unwrap(), reserve(&store, &bob).await.unwrap());
        store.fulfil(of_ann, ann.principal.clone(), served(1), false).await.unwrap();
        let whose = Revocation { user: Some("ann".into()), tenant: None };
        assert_eq!(store.revoke(whose).await.unwrap(), [served(1)]);
        assert_eq!(store.find(of_ann, ann.principal.clone()).await, Err(StoreError::Unknown));
        store.find(of_bob, bob.principal.clone()).await.unwrap();
        assert!(store.revoke(Revocation::default()).await.unwrap().is_empty());
        store.find(of_bob, bob.principal).await.unwrap();
    }
}
