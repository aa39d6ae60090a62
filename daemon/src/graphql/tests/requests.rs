//! From requests to interests, results and refusals.

use std::sync::Arc;

use super::{interest, prepare, refusal, refused, request, schema, shop};
use crate::event::Operation;
use crate::graphql::prepare::{OperationKind, Prepared};
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;
use crate::hub::project::{Interest, Projection, Topic};

fn rows(operations: &[Operation]) -> Vec<Topic> {
    operations.iter().map(|operation| Topic::Row("Order".into(), *operation)).collect()
}

fn constraints(interest: &Interest) -> Vec<String> {
    interest.constraints.iter().map(|it| format!("{}={}", it.field, it.values.join("|"))).collect()
}

fn address(projection: &Arc<dyn Projection>) -> *const () {
    Arc::as_ptr(projection).cast()
}

fn queried(schema: &Schema, query: &str, variables: &str) -> String {
    match prepare(schema, query, variables) {
        Prepared::Query(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
        other => panic!("{query} is no query: {other:?}"),
    }
}

#[test]
fn root_fields_listen_to_their_operations() {
    use Operation::{Delete, Insert, Truncate, Update};
    let topics = |field: &str| {
        interest(&schema(), &format!("subscription {{ {field} {{ __typename }} }}"), "").topics.to_vec()
    };
    assert_eq!(topics("orderInserted"), rows(&[Insert]));
    assert_eq!(topics("orderUpdated"), rows(&[Update]));
    assert_eq!(topics("orderDeleted"), rows(&[Delete, Truncate]));
    assert_eq!(topics("orderChanged"), rows(&[Insert, Update, Delete, Truncate]));
    assert_eq!(topics(r#"events(channel: "chat")"#), [Topic::Channel("chat".into())]);
    assert_eq!(
        topics(r#"events(channel: "chat", types: ["a", "b", "a"])"#),
        [Topic::ChannelType("chat".into(), "a".into()), Topic::ChannelType("chat".into(), "b".into())]
    );
    assert_eq!(
        topics(r#"events(channel: "chat", types: "a")"#),
        [Topic::ChannelType("chat".into(), "a".into())]
    );
}

#[test]
fn key_arguments_become_constraints() {
    let document = "subscription($at: Datetime, $sku: String, $order: BigInt) {
      lineInserted(at: $at, sku: $sku, order_id: $order) { qty } }";
    let all = r#"{"at":"2026-01-02T04:04:05+01:00","sku":"x","order":9007199254740993}"#;
    let schema = schema();
    assert_eq!(
        constraints(&interest(&schema, document, all)),
        ["at=2026-01-02T03:04:05+00:00", "order_id=9007199254740993", "sku=x"]
    );
    assert_eq!(constraints(&interest(&schema, document, r#"{"order":"7","sku":null}"#)), ["order_id=7"]);
    assert!(interest(&schema, document, "").constraints.is_empty());
    let literal = |value: &str| format!("subscription {{ orderChanged(id: {value}) {{ eventId }} }}");
    assert_eq!(
        constraints(&interest(&schema, &literal("9223372036854775807"), "")),
        ["id=9223372036854775807"]
    );
    assert_eq!(constraints(&interest(&schema, &literal("\"7\""), "")), ["id=7"]);
    assert!(interest(&schema, &literal("null"), "").constraints.is_empty());
}

#[test]
fn equal_results_share_one_projection() {
    let schema = schema();
    let document = "subscription S($id: BigInt) { orderChanged(id: $id) { record { total } } }";
    let projection =
        |schema: &Schema, document: &str, variables: &str| interest(schema, document, variables).projection;
    let first = projection(&schema, document, r#"{"id":0}"#);
    for id in 1..1_000 {
        let other = projection(&schema, document, &format!("{{\"id\":{id}}}"));
        assert_eq!(address(&first), address(&other));
    }
    // The same selection at the same place of another document, or of the next schema.
    let renamed = document.replace("$id", "$no");
    assert_eq!(address(&first), address(&projection(&schema, &renamed, "")));
    let next = schema.rebuild(&shop()).expect("schema");
    assert_eq!(next.version(), schema.version() + 1);
    assert_eq!(address(&first), address(&projection(&next, document, "")));
    let conditional = "subscription($c: Boolean!) { orderChanged { eventId operation @skip(if: $c) } }";
    let (with, without) = (r#"{"c":false}"#, r#"{"c":true}"#);
    let kept = projection(&schema, conditional, with);
    assert_eq!(address(&kept), address(&projection(&schema, conditional, with)));
    assert_ne!(address(&kept), address(&projection(&schema, conditional, without)));
}

#[test]
fn queries_are_answered() {
    let schema = schema();
    assert_eq!(
        queried(&schema, "{ __typename t: tidings { version schemaVersion } }", ""),
        format!(
            r#"{{"data":{{"__typename":"Query","t":{{"version":"{}","schemaVersion":"1"}}}}}}"#,
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(
        queried(
            &schema,
            "\"A description.\" query Q(\"\"\"Another.\"\"\" $x: Boolean = true) { __typename @include(if: $x) }",
            ""
        ),
        r#"{"data":{"__typename":"Query"}}"#
    );
    assert_eq!(
        queried(&schema, "query($n: String!) { __type(name: $n) { name kind } }", r#"{"n":"OrderChange"}"#),
        r#"{"data":{"__type":{"name":"OrderChange","kind":"OBJECT"}}}"#
    );
    let answer = queried(&schema, INTROSPECTION, "");
    assert!(answer.contains(r#""subscriptionType":{"name":"Subscription"}"#) && !answer.contains("errors"));
}

#[test]
fn introspection_can_be_switched_off() {
    let options = SchemaOptions { introspection: false, ..SchemaOptions::default() };
    let schema = Schema::build(&shop(), options).expect("schema");
    assert_eq!(
        refusal(&schema, "{ a: __typename ...F } fragment F on Query { __schema { __typename } }", ""),
        "INTROSPECTION_DISABLED 1:46"
    );
    assert_eq!(queried(&schema, "{ __typename }", ""), r#"{"data":{"__typename":"Query"}}"#);
    let doubled: String = (0..6).map(|n| format!("a{n}: types {{ name }} ")).collect();
    let doubled = format!("{{ __schema {{ {doubled} }} }}");
    assert_eq!(refusal(&super::schema(), &doubled, ""), "TOO_MANY_ALIASES 1:3");
    let roots: String = (0..6).map(|n| format!("a{n}: __schema {{ __typename }} ")).collect();
    assert!(refusal(&super::schema(), &format!("{{ {roots} }}"), "").starts_with("TOO_MANY_ALIASES"));
    let deep = "{ __schema { types { fields { type { fields { type { fields { name } } } } } } } }";
    assert_eq!(refusal(&super::schema(), deep, ""), "INTROSPECTION_TOO_DEEP 1:3");
}

#[test]
fn the_kind_is_known_before_execution() {
    let schema = schema();
    let kind = |query: &str, name: Option<&str>| {
        let mut request = request(query, "");
        request.operation_name = name.map(str::to_owned);
        schema.operation_kind(&request, &Identity::default()).map_err(|errors| errors[0].extensions.code)
    };
    let all = "query A { __typename } mutation B { x } subscription C { orderChanged { eventId } }";
    assert_eq!(kind(all, Some("A")), Ok(OperationKind::Query));
    assert_eq!(kind(all, Some("B")), Ok(OperationKind::Mutation));
    assert_eq!(kind(all, Some("C")), Ok(OperationKind::Subscription));
    assert_eq!(kind(all, None), Err("OPERATION_RESOLUTION_FAILURE"));
    assert_eq!(kind(all, Some("D")), Err("OPERATION_RESOLUTION_FAILURE"));
    assert_eq!(kind("{ __typename }", Some("")), Ok(OperationKind::Query));
    assert_eq!(kind("{", None), Err("GRAPHQL_PARSE_FAILED"));
}

/// Document, variables, and what they are refused with.
const REFUSED: &[(&str, &str, &str)] = &[
    ("", "", "GRAPHQL_PARSE_FAILED"),
    ("# nothing", "", "GRAPHQL_PARSE_FAILED"),
    ("{", "", "GRAPHQL_PARSE_FAILED"),
    ("{ __typename } { __typename }", "", "GRAPHQL_VALIDATION_FAILED 1:1"),
    ("{ __typename } query A { __typename }", "", "GRAPHQL_VALIDATION_FAILED 1:1"),
    ("query A { __typename } query B { __typename }", "", "OPERATION_RESOLUTION_FAILURE"),
    ("fragment F on Query { __typename }", "", "GRAPHQL_VALIDATION_FAILED 1:1"),
    ("mutation { x }", "", "GRAPHQL_VALIDATION_FAILED 1:1"),
    ("type A { a: Int }", "", "GRAPHQL_VALIDATION_FAILED 1:1"),
    ("{\n  tidings { nope }\n}", "", "GRAPHQL_VALIDATION_FAILED 2:13"),
    ("subscription { orderChanged }", "", "GRAPHQL_VALIDATION_FAILED 1:16"),
    ("subscription { nope { a } }", "", "GRAPHQL_VALIDATION_FAILED 1:16"),
    ("subscription { __typename }", "", "GRAPHQL_VALIDATION_FAILED 1:16"),
    ("subscription { orderChanged @include(if: true) { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:29"),
    (
        "subscription { orderChanged(id: 1) { eventId } orderChanged(id: 2) { eventId } }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:16",
    ),
    (
        "subscription { a: orderChanged { eventId } b: orderChanged { eventId } }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:44",
    ),
    (
        "subscription { ...F } fragment F on Subscription { orderChanged { eventId } lineChanged { eventId } }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:77",
    ),
    (
        "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:32",
    ),
    ("subscription { orderChanged(id: \"x\") { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:33"),
    (
        "subscription { orderChanged(id: 9223372036854775808) { eventId } }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:33",
    ),
    ("subscription { orderChanged(id: 1.5) { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:33"),
    ("subscription { orderChanged(id: {a: 1}) { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:33"),
    ("subscription { lineChanged(at: \"soon\") { eventId } }", "", "BAD_USER_INPUT 1:16"),
    ("subscription { lineChanged(sku: 7) { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:33"),
    (
        "subscription($i: BigInt = \"x\") { orderChanged(id: $i) { eventId } }",
        "",
        "GRAPHQL_VALIDATION_FAILED 1:27",
    ),
    ("subscription($i: BigInt) { orderChanged(id: $i) { eventId } }", r#"{"i":true}"#, "BAD_USER_INPUT 1:14"),
    ("subscription($i: BigInt) { orderChanged(id: $i) { eventId } }", r#"{"i":1e19}"#, "BAD_USER_INPUT 1:14"),
    ("subscription($i: BigInt!) { orderChanged(id: $i) { eventId } }", "", "BAD_USER_INPUT 1:14"),
    (
        "subscription($i: BigInt!) { orderChanged(id: $i) { eventId } }",
        r#"{"i":null}"#,
        "BAD_USER_INPUT 1:14",
    ),
    ("subscription($i: Int) { orderChanged(id: $i) { eventId } }", "", "GRAPHQL_VALIDATION_FAILED 1:14"),
    ("subscription { events(channel: \"\") { id } }", "", "BAD_USER_INPUT 1:16"),
    ("subscription { events(channel: \"c\", types: []) { id } }", "", "BAD_USER_INPUT 1:16"),
    (
        "subscription($t: [String!]) { events(channel: \"c\", types: $t) { id } }",
        r#"{"t":["a",1]}"#,
        "BAD_USER_INPUT 1:14",
    ),
    ("subscription { events(channel: \"public.order\") { id } }", "", "FORBIDDEN 1:16"),
];

#[test]
fn bad_requests_are_refused_with_code_and_place() {
    let found = |query: &str, variables: &str| refusal(&schema(), query, variables);
    let wrong: Vec<_> = REFUSED
        .iter()
        .map(|(query, variables, expected)| (query, found(query, variables), expected))
        .filter(|(_, found, expected)| !found.starts_with(**expected))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn all_bad_variables_are_reported_at_once() {
    let document = "subscription($a: [String!], $b: String!) { events(channel: $b, types: $a) { id } }";
    let errors = refused(&schema(), document, r#"{"a":["x",null]}"#);
    let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Variable $a: of type String! must not be null at \"[1]\"",
            "Variable $b: of required type String! was not provided"
        ]
    );
}

#[test]
fn row_channels_are_for_those_who_may() {
    let options = SchemaOptions { events_roles: vec!["auditor".to_owned()], ..SchemaOptions::default() };
    let schema = Schema::build(&shop(), options).expect("schema");
    let request = request("subscription { events(channel: \"public.order\") { data } }", "");
    let allowed =
        |identity: Identity| matches!(schema.prepare(&request, &identity), Prepared::Subscription(_));
    assert!(!allowed(Identity::default()));
    assert!(!allowed(Identity { role: Some("clerk".into()), ..Identity::default() }));
    assert!(allowed(Identity { role: Some("auditor".into()), ..Identity::default() }));
    assert!(allowed(Identity { admin: true, ..Identity::default() }));
}

/// The query of graphql-js 17 with its usual options.
const INTROSPECTION: &str = "
    query IntrospectionQuery {
      __schema {
        queryType { name kind }
        mutationType { name kind }
        subscriptionType { name }
        types { ...FullType }
        directives { name description locations args { ...InputValue } }
      }
    }
    fragment FullType on __Type {
      kind name description
      fields(includeDeprecated: true) {
        name description args { ...InputValue } type { ...TypeRef } isDeprecated deprecationReason
      }
      inputFields { ...InputValue }
      interfaces { ...TypeRef }
      enumValues(includeDeprecated: true) { name description isDeprecated deprecationReason }
      possibleTypes { ...TypeRef }
    }
    fragment InputValue on __InputValue { name description type { ...TypeRef } defaultValue }
    fragment TypeRef on __Type {
      kind name
      ofType { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name
        ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } } } } } }
    }";

#[test]
fn a_throttle_stands_on_the_root_field_and_is_bounded() {
    let schema = schema();
    let throttled = |directive: &str| {
        let variables = if directive.contains("$ms") { "($ms: Int! = 250)" } else { "" };
        let document =
            format!("subscription{variables} {{ orderChanged {directive} {{ eventId record {{ id }} }} }}");
        interest(&schema, &document, "").throttle
    };
    assert_eq!(throttled(""), None);
    let all = throttled("@throttle(ms: $ms)").unwrap();
    assert_eq!((all.interval.as_millis(), all.key.len()), (250, 0));
    let by_id = throttled(r#"@throttle(ms: 1, key: "record.id")"#).unwrap();
    assert_eq!(by_id.key, ["record".into(), "id".into()]);
    for (document, code) in [
        ("subscription { orderChanged @throttle(ms: 0) { eventId } }", "BAD_USER_INPUT 1:29"),
        ("subscription { orderChanged @throttle(ms: 3600001) { eventId } }", "BAD_USER_INPUT 1:29"),
        (r#"subscription { orderChanged @throttle(ms: 1, key: "a..b") { eventId } }"#, "BAD_USER_INPUT 1:29"),
        (r#"subscription { orderChanged @throttle(ms: 1, key: "") { eventId } }"#, "BAD_USER_INPUT 1:29"),
        ("subscription { orderChanged { eventId @throttle(ms: 1) } }", "BAD_USER_INPUT 1:39"),
        ("subscription { orderChanged @throttle { eventId } }", "GRAPHQL_VALIDATION_FAILED 1:29"),
        ("subscription @throttle(ms: 1) { orderChanged { eventId } }", "GRAPHQL_VALIDATION_FAILED 1:14"),
    ] {
        assert_eq!(refusal(&schema, document, ""), code, "{document}");
    }
}
