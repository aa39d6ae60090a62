//! `@resolve` and `@authorize`, with functions that are Rust closures of the test.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::shop;
use crate::event::Event;
use crate::graphql::callers::CallerRoles;
use crate::graphql::request::Request;
use crate::graphql::schema::SchemaOptions;
use crate::hub::audience::{Claims, Identity};
use crate::service::{Service, ServiceOptions, Subscription};
use crate::source::catalog::{Catalog, Definition};
use crate::source::functions::{Call, CallError, Functions, Resolved};
use crate::source::memory;

const SDL: &str = r#"
type Note {
  id: ID
  shared(x: Int): JSON @resolve(function: "app.shared", scope: EVENT)
  ofTenant: JSON @resolve(function: "app.tenant", scope: TENANT)
  mine: JSON @resolve(function: "app.user")
  secret: JSON @resolve(function: "app.secret") @visibleTo(roles: ["boss"])
  sure: String! @resolve(function: "app.sure", scope: EVENT)
}
extend type Subscription {
  note(id: ID): Note @event(channel: "notes")
  whole(id: ID): Note @event(channel: "notes") @resolve(function: "app.whole", scope: EVENT)
  guarded(room: ID!): Note @event(channel: "rooms") @authorize(function: "app.may")
}
"#;

/// Counts calls, and answers with who called.
#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<String>>);

impl Functions for Recorder {
    fn resolve(&self, call: Call, event: Arc<str>) -> BoxFuture<'static, Resolved> {
        let name = call.function.name.clone();
        self.0.lock().push(format!("{name} {} {} {}", call.caller.role, call.caller.claims, call.arguments));
        let answer = match &*name {
            "sure" if event.contains("bad") => Err(CallError::Failed),
            "sure" => Ok(None),
            "whole" => Ok(Some(r#"{"id": 9}"#.into())),
            _ => Ok(Some(call.caller.claims)),
        };
        async move {
            tokio::task::yield_now().await;
            answer
        }
        .boxed()
    }

    fn authorize(&self, call: Call) -> BoxFuture<'static, Result<bool, CallError>> {
        let answer = match &*call.arguments {
            r#"{"room":"open"}"# => Ok(true),
            r#"{"room":"shut"}"# => Ok(false),
            _ => Err(CallError::Timeout),
        };
        async move { answer }.boxed()
    }
}

struct Fixture {
    service: Service,
    publisher: memory::Publisher,
    calls: Arc<Recorder>,
}

impl Fixture {
    async fn new() -> Self {
        let definition = Definition { name: "notes".into(), sdl: SDL.into() };
        let (publisher, source) = memory::source(Catalog { definitions: vec![definition], ..shop() }, 100);
        let calls = Arc::new(Recorder::default());
        let callers =
            CallerRoles { shared: Some("reader".into()), allowed: vec!["web".into()], anonymous: None };
        let functions: Option<Arc<dyn Functions>> = Some(calls.clone());
        let schema = SchemaOptions { functions, callers, ..SchemaOptions::default() };
        let service = Service::start(source, ServiceOptions { schema, ..ServiceOptions::default() });
        service.ready().await;
        Self { service, publisher, calls }
    }

    async fn try_subscribe(&self, user: &str, role: &str, query: &str) -> Result<Subscription, &'static str> {
        let (all, tenant) = (format!(r#"{{"sub":"{user}"}}"#).into(), r#"{"tenant_id":"acme"}"#.into());
        let identity =
            Identity { role: Some(role.into()), claims: Some(Claims { all, tenant }), ..Identity::default() };
        let request = Request { query: format!("subscription {{ {query} }}"), ..Request::default() };
        let refused = self.service.subscribe(&request, Arc::new(identity)).await;
        refused.map_err(|errors| errors[0].extensions.code)
    }

    async fn subscribe(&self, user: &str, query: &str) -> Subscription {
        self.try_subscribe(user, "web", query).await.unwrap_or_else(|code| panic!("{query}: {code}"))
    }

    async fn publish(&self, payload: &str) {
        let event = Event { channel: "notes".into(), payload: payload.into(), ..Event::default() };
        self.publisher.publish(event).await.unwrap();
    }
}

async fn next(subscription: &mut Subscription) -> serde_json::Value {
    let mut result: serde_json::Value =
        serde_json::from_slice(&subscription.next().await.expect("a result")).unwrap();
    result.as_object_mut().unwrap().remove("extensions");
    result
}

#[tokio::test]
async fn each_scope_shares_its_calls_and_nobody_gets_anothers_answer() {
    let fixture = Fixture::new().await;
    let query = "note { shared(x: 1) ofTenant mine again: shared(x: 1) other: shared(x: 2) }";
    let mut ann = [fixture.subscribe("ann", query).await, fixture.subscribe("ann", query).await];
    let mut bob = fixture.subscribe("bob", query).await;
    let mut alone = fixture.subscribe("bob", "note { shared(x: 1) }").await;
    fixture.publish(r#"{"id": 1}"#).await;
    for stream in &mut ann {
        assert_eq!(next(stream).await["data"]["note"]["mine"]["sub"], "ann");
    }
    let result = next(&mut bob).await["data"]["note"].take();
    assert_eq!((&result["mine"]["sub"], &result["ofTenant"]["tenant_id"]), (&"bob".into(), &"acme".into()));
    assert_eq!(result["shared"], serde_json::json!({}));
    next(&mut alone).await;
    let mut calls = fixture.calls.0.lock().clone();
    calls.sort_unstable();
    let expected = [
        r#"shared reader {} {"x":1}"#,
        r#"shared reader {} {"x":2}"#,
        r#"tenant reader {"tenant_id":"acme"} {}"#,
        r#"user web {"sub":"ann"} {}"#,
        r#"user web {"sub":"bob"} {}"#,
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn what_is_hidden_or_skipped_is_not_resolved_and_a_failure_bubbles() {
    let fixture = Fixture::new().await;
    let mut stream = fixture.subscribe("ann", "note { id secret mine @skip(if: true) }").await;
    let mut whole = fixture.subscribe("ann", r#"whole(id: "1") { id }"#).await;
    fixture.publish(r#"{"id": 1}"#).await;
    assert_eq!(next(&mut stream).await["data"]["note"], serde_json::json!({"id": "1", "secret": null}));
    assert_eq!(next(&mut whole).await["data"]["whole"]["id"], "9", "the answer replaces the payload");
    assert_eq!(*fixture.calls.0.lock(), [r#"whole reader {} {"id":"1"}"#]);

    let mut sure = fixture.subscribe("ann", "note { sure }").await;
    fixture.publish(r#"{"bad": 1}"#).await;
    fixture.publish("{}").await;
    for code in ["RESOLVER_FAILED", "NULL_VALUE"] {
        let result = next(&mut sure).await;
        assert_eq!(result["data"]["note"], serde_json::Value::Null, "{result}");
        assert_eq!(result["errors"][0]["path"], serde_json::json!(["note", "sure"]));
        assert_eq!(result["errors"][0]["extensions"]["code"], code);
    }
}

#[tokio::test]
async fn a_subscription_begins_only_if_it_may() {
    let fixture = Fixture::new().await;
    fixture.subscribe("ann", r#"guarded(room: "open") { id }"#).await;
    let refused = async |query: &str| fixture.try_subscribe("ann", "web", query).await.err();
    assert_eq!(refused(r#"guarded(room: "shut") { id }"#).await, Some("FORBIDDEN"));
    assert_eq!(refused(r#"guarded(room: "slow") { id }"#).await, Some("AUTHORIZATION_FAILED"));
    assert_eq!(
        refused(r#"events(channel: "rooms") { id }"#).await,
        Some("FORBIDDEN"),
        "the channel is closed"
    );
    let other = fixture.try_subscribe("ann", "postgres", "note { mine }").await;
    assert_eq!(other.err(), Some("FORBIDDEN"), "a role that is not listed");
}
