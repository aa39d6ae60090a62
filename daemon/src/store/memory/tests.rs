//! What is kept, for whom, and for how long.

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
