//! A subscription without a transport: a stream of complete results.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;

use super::connection::Connection;
use super::permit::Permit;
use crate::graphql::error::GraphQLError;
use crate::hub::mailbox::{Delivery, EndReason};

/// One live subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    connection: Connection,
    pending: VecDeque<Delivery>,
    ended: Option<EndReason>,
}

impl Subscription {
    pub(super) fn start(mut connection: Connection, permit: Permit) -> Result<Self, Vec<GraphQLError>> {
        connection.subscribe(permit)?;
        Ok(Self { connection, pending: VecDeque::new(), ended: None })
    }

    /// The next result, a complete JSON object with the cursor in its extensions; `None` once the
    /// service has ended the subscription, see [`Subscription::ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        while self.ended.is_none() {
            match self.pending.pop_front() {
                Some(Delivery::Next { result, cursor, .. }) => {
                    return Some(complete_result(&result, &cursor));
                }
                Some(Delivery::Whole { result, .. }) => return Some(result),
                Some(Delivery::Begun { .. }) => {}
                Some(Delivery::End { reason, .. }) => self.ended = Some(reason),
                None => {
                    let mut deliveries = Vec::new();
                    self.connection.drain(&mut deliveries).await;
                    self.pending.extend(deliveries);
                }
            }
        }
        None
    }

    /// Why the service ended the subscription, if it did.
    pub fn ended(&self) -> Option<EndReason> {
        self.ended.clone()
    }

    /// Ends the subscription. The same as dropping it, in so many words.
    pub fn complete(self) {}

    /// The results as a [`Stream`].
    pub fn into_stream(self) -> impl Stream<Item = Bytes> {
        futures_util::stream::unfold(self, |mut subscription| async move {
            let result = subscription.next().await?;
            Some((result, subscription))
        })
    }
}

/// Closes a shared result, with the cursor in its extensions.
fn complete_result(result: &Bytes, cursor: &str) -> Bytes {
    let tail: [&[u8]; 3] = [br#","extensions":{"cursor":""#, cursor.as_bytes(), br#""}}"#];
    let mut bytes = BytesMut::with_capacity(result.len() + tail.iter().map(|part| part.len()).sum::<usize>());
    bytes.put_slice(result);
    tail.into_iter().for_each(|part| bytes.put_slice(part));
    bytes.freeze()
}
