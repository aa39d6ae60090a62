//! Operations of a reservation: stored by one request, deleted by another.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::request::Reserved;
use crate::error::{ClientError, errors_body};
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::OperationKind;
use crate::graphql::request::Request as GraphQLRequest;
use crate::service::Answer;
use crate::store::reservation::Operation;
use crate::transport::refusal::JSON;
use crate::transport::{Endpoint, parameters};

/// Bytes of an operation's id, as over WebSockets.
const ID_BYTES_MAX: usize = 256;

/// Stores an operation (PROTOCOLS S12). Whoever serves its stream begins it.
pub(super) async fn store(endpoint: &Endpoint, head: &Parts, body: Body) -> Result<Response, ClientError> {
    let Reserved { identity, address, principal, token } = Reserved::of(endpoint, head).await?;
    let refusal = |error| Reserved::refusal(endpoint, error);
    endpoint.reservations().find(token, principal.clone()).await.map_err(refusal)?;
    let mut request = parameters::read(endpoint, head, body).await?;
    let id = operation_id(&mut request)?;
    endpoint.ready().await?;
    endpoint.operation(&identity, &address)?;
    let service = endpoint.service();
    if head.method == Method::GET
        && service.operation_kind(&request, &identity) == Some(OperationKind::Mutation)
    {
        return Err(ClientError::MethodNotAllowed("POST")); // S17
    }
    // S13: what is wrong with it is told here, and nothing is stored then.
    let start = match service.query(&request, &identity).await {
        Some(Answer::Refused(errors)) => return Ok(refused(&errors)),
        // It is executed again on its stream.
        Some(Answer::Result(_)) => None,
        None => match service.authorize(&request, &identity).await {
            Err(errors) => return Ok(refused(&errors)),
            Ok(permit) if permit.begins_with_rows() || !service.replays() => permit.after(),
            // S18
            Ok(permit) => Some(permit.after().unwrap_or_else(|| service.cursor())),
        },
    };
    let start = start.filter(|cursor| !cursor.is_empty());
    if let Some(extensions) = &mut request.extensions {
        extensions.remove("cursor");
    }
    let operation = Operation { id, request, start };
    endpoint.reservations().store(token, principal, operation).await.map_err(refusal)?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Deletes an operation (S15).
pub(super) async fn delete(endpoint: &Endpoint, head: &Parts) -> Result<Response, ClientError> {
    let Reserved { principal, token, .. } = Reserved::of(endpoint, head).await?;
    let refusal = |error| Reserved::refusal(endpoint, error);
    let mut ids = parameters::query_values(head, "operationId");
    if ids.len() > 1 {
        return Err(ClientError::Malformed("The parameter `operationId` is given twice.".into()));
    }
    let Some(id) = ids.pop().filter(|id| !id.is_empty()) else {
        endpoint.reservations().find(token, principal).await.map_err(refusal)?;
        return Err(ClientError::Malformed("The parameter `operationId` is missing.".into()));
    };
    if is_id(&id) {
        endpoint.reservations().delete(token, principal, id.into()).await.map_err(refusal)?;
    } else {
        // Nothing can have this id.
        endpoint.reservations().find(token, principal).await.map_err(refusal)?;
    }
    Ok(StatusCode::OK.into_response())
}

/// Takes the id out of a request (S14), which is not stored as a part of it.
fn operation_id(request: &mut GraphQLRequest) -> Result<Arc<str>, ClientError> {
    let refuse = |message: &str| Err(ClientError::Malformed(message.into()));
    let id = request.extensions.as_mut().and_then(|extensions| extensions.remove("operationId"));
    // What cannot be kept in a text of the database.
    if request.query.contains('\0') || request.operation_name.as_ref().is_some_and(|name| name.contains('\0'))
    {
        return refuse("The document of a reserved stream must not contain the character U+0000.");
    }
    match id {
        Some(Value::String(id)) if is_id(&id) => Ok(id.into()),
        Some(Value::String(_)) => {
            refuse("`extensions.operationId` must have 1 to 256 bytes, without the character U+0000.")
        }
        None | Some(Value::Null) => refuse(
            "`extensions.operationId` is missing: the operations of a reserved stream are told apart by it.",
        ),
        Some(_) => refuse("`extensions.operationId` must be a text."),
    }
}

fn is_id(id: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && !id.contains('\0')
}

/// The document's own errors: the answer to this request.
fn refused(errors: &[GraphQLError]) -> Response {
    let forbidden = errors.iter().any(|error| error.extensions.code == "FORBIDDEN");
    let status = if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
    (status, [(header::CONTENT_TYPE, JSON)], errors_body(errors)).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn s14_an_operation_has_an_id_of_its_own() {
        let id = |extensions: Value| {
            let request = json!({ "query": "{a}", "extensions": extensions });
            operation_id(&mut serde_json::from_value(request).unwrap())
        };
        assert_eq!(id(json!({ "operationId": "1" })), Ok("1".into()));
        assert_eq!(id(json!({ "operationId": "x".repeat(256) })), Ok("x".repeat(256).into()));
        for wrong in [
            Value::Null,
            json!({}),
            json!({ "operationId": null }),
            json!({ "operationId": "" }),
            json!({ "operationId": 1 }),
            json!({ "operationId": ["1"] }),
            json!({ "operationId": "a\0" }),
            json!({ "operationId": "x".repeat(257) }),
        ] {
            assert!(matches!(id(wrong.clone()), Err(ClientError::Malformed(_))), "{wrong}");
        }
    }
}
