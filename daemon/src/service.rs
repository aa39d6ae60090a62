//! The embedding API: one service, its connections and their subscriptions.
//!
//! Every transport is a caller of this module and of nothing below it.

use std::sync::Arc;

use bytes::Bytes;

use crate::graphql::error::GraphQLError;
use crate::graphql::request::Request;
use crate::hub::audience::Identity;
use crate::hub::mailbox::{CursorText, Delivery, SubscriptionId};

/// A running service: a source, the hub and the schema. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {}

/// One client stream: an identity and a mailbox. Dropping it ends all its subscriptions.
#[derive(Debug)]
pub struct Connection {}

/// The answer to a request.
#[derive(Debug)]
pub enum Outcome {
    /// A query, executed: its complete result as JSON, or the errors of its execution within.
    Result(Bytes),
    /// A subscription that is live now.
    Subscribed(SubscriptionId),
    /// The request was refused before execution: syntax, validation, variables, limits.
    Refused(Vec<GraphQLError>),
}

impl Service {
    /// Opens a connection for an identity.
    pub fn connect(&self, identity: Arc<Identity>) -> Connection {
        let _ = identity;
        Connection {}
    }

    /// Executes a request that must not be a subscription (plain GraphQL over HTTP). `None` if it
    /// is a subscription.
    pub fn query(&self, request: &Request, identity: &Identity) -> Option<Outcome> {
        let _ = (request, identity);
        None
    }

    /// The cursor of everything delivered so far: where a quiet subscription stands.
    pub fn cursor(&self) -> CursorText {
        "".into()
    }

    /// Why the service is not ready, or nothing if it is: source connected and its lag in bounds.
    pub fn unready(&self) -> Option<String> {
        None
    }
}

impl Connection {
    /// Runs a request on this connection.
    pub fn execute(&mut self, request: &Request) -> Outcome {
        let _ = request;
        Outcome::Refused(Vec::new())
    }

    /// Ends a subscription; nothing more is delivered for it. Unknown ids are ignored.
    pub fn complete(&mut self, subscription: SubscriptionId) {
        let _ = subscription;
    }

    /// Waits until the mailbox holds something, then moves all of it to the end of `into`.
    /// Cancel-safe. Waits for ever on a connection without subscriptions.
    pub async fn drain(&mut self, into: &mut Vec<Delivery>) {
        let _ = into;
        std::future::pending::<()>().await;
    }
}
