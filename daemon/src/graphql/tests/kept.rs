//! What a live subscription keeps of its request: a client may send megabytes that its operation has no
//! use for.

use std::sync::Arc;

use serde_json::json;

use super::{request, schema, shop};
use crate::graphql::persisted::DocumentHash;
use crate::graphql::request::Request;
use crate::hub::audience::Identity;
use crate::service::{Service, ServiceOptions};
use crate::source::memory;

const DOCUMENT: &str = "query A($other: Boolean = true) { __typename @include(if: $other) }
    subscription B($id: BigInt, $note: String) { orderChanged(id: $id, filter: { note: { eq: $note } }) { eventId } }";

/// Operation B, with variables and extensions besides its own.
fn padded() -> Request {
    let hash = DocumentHash::of(DOCUMENT).to_string();
    let extensions = json!({"persistedQuery": {"version": 1, "sha256Hash": hash}, "padding": "mmmm"});
    Request {
        operation_name: Some("B".to_owned()),
        extensions: extensions.as_object().cloned(),
        ..request(DOCUMENT, r#"{"id": "7", "note": null, "other": true, "padding": "mmmm"}"#)
    }
}

#[test]
fn variables_that_the_operation_does_not_declare_are_dropped() {
    let request = schema().keep(padded(), &Identity::default()).request();
    assert_eq!(request.variables, json!({"id": "7", "note": null}).as_object().cloned());
    assert_eq!(request.extensions.unwrap().keys().collect::<Vec<_>>(), ["persistedQuery"]);
}

#[tokio::test]
async fn a_live_subscription_keeps_what_it_needs_alone() {
    let (_publisher, source) = memory::source(shop(), 1);
    let service = Service::start(source, ServiceOptions::default());
    service.ready().await;
    let live = service.subscribe(&padded(), Arc::default()).await.expect("a subscription");
    let kept = format!("{live:?}");
    assert!(kept.contains(r#"\"note\":null"#), "it shows its request: {kept}");
    assert!(!kept.contains("mmmm") && !kept.contains("other\\\":"), "{kept}");
}
