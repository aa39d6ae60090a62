//! Reservations in the database: `tidings.connections` and `tidings.documents`, the same for every node.

mod pool;

mod privileges;

mod statements;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_postgres::{Client, GenericClient, Transaction};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio_postgres::{Config, Row};

use pool::{Connections, Trouble, in_time, settle};

pub use privileges::missing_privileges;

use super::owner::{Owner, Principal};
use super::reservation::{
    Document, Documents, Fulfilment, LEASE, Operation, Renewal, ReservationLimits, ReservationStore,
    Revocation, Served, StoreError, Stored, request_bytes,
};
use super::token::TokenHash;
use crate::graphql::request::Request;

/// How long a count of all reservations is good for: many clients may come at once.
const COUNT_AGE: Duration = Duration::from_secs(1);

/// Leases that one statement renews.
const RENEWALS_MAX: usize = 500;

/// Reservations in a database.
#[derive(Debug)]
pub struct PostgresStore {
    limits: ReservationLimits,
    connections: Connections,
    /// How many there are in all, and as of when.
    total: Mutex<(Option<Instant>, usize)>,
}

impl PostgresStore {
    /// The store of a database. Connects when it is first asked for something.
    ///
    /// # Errors
    ///
    /// If there is no runtime.
    pub fn new(database: &Config, limits: ReservationLimits) -> Result<Self, String> {
        let connections = Connections::new(database)?;
        Ok(Self { limits, connections, total: Mutex::new((None, 0)) })
    }

    /// Whether there is room for one more, as far as is known.
    async fn has_room(&self, transaction: &Transaction<'_>) -> Result<bool, Trouble> {
        let known = *self.total.lock();
        let total = match known {
            (Some(as_of), total) if as_of.elapsed() < COUNT_AGE => total,
            _ => {
                let limit = count(self.limits.total);
                let total: i64 = transaction.query_one(statements::COUNT, &[&limit]).await?.get(0);
                let total = usize::try_from(total).unwrap_or_default();
                *self.total.lock() = (Some(Instant::now()), total);
                total
            }
        };
        Ok(total < self.limits.total)
    }

    async fn add(&self, client: &mut Client, token: TokenHash, owner: &Owner) -> Result<usize, Trouble> {
        let transaction = client.transaction().await?;
        let principal = owner.principal.as_str();
        let mut evicted = 0;
        if let Some(most) = self.limits.of(owner) {
            transaction.execute(statements::LOCK_PRINCIPAL, &[&principal]).await?;
            let held: i64 =
                transaction.query_one(statements::COUNT_OF_PRINCIPAL, &[&principal]).await?.get(0);
            let excess = held + 1 - count(most);
            if excess > 0 {
                evicted = transaction.execute(statements::EVICT, &[&principal, &excess]).await?;
                if count(usize::try_from(evicted).unwrap_or_default()) < excess {
                    return Err(StoreError::TooManyStreams.into());
                }
            }
        }
        if !self.has_room(&transaction).await? {
            return Err(StoreError::Full.into());
        }
        let (tenant, user) = (storable(owner.tenant.as_deref()), storable(owner.user.as_deref()));
        let life = self.limits.unfulfilled.as_secs_f64();
        let hash = token.as_bytes();
        let claims = owner.claims.as_deref();
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&hash, &principal, &tenant, &user, &claims, &life];
        transaction.execute(statements::RESERVE, &values).await?;
        transaction.commit().await?;
        let evicted = usize::try_from(evicted).unwrap_or_default();
        let mut total = self.total.lock();
        total.1 = (total.1 + 1).saturating_sub(evicted);
        Ok(evicted)
    }

    async fn add_document(
        &self,
        client: &mut Client,
        token: TokenHash,
        principal: &Principal,
        operation: &Operation,
    ) -> Result<Option<Served>, Trouble> {
        let (hash, id, request) = (token.as_bytes(), &*operation.id, &operation.request);
        let bytes = request_bytes(request);
        let transaction = client.transaction().await?;
        let revised = transaction.query_opt(statements::REVISE, &[&hash, &principal.as_str()]).await?;
        let revised = revised.ok_or(StoreError::Unknown)?;
        let held = transaction.query_one(statements::HELD, &[&hash, &id]).await?;
        if held.get(2) {
            return Err(StoreError::Taken.into());
        }
        if held.get::<_, i64>(0) >= count(self.limits.documents) {
            return Err(StoreError::TooManyDocuments.into());
        }
        if held.get::<_, i64>(1) + count(bytes) > count(self.limits.bytes) {
            return Err(StoreError::TooLarge.into());
        }
        let number: i64 = revised.get(0);
        let (variables, extensions) = (json(request.variables.as_ref()), json(request.extensions.as_ref()));
        let start = operation.start.as_deref();
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [
            &hash,
            &id,
            &number,
            &request.query,
            &variables,
            &request.operation_name,
            &extensions,
            &start,
            &bytes,
        ];
        transaction.execute(statements::STORE, &values).await?;
        transaction.commit().await?;
        Ok(served(&revised, 1))
    }

    async fn begin(
        &self,
        client: &mut Client,
        (token, principal): (TokenHash, &Principal),
        by: &Served,
        take_over: bool,
    ) -> Result<Fulfilment, Trouble> {
        let hash = token.as_bytes();
        let mut transaction = client.transaction().await?;
        let found = transaction.query_opt(statements::LOCK, &[&hash, &principal.as_str()]).await?;
        let found = found.ok_or(StoreError::Unknown)?;
        let before = served(&found, 1);
        if let Some(by) = before.as_ref().filter(|_| !take_over) {
            return Err(StoreError::Open(by.clone()).into());
        }
        let (lease, idle) = (LEASE.as_secs_f64(), self.limits.idle.as_secs_f64());
        transaction.execute(statements::FULFIL, &[&hash, &&*by.node, &by.stream, &lease, &idle]).await?;
        let documents = documents(&mut transaction, token).await?;
        transaction.commit().await?;
        let place = found.get::<_, Option<&str>>(0).map(Arc::from);
        Ok(Fulfilment { place, before, documents })
    }

    async fn renew_all(
        &self,
        client: &mut Client,
        renewals: &[Renewal],
    ) -> Result<HashMap<i64, i64>, Trouble> {
        let (lease, idle) = (LEASE.as_secs_f64(), self.limits.idle.as_secs_f64());
        let mut renewed = HashMap::with_capacity(renewals.len());
        for part in renewals.chunks(RENEWALS_MAX) {
            let tokens: Vec<&[u8]> = part.iter().map(|renewal| renewal.token.as_bytes()).collect();
            let streams: Vec<i64> = part.iter().map(|renewal| renewal.stream).collect();
            let places: Vec<Option<&str>> = part.iter().map(|renewal| renewal.place.as_deref()).collect();
            let rows = client.query(statements::RENEW, &[&tokens, &streams, &places, &lease, &idle]).await?;
            renewed.extend(rows.iter().map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1))));
        }
        Ok(renewed)
    }

    async fn end(&self, client: &mut Client, last: &Renewal) -> Result<(), Trouble> {
        let (hash, place) = (last.token.as_bytes(), last.place.as_deref());
        let idle = self.limits.idle.as_secs_f64();
        client.execute(statements::RELEASE, &[&hash, &last.stream, &place, &idle]).await?;
        Ok(())
    }
}

async fn find(client: &mut Client, token: TokenHash, principal: &Principal) -> Result<(), Trouble> {
    let found = client.query_opt(statements::FIND, &[&token.as_bytes(), &principal.as_str()]).await?;
    Ok(found.map(drop).ok_or(StoreError::Unknown)?)
}

async fn delete(
    client: &mut Client,
    token: TokenHash,
    principal: &Principal,
    id: &str,
) -> Result<Option<Served>, Trouble> {
    let hash = token.as_bytes();
    let transaction = client.transaction().await?;
    let revised = transaction.query_opt(statements::REVISE, &[&hash, &principal.as_str()]).await?;
    let revised = revised.ok_or(StoreError::Unknown)?;
    transaction.execute(statements::DELETE, &[&hash, &id]).await?;
    transaction.commit().await?;
    Ok(served(&revised, 1))
}

async fn finish(client: &mut Client, token: TokenHash, numbers: &[i64]) -> Result<(), Trouble> {
    client.execute(statements::FINISH, &[&token.as_bytes(), &numbers]).await?;
    Ok(())
}

async fn void(client: &mut Client, token: TokenHash) -> Result<(), Trouble> {
    client.execute(statements::VOID, &[&token.as_bytes()]).await?;
    Ok(())
}

async fn revoke(client: &mut Client, whose: &Revocation) -> Result<Vec<Served>, Trouble> {
    let rows = client.query(statements::REVOKE, &[&whose.user, &whose.tenant]).await?;
    Ok(rows.iter().filter_map(|row| served(row, 0)).collect())
}

async fn documents(client: &mut impl GenericClient, token: TokenHash) -> Result<Documents, Trouble> {
    let rows = client.query(statements::DOCUMENTS, &[&token.as_bytes()]).await?;
    let revision = rows.first().ok_or(StoreError::Unknown)?.get(0);
    Ok(Documents { revision, all: rows.iter().filter_map(document).collect() })
}

/// The operation in a row of [`statements::DOCUMENTS`], if there is one.
fn document(row: &Row) -> Option<Document> {
    let number = row.get::<_, Option<i64>>(1)?;
    let members = |index| {
        let text = row.get::<_, Option<&str>>(index)?;
        // Written by us from such a map.
        serde_json::from_str::<Map<String, Value>>(text).ok()
    };
    let request = Request {
        query: row.get(3),
        variables: members(4),
        operation_name: row.get(5),
        extensions: members(6),
    };
    let id = row.get::<_, &str>(2).into();
    let start = row.get::<_, Option<&str>>(7).map(Arc::from);
    Some(Document { number, operation: Operation { id, request, start } })
}

/// The node, stream and whether its lease is good, in a row from this column on.
fn served(row: &Row, from: usize) -> Option<Served> {
    let (node, stream) = (row.get::<_, Option<&str>>(from)?, row.get::<_, Option<i64>>(from + 1)?);
    row.get::<_, bool>(from + 2).then(|| Served { node: node.into(), stream })
}

fn json(members: Option<&Map<String, Value>>) -> Option<String> {
    // Writing what was JSON into memory cannot fail.
    members.and_then(|members| serde_json::to_string(members).ok())
}

/// A name that a text of the database can hold; another one cannot be revoked by name.
fn storable(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.contains('\0'))
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Asks on a connection of its own, in bounded time.
macro_rules! ask {
    ($store:ident, $client:ident => $answer:expr) => {
        async move {
            let mut $client = $store.connections.get().await?;
            let answer = in_time($answer).await;
            settle($client, answer)
        }
        .boxed()
    };
}

impl ReservationStore for PostgresStore {
    fn reserve(&self, token: TokenHash, owner: Owner) -> Stored<'_, usize> {
        ask!(self, client => self.add(&mut client, token, &owner))
    }

    fn find(&self, token: TokenHash, principal: Principal) -> Stored<'_, ()> {
        ask!(self, client => find(&mut client, token, &principal))
    }

    fn store(
        &self,
        token: TokenHash,
        principal: Principal,
        operation: Operation,
    ) -> Stored<'_, Option<Served>> {
        ask!(self, client => self.add_document(&mut client, token, &principal, &operation))
    }

    fn delete(&self, token: TokenHash, principal: Principal, id: Arc<str>) -> Stored<'_, Option<Served>> {
        ask!(self, client => delete(&mut client, token, &principal, &id))
    }

    fn fulfil(
        &self,
        token: TokenHash,
        principal: Principal,
        by: Served,
        take_over: bool,
    ) -> Stored<'_, Fulfilment> {
        ask!(self, client => self.begin(&mut client, (token, &principal), &by, take_over))
    }

    fn renew(&self, renewals: Vec<Renewal>) -> Stored<'_, HashMap<i64, i64>> {
        ask!(self, client => self.renew_all(&mut client, &renewals))
    }

    fn documents(&self, token: TokenHash) -> Stored<'_, Documents> {
        ask!(self, client => documents(&mut client, token))
    }

    fn finish(&self, token: TokenHash, numbers: Vec<i64>) -> Stored<'_, ()> {
        ask!(self, client => finish(&mut client, token, &numbers))
    }

    fn release(&self, last: Renewal) -> Stored<'_, ()> {
        ask!(self, client => self.end(&mut client, &last))
    }

    fn void(&self, token: TokenHash) -> Stored<'_, ()> {
        ask!(self, client => void(&mut client, token))
    }

    fn revoke(&self, whose: Revocation) -> Stored<'_, Vec<Served>> {
        if whose.names_nobody() {
            return async { Ok(Vec::new()) }.boxed();
        }
        ask!(self, client => revoke(&mut client, &whose))
    }
}
