//! GraphQL over HTTP without a stream: queries, which is to say introspection.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::accept::Accept;
use super::refusal::{JSON, refuse};
use super::{Endpoint, Transport, parameters};
use crate::error::{ClientError, errors_body};
use crate::graphql::prepare::OperationKind;
use crate::service::Answer;

const GRAPHQL_RESPONSE: HeaderValue =
    HeaderValue::from_static("application/graphql-response+json; charset=utf-8");
const LABEL: &str = "http";

/// What no other transport admits.
#[derive(Debug)]
pub struct Plain;

impl Transport for Plain {
    fn admits(&self, _head: &Parts) -> bool {
        true
    }

    fn answer(&self, endpoint: Endpoint, request: Request<Body>) -> BoxFuture<'static, Response> {
        async move { respond(&endpoint, request).await.unwrap_or_else(|error| refuse(&endpoint, &error)) }
            .boxed()
    }
}

/// The media type of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Media {
    /// `application/graphql-response+json`: the status tells whether the document was executed.
    GraphQLResponse,
    /// `application/json`: 200 whatever became of the document.
    Json,
}

impl Media {
    /// What the client accepts. The newer type has to be named: a wildcard gets plain JSON.
    fn negotiate(accept: &Accept) -> Option<Self> {
        let newer = accept.named("application", "graphql-response+json");
        let json = accept.quality("application", "json");
        if newer > 0 && newer >= json {
            Some(Self::GraphQLResponse)
        } else if json > 0 {
            Some(Self::Json)
        } else {
            (accept.quality("application", "graphql-response+json") > 0).then_some(Self::GraphQLResponse)
        }
    }

    const fn header(self) -> HeaderValue {
        match self {
            Self::GraphQLResponse => GRAPHQL_RESPONSE,
            Self::Json => JSON,
        }
    }

    /// The status of a request whose document was refused.
    const fn refused(self) -> StatusCode {
        match self {
            Self::GraphQLResponse => StatusCode::BAD_REQUEST,
            Self::Json => StatusCode::OK,
        }
    }
}

async fn respond(endpoint: &Endpoint, request: Request<Body>) -> Result<Response, ClientError> {
    let (head, body) = request.into_parts();
    let media = Media::negotiate(&Accept::of(&head.headers)).ok_or(ClientError::NotAcceptable(
        "Queries are answered as application/graphql-response+json or application/json, subscriptions as \
         text/event-stream.",
    ))?;
    let address = endpoint.arrive(&head)?;
    let request = parameters::read(endpoint, &head, body).await?;
    let identity = endpoint.identify(&head).await?;
    endpoint.ready().await?;
    endpoint.operation(&identity, &address)?;
    if head.method == Method::GET
        && endpoint.service().operation_kind(&request, &identity) == Some(OperationKind::Mutation)
    {
        return Err(ClientError::MethodNotAllowed("POST")); // S17
    }
    let answer = endpoint.service().query(&request, &identity).await.ok_or(ClientError::NotAcceptable(
        "A subscription needs a stream: send `Accept: text/event-stream`, or connect by WebSocket.",
    ))?;
    let (status, body) = match answer {
        Answer::Result(result) => (StatusCode::OK, result.into()),
        Answer::Refused(errors) => (media.refused(), errors_body(&errors)),
    };
    let written = &endpoint.metrics().endpoint.written;
    written.get_or_create(&[("transport", LABEL)]).inc_by(body.len() as u64);
    Ok((status, [(header::CONTENT_TYPE, media.header())], body).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    #[test]
    fn the_newer_media_type_has_to_be_named() {
        let negotiate = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::ACCEPT, value.parse().unwrap());
            }
            Media::negotiate(&Accept::of(&headers))
        };
        assert_eq!(negotiate(None), Some(Media::Json));
        assert_eq!(negotiate(Some("*/*")), Some(Media::Json));
        assert_eq!(negotiate(Some("application/json")), Some(Media::Json));
        let both = "application/graphql-response+json, application/json;q=0.9";
        assert_eq!(negotiate(Some(both)), Some(Media::GraphQLResponse));
        let json_first = "application/graphql-response+json;q=0.5, application/json";
        assert_eq!(negotiate(Some(json_first)), Some(Media::Json));
        assert_eq!(negotiate(Some("application/json;q=0, */*")), Some(Media::GraphQLResponse));
        assert_eq!(negotiate(Some("text/html")), None);
    }
}
