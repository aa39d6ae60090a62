//! Who may begin a subscription: the step before it, which may have to ask a function.

use std::sync::Arc;

use super::{Service, not_ready, resume};
use crate::graphql::error::GraphQLError;
use crate::graphql::persisted::DocumentHash;
use crate::graphql::prepare::Prepared;
use crate::graphql::request::Request;
use crate::hub::audience::Identity;
use crate::hub::mailbox::CursorText;
use crate::source::cursor::Cursor;
use crate::source::functions::Call;

/// A request that its sender may make. What was asked for is part of it, so that it is worth nothing
/// for anything else.
#[derive(Debug)]
pub struct Permit {
    pub(super) request: Request,
    /// The call that was answered with yes; nothing if none was needed.
    pub(super) authorization: Option<Call>,
    /// What its sender has seen already; nothing if the subscription begins now.
    pub(super) after: Option<Box<Cursor>>,
    /// Whether it begins with the rows that are there.
    begins_with_rows: bool,
}

impl Permit {
    /// The document that it is for.
    pub fn document(&self) -> DocumentHash {
        DocumentHash::of(&self.request.query)
    }

    /// The cursor after which the subscription will go on, if it does not begin now.
    pub fn after(&self) -> Option<CursorText> {
        self.after.as_deref().map(Cursor::encode)
    }

    /// Whether the subscription begins with the rows that are there, unless it goes on after a cursor.
    pub fn begins_with_rows(&self) -> bool {
        self.begins_with_rows
    }
}

impl Service {
    /// Asks whether an identity may begin a subscription: at once, unless its root field has
    /// `@authorize`. Nothing runs yet, so dropping the future gives up.
    ///
    /// # Errors
    ///
    /// If the request is refused, or the identity may not make it.
    pub async fn authorize(
        &self,
        request: &Request,
        identity: &Arc<Identity>,
    ) -> Result<Permit, Vec<GraphQLError>> {
        self.ask(request, identity).await.inspect_err(|errors| self.count_refusal(errors))
    }

    async fn ask(&self, request: &Request, identity: &Arc<Identity>) -> Result<Permit, Vec<GraphQLError>> {
        let Some(schema) = self.schema() else { return Err(vec![not_ready()]) };
        let after = match resume::asked_for(request) {
            Ok(after) => after.map(Box::new),
            Err(mut error) => {
                error.extensions.bounded_by(&self.0.shared.oldest.bounds(self.cursor()).await);
                return Err(vec![error]);
            }
        };
        let (prepared, authorization) = schema.prepare_authorized(request, identity);
        let begins_with_rows =
            matches!(&prepared, Prepared::Subscription(interest) if interest.beginning.is_some());
        let permit = |authorization| Permit {
            request: request.clone(),
            authorization,
            after: after.clone(),
            begins_with_rows,
        };
        let call = match (prepared, authorization) {
            (Prepared::Refused(errors), _) => return Err(errors),
            (_, None) => return Ok(permit(None)),
            (_, Some(call)) => call,
        };
        let Some(functions) = &self.0.shared.options.schema.functions else {
            return Ok(permit(None));
        };
        let error = match functions.authorize(call.clone()).await {
            Ok(true) => return Ok(permit(Some(call))),
            Ok(false) => {
                GraphQLError::new("FORBIDDEN", "You may not subscribe to this field with these arguments")
            }
            Err(error) => {
                let message = format!("Whether you may subscribe could not be decided: {error}");
                GraphQLError::new("AUTHORIZATION_FAILED", message)
            }
        };
        Err(vec![schema.at_root(request, identity, error)])
    }
}

/// The answer where the call that was made is not the one that is needed now.
pub(super) fn outdated() -> GraphQLError {
    let message = "The schema changed while the subscription was authorized; subscribe again";
    GraphQLError::new("AUTHORIZATION_FAILED", message)
}
