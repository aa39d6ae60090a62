//! What requests with the token of a reservation have in common: who sent it, and for which reservation.

use std::sync::Arc;

use axum::http::request::Parts;

use crate::error::ClientError;
use crate::hub::audience::Identity;
use crate::store::owner::Principal;
use crate::store::reservation::StoreError;
use crate::store::token::TokenHash;
use crate::transport::Endpoint;
use crate::transport::address::ClientAddress;
use crate::transport::parameters::query_values;

/// Where a client names its reservation (PROTOCOLS S9).
pub(super) const TOKEN_HEADER: &str = "x-graphql-event-stream-token";
/// The same in the query string; the header counts before it.
pub(super) const TOKEN_PARAMETER: &str = "token";

/// Who asks for which reservation.
pub(super) struct Reserved {
    pub(super) identity: Arc<Identity>,
    pub(super) address: ClientAddress,
    pub(super) principal: Principal,
    pub(super) token: TokenHash,
}

impl Reserved {
    /// By the head of a request. Whether there is such a reservation is not known then.
    ///
    /// # Errors
    /// If nobody is let in with it, or it names no reservation.
    pub(super) async fn of(endpoint: &Endpoint, head: &Parts) -> Result<Self, ClientError> {
        let address = endpoint.arrive(head)?;
        let identity = endpoint.identify(head).await?;
        // S17
        let token = TokenHash::of(&token(head)?).ok_or(ClientError::ReservationUnknown)?;
        Ok(Self { principal: Principal::of(&identity), identity, address, token })
    }

    /// What a client is told of a store's refusal.
    pub(super) fn refusal(endpoint: &Endpoint, error: StoreError) -> ClientError {
        match error {
            StoreError::Unknown => ClientError::ReservationUnknown,
            StoreError::Open(_) => ClientError::StreamOpen,
            StoreError::Taken => ClientError::OperationIdTaken,
            StoreError::TooManyStreams => {
                ClientError::TooManyReservations(endpoint.reservation_limits().per_user)
            }
            StoreError::Full => ClientError::ReservationsFull,
            StoreError::TooManyDocuments => {
                ClientError::TooManySubscriptions(endpoint.reservation_limits().documents)
            }
            StoreError::TooLarge => ClientError::ReservationTooLarge(endpoint.reservation_limits().bytes),
            StoreError::Unavailable => ClientError::StoreUnavailable,
        }
    }
}

fn token(head: &Parts) -> Result<String, ClientError> {
    let twice = || Err(ClientError::Malformed("The reservation's token is given twice.".into()));
    let headers: Vec<_> = head.headers.get_all(TOKEN_HEADER).iter().collect();
    match headers[..] {
        [] => {}
        [only] => return only.to_str().map(str::to_owned).map_err(|_| ClientError::ReservationUnknown),
        _ => return twice(),
    }
    match &query_values(head, TOKEN_PARAMETER)[..] {
        [] => Err(ClientError::ReservationUnknown),
        [only] => Ok(only.clone()),
        _ => twice(),
    }
}
