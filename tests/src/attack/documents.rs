//! By what a request may say: its document, variables, filters, arguments and channels.

use std::time::Duration;

use serde_json::json;

use super::{Arena, SECRET};
use crate::support::daemon::token_of;
use crate::support::sse::Sse;

#[tokio::test]
async fn filters_and_variables_do_not_reach_another_tenant() {
    let arena = Arena::new().await;
    let query = "subscription($filter: OrderFilter) { orderChanged(filter: $filter) { operation record { id note tenant_id } old { note } } }";
    for filter in [
        json!({"tenant_id": {"eq": "acme"}}),
        json!({"tenant_id": {"in": ["acme", "globex"]}}),
        json!({"tenant_id": {"neq": "globex"}}),
        json!({"not": {"tenant_id": {"eq": "globex"}}}),
        json!({"or": [{"tenant_id": {"eq": "acme"}}, {"tenant_id": {"eq": "globex"}}, {"tenant_id": {"is": "NULL"}}]}),
        json!({"note": {"like": "%SECRET%"}}),
        json!({"id": {"gt": 0}}),
        json!(null),
        json!({}),
    ] {
        arena.shows_nothing(&json!({"query": query, "variables": {"filter": filter}})).await;
    }
}

#[tokio::test]
async fn variables_that_look_like_claims_are_only_variables() {
    let arena = Arena::new().await;
    let query = "subscription($tenant_id: String, $sub: String, $role: String) {
        orderInserted(filter: {or: [{tenant_id: {eq: $tenant_id}}, {note: {eq: $sub}}, {note: {eq: $role}}]}) { note } }";
    let variables = json!({"tenant_id": "acme", "sub": "ann", "role": "admin"});
    let extensions =
        json!({"tenant_id": "acme", "tenant": "acme", "claims": {"tenant_id": "acme", "role": "admin"}});
    arena.shows_nothing(&json!({"query": query, "variables": variables, "extensions": extensions})).await;
}

#[tokio::test]
async fn a_primary_key_of_another_tenant_shows_nothing() {
    let arena = Arena::new().await;
    let of = |id: i32| json!({"query": format!("subscription {{ orderChanged(id: {id}) {{ operation record {{ note }} old {{ note }} eventId }} }}")});
    // Whoever writes next has these numbers: acme 1 and 3.
    arena.shows_nothing_but(&of(1), &of(3)).await;
    let seen = arena.seen(&arena.mallory(), "globex", &of(5)).await;
    assert!(seen.is_empty(), "not even that there is a row: {seen:?}");
}

#[tokio::test]
async fn rows_that_are_there_already_are_ones_own() {
    let arena = Arena::new().await;
    let rows = format!("insert into orders values (100, 'acme', '{SECRET}'), (101, 'globex', 'of globex')");
    arena.sql.run(&rows).await;
    for arguments in [
        "",
        "(id: 100)",
        "(filter: {tenant_id: {eq: \"acme\"}})",
        "(filter: {not: {tenant_id: {eq: \"globex\"}}})",
    ] {
        let query = format!(
            "subscription {{ orderChanged{arguments} @initial {{ operation record {{ note tenant_id }} }} }}"
        );
        arena.shows_nothing(&json!({"query": query})).await;
    }
}

#[tokio::test]
async fn custom_events_of_another_tenant_or_user_are_not_shown() {
    let arena = Arena::new().await;
    for document in [
        "subscription { letter { body } }",
        "subscription { letter(box: 7) { body } }",
        "subscription { a: letter(box: \"7\") { ...L } } fragment L on Letter { b: body __typename }",
    ] {
        arena.shows_nothing(&json!({"query": document})).await;
    }
}

#[tokio::test]
async fn the_general_field_shows_no_channel_of_tables_and_no_event_of_others() {
    let arena = Arena::new().await;
    arena.sql.run("select publish_event('plain', 'first', '1')").await;
    let query = "subscription($channel: String!) { events(channel: $channel) { id type data metadata tenantId userId } }";
    for channel in ["orders", "public.orders", "Orders", "letters", "tidings.events", "*", "%", ""] {
        let request = json!({"query": query, "variables": {"channel": channel}});
        let seen = arena.seen(&arena.mallory(), "globex", &request).await;
        assert!(!seen.iter().any(|text| text.contains(SECRET)), "{channel}: {seen:#?}");
    }
    // A channel that no table feeds and that has no redacted type.
    let request = json!({"query": query, "variables": {"channel": "plain"}});
    for (token, tenant, expected) in [(arena.mallory(), "globex", false), (arena.ann(), "acme", true)] {
        let mut stream = Sse::post(&arena.daemon, &token, &request).await;
        arena
            .sql
            .run(&format!(
                "select publish_event('plain', 'x', '\"{SECRET}\"', tenant_id => 'acme');
                 select publish_event('plain', 'last', '\"{tenant}\"')"
            ))
            .await;
        let first = stream.next().await.to_string();
        assert_eq!(first.contains(SECRET), expected, "{tenant}: {first}");
    }
}

#[tokio::test]
async fn arguments_of_resolvers_do_not_get_past_row_security() {
    let arena = Arena::new().await;
    for field in ["vault", "ofTenant"] {
        let query = format!("subscription($t: String) {{ letter {{ body {field}(tenant: $t) }} }}");
        let request = json!({"query": query, "variables": {"t": "acme"}});
        arena.shows_nothing(&request).await;
        // The means works on one's own.
        let own = json!({"query": query, "variables": {"t": "globex"}});
        let seen = arena.seen(&arena.mallory(), "globex", &own).await;
        assert!(seen.iter().any(|text| text.contains(&format!("\"{field}\":[\"of globex\"]"))), "{seen:#?}");
    }
}

#[tokio::test]
async fn what_a_resolver_complains_about_is_not_told_to_others() {
    let arena = Arena::new().await;
    let request = json!({"query": "subscription { letter(box: 7) { broken } }"});
    let seen = arena.seen(&arena.mallory(), "globex", &request).await;
    assert_eq!(seen.len(), 1, "of one's own letter one is told that it cannot be resolved: {seen:#?}");
    assert!(seen[0].contains("\"errors\"") && !seen[0].contains(SECRET), "{seen:#?}");
    let seen = arena.seen(&arena.ann(), "acme", &request).await;
    assert_eq!(seen.len(), 2, "acme's two letters cannot be resolved, and ann is told so: {seen:#?}");
}

#[tokio::test]
async fn who_shares_document_and_variables_shares_no_event() {
    let arena = Arena::new().await;
    let query = "subscription($t: String) { letter(box: 7) { body vault(tenant: $t) ofTenant(tenant: $t) } }";
    let request = json!({"query": query, "variables": {"t": "acme"}});
    // All at once, so that they are one group wherever they can be.
    let mut streams = Vec::new();
    for (user, tenant) in [("ann", "acme"), ("mallory", "globex"), ("adam", "acme"), ("mike", "globex")] {
        streams.push((tenant, Sse::post(&arena.daemon, &arena.token(user, tenant), &request).await));
    }
    arena.both_write().await;
    for (tenant, stream) in &mut streams {
        let letter = stream.next().await["data"]["letter"].take();
        let expected = if *tenant == "acme" {
            json!({"body": SECRET, "vault": [SECRET], "ofTenant": [SECRET]})
        } else {
            json!({"body": "of globex", "vault": null, "ofTenant": null})
        };
        assert_eq!(letter, expected, "{tenant}");
    }
}

#[tokio::test]
async fn redacted_fields_are_not_shown_by_aliases_fragments_or_filters() {
    let arena = Arena::new().await;
    let boss = json!({"sub": "ben", "tenant_id": "acme", "role": arena.boss});
    let boss = token_of(boss, Duration::from_secs(600));
    for document in [
        "subscription { letter(box: 9) { body pay } }",
        "subscription { letter(box: 9) { body x: pay } }",
        "subscription { letter(box: 9) { ...L } } fragment L on Letter { body ... on Letter { pay } }",
        "subscription($s: Boolean = false) { letter(box: 9) { body pay @skip(if: $s) } }",
    ] {
        let request = json!({"query": document});
        let mut ben = Sse::post(&arena.daemon, &boss, &request).await;
        let mut ann = Sse::post(&arena.daemon, &arena.ann(), &request).await;
        let letter = r#"{"box": "9", "body": "b", "pay": "SECRET-OF-ACME"}"#;
        arena
            .sql
            .run(&format!("select publish_event('letters', 'sent', '{letter}', tenant_id => 'acme')"))
            .await;
        let shown = ann.next().await.to_string();
        assert!(!shown.contains(SECRET), "{document}: {shown}");
        let shown = ben.next().await.to_string();
        assert!(shown.contains(SECRET), "the control fails: {document}: {shown}");
    }
}
