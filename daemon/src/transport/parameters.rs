//! The parameters of a GraphQL request over HTTP: from the query string or from a JSON body.

use axum::body::Body;
use axum::extract::Query;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use super::{Endpoint, json};
use crate::error::ClientError;
use crate::graphql::request::Request;

/// Reads the request of a GET or POST.
///
/// # Errors
/// If it is not a GraphQL request, or too large, or too slow.
pub async fn read(endpoint: &Endpoint, head: &Parts, body: Body) -> Result<Request, ClientError> {
    match head.method {
        Method::GET => from_query(head),
        Method::POST => {
            check_content_type(&head.headers)?;
            from_json(&collect(endpoint, body).await?)
        }
        _ => Err(ClientError::MethodNotAllowed("GET, POST")),
    }
}

/// One value of the query string.
pub fn query_value(head: &Parts, name: &str) -> Option<String> {
    query_values(head, name).into_iter().next()
}

/// All values of a name in the query string.
pub fn query_values(head: &Parts, name: &str) -> Vec<String> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
    let pairs = pairs.map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
    pairs.into_iter().filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

fn malformed(message: impl Into<String>) -> ClientError {
    ClientError::Malformed(message.into())
}

fn from_query(head: &Parts) -> Result<Request, ClientError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&head.uri)
        .map_err(|_| malformed("The query string is not valid."))?;
    let mut parameters = serde_json::Map::new();
    for (name, value) in pairs {
        let value = match name.as_str() {
            "query" | "operationName" => Value::String(value),
            "variables" | "extensions" if value.is_empty() => Value::Null,
            "variables" | "extensions" => json::parse(value.as_bytes())
                .map_err(|error| malformed(format!("The parameter `{name}` is not valid JSON: {error}.")))?,
            // Parameters that we do not know are ignored.
            _ => continue,
        };
        if parameters.insert(name.clone(), value).is_some() {
            return Err(malformed(format!("The parameter `{name}` is given twice.")));
        }
    }
    from_value(Value::Object(parameters))
}

fn from_json(body: &[u8]) -> Result<Request, ClientError> {
    from_value(json::parse(body).map_err(|error| malformed(format!("The body is not valid JSON: {error}.")))?)
}

/// Reads a request from its JSON form.
///
/// # Errors
/// If it is not a GraphQL request.
pub fn from_value(mut value: Value) -> Result<Request, ClientError> {
    let Value::Object(members) = &mut value else {
        return Err(malformed(
            "The request must be a JSON object with a member `query`; batches are not supported.",
        ));
    };
    let by_hash = members
        .get("extensions")
        .and_then(|extensions| extensions.get("persistedQuery"))
        .is_some_and(|named| !named.is_null());
    if by_hash && members.get("query").is_none_or(Value::is_null) {
        members.insert("query".to_owned(), "".into());
    }
    // Named one by one, because the deserializer's own message does not say which parameter it was.
    for (name, of_its_type) in [
        ("query", Value::is_string as fn(&Value) -> bool),
        ("operationName", |v| v.is_string() || v.is_null()),
        ("variables", |v| v.is_object() || v.is_null()),
        ("extensions", |v| v.is_object() || v.is_null()),
    ] {
        match members.get(name) {
            None if name == "query" => return Err(malformed("The parameter `query` is missing.")),
            Some(value) if !of_its_type(value) => {
                return Err(malformed(format!("The parameter `{name}` is of the wrong type.")));
            }
            _ => {}
        }
    }
    serde_json::from_value(value)
        .map_err(|error| malformed(format!("This is not a GraphQL request: {error}.")))
}

/// `application/json`, in UTF-8 if it says so.
fn check_content_type(headers: &HeaderMap) -> Result<(), ClientError> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let mut parts = value.unwrap_or_default().split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.filter_map(|parameter| parameter.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        !name.trim().eq_ignore_ascii_case("charset")
            || value.eq_ignore_ascii_case("utf-8")
            || value.eq_ignore_ascii_case("utf8")
    });
    // A compressed body could unpack to any size; we take none, so it is another type to us.
    let plain = headers.get(header::CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    if json && utf8 && plain { Ok(()) } else { Err(ClientError::UnsupportedMediaType) }
}

async fn collect(endpoint: &Endpoint, body: Body) -> Result<Vec<u8>, ClientError> {
    let limits = endpoint.limits();
    let collected =
        tokio::time::timeout(limits.request_time, Limited::new(body, limits.body_bytes).collect());
    match collected.await {
        Err(_) => Err(ClientError::TooSlow),
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ClientError::TooLarge(limits.body_bytes)),
        Ok(Err(_)) => Err(malformed("The body ended early.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(uri: &str) -> Result<Request, String> {
        let head = axum::http::Request::get(uri).body(()).unwrap().into_parts().0;
        from_query(&head).map_err(|error| error.to_string())
    }

    #[test]
    fn a_get_carries_json_in_its_parameters() {
        let request = get("/?query=%7Ba%7D&variables=%7B%22x%22%3A1%7D&operationName=A&other=1").unwrap();
        assert_eq!(request.query, "{a}");
        assert_eq!(request.operation_name.as_deref(), Some("A"));
        assert_eq!(request.variables.unwrap()["x"], 1);
        assert!(get("/?query=%7Ba%7D&variables=").unwrap().variables.is_none());
    }

    #[test]
    fn an_error_names_the_parameter() {
        assert!(get("/").unwrap_err().contains("`query` is missing"));
        assert!(get("/?query=a&query=b").unwrap_err().contains("`query` is given twice"));
        assert!(get("/?query=a&variables=%5B%5D").unwrap_err().contains("`variables` is of the wrong type"));
        assert!(get("/?query=a&extensions=x").unwrap_err().contains("`extensions` is not valid JSON"));
        let post = |body: &str| from_json(body.as_bytes()).unwrap_err().to_string();
        assert!(post("{").contains("not valid JSON"));
        assert!(post("[]").contains("batches are not supported"));
        assert!(post(r#"{"query":1}"#).contains("`query` is of the wrong type"));
        assert!(post(r#"{"query":"a","operationName":7}"#).contains("`operationName`"));
        assert!(from_json(br#"{"query":"a","variables":null,"id":1}"#).is_ok());
        assert!(from_json(br#"{"extensions":{"persistedQuery":null}}"#).is_err());
    }

    #[test]
    fn a_request_that_names_its_document_by_hash_needs_no_text() {
        for query in ["", r#""query":null,"#, r#""query":"","#] {
            let body = format!(r#"{{{query}"extensions":{{"persistedQuery":{{}}}}}}"#);
            assert_eq!(from_json(body.as_bytes()).unwrap().query, "");
        }
        assert_eq!(get("/?extensions=%7B%22persistedQuery%22%3A%7B%7D%7D").unwrap().query, "");
    }

    #[test]
    fn the_content_type_must_be_json_in_utf8() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        assert!(check("application/json"));
        assert!(check("Application/JSON; charset=\"UTF-8\""));
        assert!(!check("application/json; charset=iso-8859-1"));
        assert!(!check("text/plain"));
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
