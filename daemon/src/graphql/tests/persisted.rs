//! Requests that name their document by its hash, with and without an allow-list.

use std::sync::Arc;

use serde_json::{Value, json};

use super::shop;
use crate::graphql::error::GraphQLError;
use crate::graphql::persisted::{AllowList, DocumentHash};
use crate::graphql::prepare::{OperationKind, Prepared};
use crate::graphql::request::Request;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;

const LISTED: &str = "subscription { orderInserted { id } }";
const OTHER: &str = "{ __schema { queryType { name } } }";

fn schema(listed: &[&str]) -> Schema {
    let entries = listed.iter().map(|text| (DocumentHash::of(text).to_string(), Value::from(*text)));
    let list = AllowList::parse(Value::Object(entries.collect()).to_string().as_bytes()).unwrap();
    let allow_list = (!listed.is_empty()).then(|| Arc::new(list));
    Schema::build(&shop(), SchemaOptions { allow_list, ..SchemaOptions::default() }).unwrap()
}

fn request(text: &str, hash: Option<&str>) -> Request {
    let hash = hash.map(|text| json!({ "version": 1, "sha256Hash": DocumentHash::of(text).to_string() }));
    let extensions = json!({ "persistedQuery": hash });
    Request { query: text.to_owned(), extensions: extensions.as_object().cloned(), ..Request::default() }
}

fn outcome(schema: &Schema, request: &Request) -> Result<(), GraphQLError> {
    match schema.prepare(request, &Identity::default()) {
        Prepared::Refused(mut errors) => Err(errors.remove(0)),
        Prepared::Query(_) | Prepared::Subscription(_) => Ok(()),
    }
}

fn refusal(schema: &Schema, text: &str, hash: Option<&str>) -> &'static str {
    outcome(schema, &request(text, hash)).err().map_or("", |error| error.extensions.code)
}

#[test]
fn only_listed_documents_run_by_text_or_by_hash() {
    let schema = schema(&[LISTED]);
    for (text, hash, code) in [
        (LISTED, None, ""),
        (LISTED, Some(LISTED), ""),
        ("", Some(LISTED), ""),
        (OTHER, None, "PERSISTED_QUERY_REQUIRED"),
        (OTHER, Some(OTHER), "PERSISTED_QUERY_REQUIRED"),
        ("", Some(OTHER), "PERSISTED_QUERY_NOT_FOUND"),
        ("", None, "PERSISTED_QUERY_REQUIRED"),
        (LISTED, Some(OTHER), "PERSISTED_QUERY_HASH_MISMATCH"),
        // A blank more is another text.
        ("subscription  { orderInserted { id } }", None, "PERSISTED_QUERY_REQUIRED"),
    ] {
        assert_eq!(refusal(&schema, text, hash), code, "{text:?} {hash:?}");
    }
    let kind = schema.operation_kind(&request("", Some(LISTED)), &Identity::default());
    assert_eq!(kind, Ok(OperationKind::Subscription), "transports can tell what a hash stands for");
}

#[test]
fn a_listed_document_is_checked_like_any_other() {
    let invalid = "subscription { nothing }";
    let schema = schema(&[LISTED, invalid, OTHER]);
    assert_eq!(refusal(&schema, "", Some(invalid)), "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(refusal(&schema, "", Some(OTHER)), "", "introspection runs if it is listed");
}

#[test]
fn without_a_list_a_hash_only_has_to_fit_its_text() {
    let schema = schema(&[]);
    assert_eq!(refusal(&schema, LISTED, Some(LISTED)), "");
    assert_eq!(refusal(&schema, LISTED, Some(OTHER)), "PERSISTED_QUERY_HASH_MISMATCH");
    assert_eq!(refusal(&schema, "", Some(LISTED)), "PERSISTED_QUERY_NOT_SUPPORTED");
}

#[test]
fn clients_find_the_messages_that_they_look_for() {
    let unknown = request("", Some(OTHER));
    assert_eq!(outcome(&schema(&[LISTED]), &unknown).unwrap_err().message, "PersistedQueryNotFound");
    assert_eq!(outcome(&schema(&[]), &unknown).unwrap_err().message, "PersistedQueryNotSupported");
}

#[test]
fn a_malformed_extension_is_refused() {
    let schema = schema(&[LISTED]);
    let hash = DocumentHash::of(LISTED).to_string();
    for (named, what) in [
        (json!(hash), "version"),
        (json!({ "sha256Hash": hash }), "version"),
        (json!({ "version": 2, "sha256Hash": hash }), "version"),
        (json!({ "version": 1 }), "sha256Hash"),
        (json!({ "version": 1, "sha256Hash": hash.to_uppercase() }), "sha256Hash"),
        (json!({ "version": 1, "sha256Hash": 7 }), "sha256Hash"),
    ] {
        let extensions = json!({ "persistedQuery": named });
        let request = Request { extensions: extensions.as_object().cloned(), ..Request::default() };
        let error = outcome(&schema, &request).unwrap_err();
        assert_eq!(error.extensions.code, "BAD_USER_INPUT");
        assert!(error.message.contains(what), "{}", error.message);
    }
}
