//! Custom SDL: from documents to what subscribers get.

use super::{shop, table};
use crate::event::Event;
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::graphql::request::Request;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;
use crate::hub::project::{Interest, ParsedEvent, Topic};
use crate::source::catalog::{Catalog, Definition};

const CHAT: &str = r#"
enum Mood { GLAD SAD }
interface Post { id: ID! author: String }
type Text implements Post { id: ID! author: String! body: String! mood: Mood }
type Picture implements Post { id: ID! author: String url: String! width: Int }
type Card { kind: String number: String @visibleTo(roles: ["cashier"]) cvc: Int! @visibleTo(roles: ["cashier", "boss"]) }
union Item = Text | Card
extend type Subscription {
  "A message in a room."
  textPosted(room: ID!, author: [String!], mood: Mood): Text! @event(channel: "chat", type: "text")
  posted(where: ID @match(field: "room"), ignored: String @match(field: null)): Post! @event(channel: "chat", types: ["text", "picture"])
  item: Item @event(channel: "items")
  cardUsed(number: String): Card @event(channel: "cards")
  itemUsed(number: String): [Item] @event(channel: "cards")
  secret: Int @event(channel: "secrets") @visibleTo(roles: ["boss"])
  temperature(over: BigFloat @match(field: "limit")): Float! @event(channel: "weather")
  words: [String!]! @event(channel: "words")
}
"#;

fn build(documents: &[(&str, &str)]) -> Schema {
    let definitions =
        documents.iter().map(|(name, sdl)| Definition { name: (*name).to_owned(), sdl: (*sdl).to_owned() });
    let catalog = Catalog { definitions: definitions.collect(), ..shop() };
    Schema::build(&catalog, SchemaOptions::default()).expect("a schema")
}

fn chat() -> Schema {
    let schema = build(&[("chat", CHAT)]);
    assert_eq!(schema.problems(), [""; 0]);
    schema
}

fn try_subscribe(schema: &Schema, role: Option<&str>, query: &str) -> Result<Interest, GraphQLError> {
    let identity = Identity { role: role.map(Into::into), ..Identity::default() };
    let request = Request { query: format!("subscription {{ {query} }}"), ..Request::default() };
    match schema.prepare(&request, &identity) {
        Prepared::Subscription(interest) => Ok(interest),
        Prepared::Refused(mut errors) => Err(errors.remove(0)),
        Prepared::Query(_) => panic!("{query} is no query"),
    }
}

fn subscribe(schema: &Schema, role: Option<&str>, query: &str) -> Interest {
    try_subscribe(schema, role, query).unwrap_or_else(|error| panic!("{query}: {error:?}"))
}

fn published(channel: &str, payload: &str) -> Event {
    Event { channel: channel.into(), event_type: "text".into(), payload: payload.into(), ..Event::default() }
}

fn result(role: Option<&str>, query: &str, payload: &str) -> String {
    let interest = subscribe(&chat(), role, query);
    let bytes = interest.projection.project(&ParsedEvent::new(&published("any", payload)));
    String::from_utf8(bytes.to_vec()).unwrap() + "}"
}

#[test]
fn events_are_typed_and_matched_by_arguments() {
    let schema = chat();
    let interest = subscribe(&schema, None, r#"textPosted(room: 7, author: ["bob", "ann"]) { body }"#);
    assert_eq!(*interest.topics, [Topic::ChannelType("chat".into(), "text".into())]);
    let spelled: Vec<_> =
        interest.constraints.iter().map(|it| format!("{}={}", it.field, it.values.join("|"))).collect();
    assert_eq!(spelled, ["author=ann|bob", "room=7"]);
    let interest = subscribe(&schema, None, r#"posted(where: "7", ignored: "x") { id }"#);
    assert_eq!(interest.topics.len(), 2);
    assert_eq!(&*interest.constraints[0].field, "room");
    assert_eq!(interest.constraints.len(), 1, "an argument that is not matched");
    assert_eq!(*subscribe(&schema, None, "words").topics, [Topic::Channel("words".into())]);
    let interest = subscribe(&schema, None, r#"temperature(over: "1.50")"#);
    assert_eq!(*interest.constraints[0].values, ["15e-1".into()]);
}

#[test]
fn results_follow_their_types() {
    for (query, payload, data) in [
        (
            r#"textPosted(room: 1) { __typename id author mood }"#,
            r#"{"id":5,"author":"ann","mood":"GLAD","extra":1}"#,
            r#"{"textPosted":{"__typename":"Text","id":"5","author":"ann","mood":"GLAD"}}"#,
        ),
        (
            "posted { id ... on Picture { url } ... on Text { body } }",
            r#"{"__typename":"Picture","id":"a","url":"u","body":"no"}"#,
            r#"{"posted":{"id":"a","url":"u"}}"#,
        ),
        (
            "item { __typename ... on Card { kind } }",
            r#"{"__typename":"Card","kind":"k"}"#,
            r#"{"item":{"__typename":"Card","kind":"k"}}"#,
        ),
        ("temperature", "21.5", r#"{"temperature":21.5}"#),
        ("words", r#"["a", "b"]"#, r#"{"words":["a","b"]}"#),
    ] {
        assert_eq!(result(None, query, payload), format!(r#"{{"data":{data}}}"#), "{query}");
    }
}

#[test]
fn what_does_not_fit_is_an_error_with_a_path() {
    for (query, payload, data, path) in [
        (
            "textPosted(room: 1) { mood }",
            r#"{"mood":"ANGRY"}"#,
            r#"{"textPosted":{"mood":null}}"#,
            r#"["textPosted","mood"]"#,
        ),
        ("posted { id }", r#"{"id":1}"#, "null", r#"["posted"]"#),
        ("posted { id }", r#"{"__typename":"Card","id":1}"#, "null", r#"["posted"]"#),
        ("item { __typename }", r#"{"__typename":"Picture"}"#, r#"{"item":null}"#, r#"["item"]"#),
        ("textPosted(room: 1) { body }", "[1]", "null", r#"["textPosted"]"#),
        ("cardUsed { kind }", "\"x\"", r#"{"cardUsed":null}"#, r#"["cardUsed"]"#),
        // The object promises more than its interface.
        ("posted { author }", r#"{"__typename":"Text"}"#, "null", r#"["posted","author"]"#),
        ("posted { author }", r#"{"__typename":"Picture"}"#, r#"{"posted":{"author":null}}"#, ""),
    ] {
        let result = result(None, query, payload);
        assert!(result.starts_with(&format!(r#"{{"data":{data}"#)), "{query}: {result}");
        assert_eq!(result.contains("errors"), !path.is_empty(), "{result}");
        assert!(path.is_empty() || result.contains(&format!(r#""path":{path}"#)), "{result}");
    }
}

#[test]
fn hidden_fields_are_null_or_refused_and_never_shared() {
    let schema = chat();
    let card = published("cards", r#"{"kind":"visa","number":"4111","cvc":123}"#);
    let shown = |role: Option<&str>, query: &str| {
        let bytes = subscribe(&schema, role, query).projection.project(&ParsedEvent::new(&card));
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let query = "cardUsed { kind number }";
    assert_eq!(shown(Some("cashier"), query), r#"{"data":{"cardUsed":{"kind":"visa","number":"4111"}}"#);
    for role in [None, Some("boss"), Some("clerk")] {
        assert_eq!(shown(role, query), r#"{"data":{"cardUsed":{"kind":"visa","number":null}}"#);
    }
    let address = |role| std::sync::Arc::as_ptr(&subscribe(&schema, role, query).projection).cast::<()>();
    assert_eq!(address(None), address(Some("clerk")), "one class");
    assert_ne!(address(None), address(Some("cashier")));
    let refusal = |role: Option<&str>, query: &str| {
        let error = try_subscribe(&schema, role, query).expect_err(query);
        (error.extensions.code, serde_json::to_string(&error.path).unwrap(), error.locations[0].column)
    };
    let column = |text: &str| text.len() + 1;
    assert_eq!(
        refusal(None, "cardUsed { no: cvc }"),
        ("FORBIDDEN", r#"["cardUsed","no"]"#.into(), column("subscription { cardUsed { "))
    );
    assert_eq!(shown(Some("boss"), "cardUsed { cvc }"), r#"{"data":{"cardUsed":{"cvc":123}}"#);
    assert_eq!(refusal(None, "secret").0, "FORBIDDEN");
    subscribe(&schema, Some("boss"), "secret");
    // Asking for a value is a way to find it out.
    assert_eq!(refusal(None, r#"cardUsed(number: "4111") { kind }"#).0, "FORBIDDEN");
    subscribe(&schema, Some("cashier"), r#"cardUsed(number: "4111") { kind }"#);
    assert_eq!(
        refusal(None, r#"itemUsed(number: "4111") { __typename }"#).0,
        "FORBIDDEN",
        "one of the union hides it"
    );
    // And so is the event as a whole.
    for channel in ["cards", "items", "secrets"] {
        assert_eq!(refusal(None, &format!("events(channel: {channel:?}) {{ data }}")).0, "FORBIDDEN");
    }
    subscribe(&schema, None, r#"events(channel: "chat") { data }"#);
}

#[test]
fn clients_see_neither_directives_nor_channels() {
    let sdl = chat().sdl();
    for secret in ["@event", "@match", "@visibleTo", "cashier", "ResolveScope", "directive @event"] {
        assert!(!sdl.contains(secret), "{secret}\n{sdl}");
    }
    assert!(sdl.contains("A message in a room."));
}

#[test]
fn a_document_that_does_not_compose_costs_no_other() {
    let schema = build(&[
        ("a", "extend type Subscription { a: B @event(channel: \"a\") }"),
        ("b", "type B { id: ID }"),
        ("broken", "type Broken { id: Missing }"),
        ("clash", "type Order { id: ID } "),
        ("dependent", "extend type Subscription { c: Broken @event(channel: \"c\") }"),
        ("functions", "extend type Subscription { f: B @event(channel: \"f\") @resolve(function: \"f\") }"),
        ("mute", "extend type Subscription { m: B }"),
        ("rows", "extend type Subscription { r: B @event(channel: \"public.order\") }"),
        ("syntax", "type {"),
    ]);
    let problems = schema.problems();
    for (name, reason) in [
        ("broken", "1:19: "),
        ("clash", "Order"),
        ("dependent", "Broken"),
        ("functions", "schema.function"),
        ("mute", "no @event"),
        ("rows", "which a table feeds"),
        ("syntax", "1:6"),
    ] {
        let start = format!("definitions {name:?}: ");
        let problem = problems.iter().find(|it| it.starts_with(&start)).expect(name);
        assert!(problem.contains(reason), "{problem}");
    }
    assert_eq!(problems.len(), 7, "{problems:?}");
    subscribe(&schema, None, "a { id }");
    subscribe(&schema, None, "orderInserted { id }");
}

#[test]
fn one_of_is_declared_where_it_is_used_and_enforced() {
    let schema = build(&[(
        "one",
        "input Place @oneOf { city: String zip: String }
         extend type Subscription { weather(at: Place! @match(field: null)): Float @event(channel: \"weather\") }",
    )]);
    assert_eq!(schema.problems(), [""; 0]);
    assert!(schema.sdl().contains("@oneOf") && !chat().sdl().contains("@oneOf"));
    subscribe(&schema, None, r#"weather(at: { city: "Bern" })"#);
    let refused = try_subscribe(&schema, None, r#"weather(at: { city: "Bern", zip: "3000" })"#).unwrap_err();
    assert_eq!(refused.extensions.code, "GRAPHQL_VALIDATION_FAILED");
}

#[test]
fn a_document_that_is_left_out_keeps_its_channels_closed() {
    let hiding = r#"type Note { text: String ip: String @visibleTo(roles: ["ops"]) order: Missing }
        extend type Subscription { noted: Note @event(channel: "notes") }"#;
    let schema = build(&[("hiding", hiding)]);
    assert_eq!(schema.problems().len(), 1);
    let read =
        |channel: &str| try_subscribe(&schema, None, &format!("events(channel: {channel:?}) {{ data }}"));
    assert_eq!(read("notes").unwrap_err().extensions.code, "FORBIDDEN");
    assert!(read("chat").is_ok());
    let unreadable = build(&[("unreadable", "type {")]);
    let refused = try_subscribe(&unreadable, None, r#"events(channel: "chat") { data }"#);
    assert_eq!(refused.unwrap_err().extensions.code, "FORBIDDEN", "nobody knows what it hid");
}

#[test]
fn types_behind_interfaces_are_counted_before_they_fill_the_memory() {
    let schema = build(&[(
        "nodes",
        "interface Node { parent: Node }
         type A implements Node { parent: Node } type B implements Node { parent: Node }
         extend type Subscription { node: Node @event(channel: \"nodes\") }",
    )]);
    let nested =
        |depth: usize| format!("node {{ {} __typename {} }}", "parent {".repeat(depth), "}".repeat(depth));
    subscribe(&schema, None, &nested(5));
    let refused = try_subscribe(&schema, None, &nested(25)).unwrap_err();
    assert_eq!(refused.extensions.code, "TOO_MANY_FIELDS");
}

#[test]
fn a_result_of_nothing_but_names_is_bounded_too() {
    let schema = build(&[(
        "items",
        "type Item { x: Int } extend type Subscription { items: [Item] @event(channel: \"items\") }",
    )]);
    let aliases: String =
        (0..40).map(|number| format!("a{number}_{}: __typename ", "x".repeat(1_000))).collect();
    let interest = subscribe(&schema, None, &format!("items {{ {aliases} }}"));
    let event = published("items", &format!("[{}{{}}]", "{},".repeat(5_000)));
    let result = interest.projection.project(&ParsedEvent::new(&event));
    assert!(result.len() < (9 << 20), "{}", result.len());
    assert!(String::from_utf8_lossy(&result).contains("RESULT_TOO_LARGE"));
}

#[test]
fn a_table_that_comes_later_keeps_its_channel() {
    let tables = vec![table("Chat", &[("id", "int4#")])];
    let definitions = vec![Definition {
        name: "d".to_owned(),
        sdl: "extend type Subscription { x: Int @event(channel: \"public.chat\") }".to_owned(),
    }];
    let schema = Schema::build(&Catalog { tables, definitions }, SchemaOptions::default()).unwrap();
    assert!(schema.problems()[0].contains("which a table feeds"), "{:?}", schema.problems());
    subscribe(&schema, None, "chatInserted { id }");
}
