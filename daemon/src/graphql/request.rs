//! A GraphQL request as every transport hands it over.

use serde::Deserialize;

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
