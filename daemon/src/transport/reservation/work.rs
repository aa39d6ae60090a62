//! What a stream has to wait for without holding up the rest of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, BoxFuture, abortable};

use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::hub::audience::Identity;
use crate::service::{Answer, Permit, Service};
use crate::store::lease::Lease;
use crate::store::reservation::{Document, Documents, StoreError};

/// Pause after the store did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Times that the end of an operation is tried to be stored.
const FINISHES_MAX: usize = 3;

/// What is known now.
#[derive(Debug)]
pub(super) enum Work {
    /// The operations.
    Read(Result<Documents, StoreError>),
    /// What an operation is.
    Decided(i64, Decision),
    /// The end of an operation is stored, and this is told before it is complete.
    Finished(i64, Vec<u8>),
}

/// What an operation is.
#[derive(Debug)]
pub(super) enum Decision {
    /// A query, executed.
    Answered(Bytes),
    /// A subscription that may begin.
    Permitted(Box<Permit>),
    /// Nothing that runs, or not any more.
    Refused(Vec<GraphQLError>),
}

/// Something to wait for; nothing comes of it if it was given up.
type Waiting = BoxFuture<'static, Option<Work>>;

/// Reads the operations.
pub(super) fn read(lease: &Lease) -> Waiting {
    let documents = lease.documents();
    async move { Some(Work::Read(documents.await)) }.boxed()
}

/// The same, after a pause.
pub(super) fn read_later(lease: &Lease) -> Waiting {
    let documents = lease.documents();
    async move {
        tokio::time::sleep(PAUSE).await;
        Some(Work::Read(documents.await))
    }
    .boxed()
}

/// Decides what an operation is that goes on after a cursor, and how to give that up.
pub(super) fn decide(
    service: &Service,
    identity: &Arc<Identity>,
    document: &Document,
    after: Option<&str>,
) -> (Waiting, AbortHandle) {
    let (service, identity, number) = (service.clone(), identity.clone(), document.number);
    let mut request = document.operation.request.clone();
    if let Some(after) = after {
        request.resume_after(after.to_owned());
    }
    let deciding = async move { Work::Decided(number, of(&service, &request, &identity).await) };
    let (deciding, abandon) = abortable(deciding);
    (async move { deciding.await.ok() }.boxed(), abandon)
}

async fn of(service: &Service, request: &Request, identity: &Arc<Identity>) -> Decision {
    match service.query(request, identity).await {
        Some(Answer::Result(result)) => Decision::Answered(result),
        Some(Answer::Refused(errors)) => Decision::Refused(errors),
        None => match service.authorize(request, identity).await {
            Ok(permit) => Decision::Permitted(Box::new(permit)),
            Err(errors) => Decision::Refused(errors),
        },
    }
}

/// Stores that an operation has ended. A client that hears of it may use its id again.
pub(super) fn finish(lease: &Lease, number: i64, last: Vec<u8>) -> Waiting {
    let tries: Vec<_> = (0..FINISHES_MAX).map(|_| lease.finish(vec![number])).collect();
    async move {
        for attempt in tries {
            if attempt.await.is_ok() {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        // If it never was, whoever opens the stream next runs it again.
        Some(Work::Finished(number, last))
    }
    .boxed()
}
