//! A GraphQL request as every transport hands it over.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The parameters of GraphQL over HTTP; the WebSocket and SSE protocols use the same four.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The document; empty if the extension `persistedQuery` names it.
    #[serde(default)]
    pub query: String,
    /// Which operation of the document to run.
    #[serde(default)]
    pub operation_name: Option<String>,
    /// Values of its variables.
    #[serde(default)]
    pub variables: Option<serde_json::Map<String, serde_json::Value>>,
    /// Protocol extensions.
    #[serde(default)]
    pub extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Request {
    /// Has the subscription go on after a cursor, whatever the extension `cursor` said before.
    pub fn resume_after(&mut self, cursor: String) {
        self.extensions.get_or_insert_default().insert("cursor".into(), cursor.into());
    }
}

/// A request in little space, for as long as its subscription lives: there are thousands of the same document, and
/// the tree of a single variable takes more than everything else that is known of a subscription.
#[derive(Debug)]
pub struct Kept {
    /// Shared by all who sent it.
    query: Arc<str>,
    rest: Rest,
}

/// What differs from one to the next.
#[derive(Debug)]
enum Rest {
    Nothing,
    /// JSON that gives back the same values.
    Text(Box<str>),
    /// It does not: a number may be spelled in many ways.
    Whole(Box<Parameters>),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Parameters {
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    operation_name: Option<String>,
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    variables: Option<Map<String, Value>>,
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    extensions: Option<Map<String, Value>>,
}

impl Kept {
    /// Keeps a request, of whose document `share` finds the one copy.
    pub(super) fn new(request: Request, share: impl FnOnce(Arc<str>) -> Arc<str>) -> Self {
        let Request { query, operation_name, variables, extensions } = request;
        let variables = variables.filter(|variables| !variables.is_empty());
        let extensions = extensions.filter(|extensions| !extensions.is_empty());
        Self {
            query: share(query.into()),
            rest: Rest::of(Parameters { operation_name, variables, extensions }),
        }
    }

    /// The request again.
    pub fn request(&self) -> Request {
        let Parameters { operation_name, variables, extensions } = self.rest.parameters();
        Request { query: self.query.as_ref().to_owned(), operation_name, variables, extensions }
    }
}

impl Rest {
    fn of(parameters: Parameters) -> Self {
        if parameters == Parameters::default() {
            return Self::Nothing;
        }
        match serde_json::to_string(&parameters) {
            Ok(text) if serde_json::from_str(&text).is_ok_and(|same: Parameters| same == parameters) => {
                Self::Text(text.into())
            }
            _ => Self::Whole(parameters.into()),
        }
    }

    fn parameters(&self) -> Parameters {
        match self {
            Self::Nothing => Parameters::default(),
            // It was read before.
            Self::Text(text) => serde_json::from_str(text).unwrap_or_default(),
            Self::Whole(parameters) => (**parameters).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_is_given_back() {
        let variables = json!({
            "id": 7, "text": "a\n\u{0}", "list": [null, true, {}], "large": u64::MAX, "least": i64::MIN,
            "third": 1.0 / 3.0, "tiny": 5e-324, "huge": 1.7976931348623157e308, "odd": 9.007199254740993e15
        });
        let Value::Object(variables) = variables else { panic!() };
        let requests = [
            Request { query: "{ a }".into(), ..Request::default() },
            Request {
                query: "subscription A { a }".into(),
                operation_name: Some("A".into()),
                variables: Some(variables),
                extensions: Some(Map::from_iter([("persistedQuery".to_owned(), json!({ "version": 1 }))])),
            },
        ];
        for request in requests {
            let again = Kept::new(request.clone(), |query| query).request();
            assert_eq!(again.query, request.query);
            assert_eq!(again.operation_name, request.operation_name);
            assert_eq!(again.variables, request.variables);
            assert_eq!(again.extensions, request.extensions);
        }
    }
}
