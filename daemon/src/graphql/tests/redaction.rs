//! What a role sees of the schema when introspection depends on it.

use serde_json::Value;

use super::shop;
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::graphql::request::Request;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;
use crate::source::catalog::{Catalog, Definition};

const BANK: &str = r#"
interface Named { name: String note: String }
type Person implements Named { name: String note: String @visibleTo(roles: ["boss"]) salary: Salary @visibleTo(roles: ["boss"]) }
type Firm implements Named { name: String note: String }
interface Scored { score: Int }
type Risk implements Scored { id: ID! score: Int @visibleTo(roles: ["boss"]) }
type Salary { amount: Int! currency: Currency! }
enum Currency { EUR USD }
enum Level { LOW HIGH }
type Vault { code: String @visibleTo(roles: ["boss"]) }
union Thing = Person | Vault
type Shared { at: Datetime level: Level }
extend type Subscription {
  personHired(name: String, note: String): Person @event(channel: "people")
  named: Named @event(channel: "people")
  scored: Scored @event(channel: "risks")
  risk: Risk @event(channel: "risks")
  thing: Thing @event(channel: "things")
  vaultOpened: Vault @event(channel: "vaults")
  byNote(note: String!): Person @event(channel: "people")
  audit(level: Level): Shared @event(channel: "audits") @visibleTo(roles: ["boss", "clerk"])
}
"#;

fn bank(by_role: bool) -> Schema {
    let definitions = vec![Definition { name: "bank".to_owned(), sdl: BANK.to_owned() }];
    let options = SchemaOptions { introspection_by_role: by_role, ..SchemaOptions::default() };
    let schema = Schema::build(&Catalog { definitions, ..shop() }, options).unwrap();
    assert_eq!(schema.problems(), [""; 0]);
    schema
}

fn prepare(schema: &Schema, role: Option<&str>, query: &str) -> Prepared {
    let identity = Identity { role: role.map(Into::into), ..Identity::default() };
    schema.prepare(&Request { query: query.to_owned(), ..Request::default() }, &identity)
}

fn query(schema: &Schema, role: Option<&str>, text: &str) -> Value {
    match prepare(schema, role, text) {
        Prepared::Query(result) => serde_json::from_slice(&result).unwrap(),
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(schema: &Schema, role: Option<&str>, text: &str) -> Vec<GraphQLError> {
    match prepare(schema, role, text) {
        Prepared::Refused(errors) => errors,
        other => panic!("{text}: {other:?}"),
    }
}

/// Names that introspection lists, in order of the schema.
fn names(schema: &Schema, role: Option<&str>, text: &str, at: &str) -> Vec<String> {
    let result = query(schema, role, text);
    let list = result.pointer(at).and_then(Value::as_array);
    let list = list.unwrap_or_else(|| panic!("{text}: {result}"));
    list.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

fn fields(schema: &Schema, role: Option<&str>, type_name: &str) -> Vec<String> {
    let text = format!("{{ __type(name: {type_name:?}) {{ fields {{ name }} }} }}");
    names(schema, role, &text, "/data/__type/fields")
}

fn types(schema: &Schema, role: Option<&str>) -> Vec<String> {
    names(schema, role, "{ __schema { types { name } } }", "/data/__schema/types")
}

const HIDDEN_TYPES: [&str; 3] = ["Salary", "Currency", "Vault"];

#[test]
fn a_role_sees_its_own_fields_and_the_types_that_they_lead_to() {
    let schema = bank(true);
    assert_eq!(fields(&schema, Some("boss"), "Person"), ["name", "note", "salary"]);
    let all = types(&schema, Some("boss"));
    assert!(HIDDEN_TYPES.iter().chain(&["Shared", "Level"]).all(|it| all.iter().any(|name| name == it)));
    for role in [None, Some("guest"), Some("clerk")] {
        assert_eq!(
            fields(&schema, role, "Person"),
            ["name", "note"],
            "an interface says that there is a note"
        );
        assert_eq!(fields(&schema, role, "Risk"), ["id"], "no implementer shows the score");
        let seen = types(&schema, role);
        assert!(!HIDDEN_TYPES.iter().any(|it| seen.iter().any(|name| name == it)), "{seen:?}");
        let sees_audit = role == Some("clerk");
        assert_eq!(seen.iter().any(|name| name == "Shared"), sees_audit);
        assert_eq!(seen.iter().any(|name| name == "Level"), sees_audit, "types of arguments, too");
        let roots = fields(&schema, role, "Subscription");
        assert_eq!(roots.iter().any(|name| name == "audit"), sees_audit);
        for hidden in ["vaultOpened", "scored", "byNote"] {
            assert!(!roots.iter().any(|name| name == hidden), "{hidden} {roots:?}");
        }
        assert!(["orderChanged", "events", "thing"].iter().all(|it| roots.iter().any(|name| name == it)));
    }
}

#[test]
fn an_argument_that_asks_for_a_hidden_field_is_hidden_with_it() {
    let text = r#"{ __type(name: "Subscription") { fields { name args { name } } } }"#;
    let arguments = |role| {
        let result = query(&bank(true), role, text);
        let fields = result.pointer("/data/__type/fields").and_then(Value::as_array).unwrap();
        let field = fields.iter().find(|it| it["name"] == "personHired").unwrap();
        field["args"].as_array().unwrap().len()
    };
    assert_eq!((arguments(Some("boss")), arguments(None)), (2, 1));
}

#[test]
fn a_hidden_name_is_refused_as_an_unknown_one_is() {
    let schema = bank(true);
    for (template, hidden) in [
        ("subscription { personHired { NAME } }", "salary"),
        ("subscription { personHired { NAME { amount } } }", "salary"),
        ("subscription { NAME { at } }", "audit"),
        ("subscription { thing { ... on NAME { code } } }", "Vault"),
        ("subscription { personHired(NAME: \"x\") { name } }", "note"),
        ("subscription ($x: NAME) { personHired(name: $x) { name } }", "Level"),
    ] {
        let (hidden, unknown) = (hidden.to_owned(), "q".repeat(hidden.len()));
        let told = |name: &str| {
            let errors = refused(&schema, Some("guest"), &template.replace("NAME", name));
            serde_json::to_string(&errors).unwrap().replace(name, "NAME")
        };
        assert_eq!(told(&hidden), told(&unknown), "{template}");
    }
    let near = refused(&schema, Some("guest"), "subscription { personHired { salar } }");
    assert!(!serde_json::to_string(&near).unwrap().contains("salary"), "{near:?}");
}

#[test]
fn answers_of_one_role_are_never_another_roles() {
    let schema = bank(true);
    let text = "{ __type(name: \"Salary\") { name } }";
    for _ in 0..2 {
        assert_eq!(query(&schema, Some("boss"), text)["data"]["__type"]["name"], "Salary");
        assert_eq!(query(&schema, Some("clerk"), text)["data"]["__type"], Value::Null);
        assert_eq!(query(&schema, None, text)["data"]["__type"], Value::Null);
    }
    let subscription = "subscription { personHired { salary { amount } } }";
    assert!(matches!(prepare(&schema, Some("boss"), subscription), Prepared::Subscription(_)));
    assert_eq!(refused(&schema, None, subscription)[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
    assert!(matches!(prepare(&schema, Some("boss"), subscription), Prepared::Subscription(_)));
}

#[test]
fn without_the_setting_everybody_sees_the_whole_schema() {
    let schema = bank(false);
    assert_eq!(fields(&schema, None, "Person"), ["name", "note", "salary"]);
    assert!(matches!(
        prepare(&schema, None, "subscription { personHired { salary { amount } } }"),
        Prepared::Subscription(_)
    ));
}

#[test]
fn the_sdl_of_a_role_can_be_printed() {
    let schema = bank(false);
    let (boss, other) = (schema.sdl_of("boss").unwrap(), schema.sdl_of("whoever").unwrap());
    assert_eq!(boss, schema.sdl());
    assert!(boss.contains("type Salary") && !other.contains("alary") && !other.contains("Vault"), "{other}");
}
