//! What introspection says of types that tables do not have. Those that they have are compared with
//! graphql-js by the corpus.

use serde_json::{Value, json};

use super::shop;
use crate::graphql::prepare::Prepared;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::source::catalog::{Catalog, Definition};

const PLACES: &str = r#"
"Where."
input Place @oneOf { city: String "In full." zip: String @deprecated }
input Area { place: Place = { city: "Paris" } sizes: [Int!]! = [1, 2] }
scalar Shade @specifiedBy(url: "https://example.com/shade")
enum Colour { RED GREY @deprecated(reason: "Dull.") }
interface Found { at: String }
type Shop implements Found { at: String shades: [[Shade!]]! }
type House implements Found { at: String }
union Thing = Shop | House
type Find implements Found { at: String colour: Colour thing: Thing found: Found old(area: Area): String @deprecated(reason: "Gone.") }
extend type Subscription { found: Find @event(channel: "finds") }
"#;

fn asked(query: &str) -> Value {
    let definitions = vec![Definition { name: "places".to_owned(), sdl: PLACES.to_owned() }];
    let schema = Schema::build(&Catalog { definitions, ..shop() }, SchemaOptions::default()).unwrap();
    assert_eq!(schema.problems(), [""; 0]);
    match super::prepare(&schema, query, "") {
        Prepared::Query(result) => serde_json::from_slice::<Value>(&result).unwrap()["data"].take(),
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn input_types_say_whether_one_of_their_fields_is_given() {
    let query = r#"query($all: Boolean! = true) {
        place: __type(name: "Place") { isOneOf description inputFields { name } }
        area: __type(name: "Area") { isOneOf inputFields(includeDeprecated: $all) {
            name defaultValue type { kind isOneOf name ofType { kind ofType { kind ofType { name isOneOf } } } } } }
        object: __type(name: "Find") { isOneOf }
    }"#;
    let wrapped =
        json!({"kind": "LIST", "ofType": {"kind": "NON_NULL", "ofType": {"name": "Int", "isOneOf": null}}});
    assert_eq!(
        asked(query),
        json!({
            "place": {"isOneOf": true, "description": "Where.", "inputFields": [{"name": "city"}]},
            "area": {"isOneOf": false, "inputFields": [
                {"name": "place", "defaultValue": "{city: \"Paris\"}",
                 "type": {"kind": "INPUT_OBJECT", "isOneOf": true, "name": "Place", "ofType": null}},
                {"name": "sizes", "defaultValue": "[1, 2]",
                 "type": {"kind": "NON_NULL", "isOneOf": null, "name": null, "ofType": wrapped}},
            ]},
            "object": {"isOneOf": null},
        })
    );
}

#[test]
fn what_is_deprecated_is_shown_to_whom_asks_for_it() {
    let query = r#"{
        fields: __type(name: "Find") { fields { name } }
        all: __type(name: "Find") { fields(includeDeprecated: true) { name isDeprecated deprecationReason } }
        inputs: __type(name: "Place") { inputFields(includeDeprecated: true) { description deprecationReason } }
    }"#;
    let shown = ["at", "colour", "thing", "found"];
    let mut all =
        shown.map(|name| json!({"name": name, "isDeprecated": false, "deprecationReason": null})).to_vec();
    all.push(json!({"name": "old", "isDeprecated": true, "deprecationReason": "Gone."}));
    assert_eq!(
        asked(query),
        json!({
            "fields": {"fields": shown.map(|name| json!({"name": name}))},
            "all": {"fields": all},
            "inputs": {"inputFields": [
                {"description": null, "deprecationReason": null},
                {"description": "In full.", "deprecationReason": "No longer supported"},
            ]},
        })
    );
    let query = r#"{
        colours: __type(name: "Colour") { enumValues { name } }
        all: __type(name: "Colour") { enumValues(includeDeprecated: true) { name deprecationReason } }
    }"#;
    assert_eq!(
        asked(query),
        json!({
            "colours": {"enumValues": [{"name": "RED"}]},
            "all": {"enumValues": [
                {"name": "RED", "deprecationReason": null},
                {"name": "GREY", "deprecationReason": "Dull."},
            ]},
        })
    );
}

#[test]
fn abstract_types_name_their_members() {
    let of = |name: &str, fields: &str| {
        asked(&format!("{{ __type(name: {name:?}) {{ {fields} }} }}"))["__type"].take()
    };
    let names = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    assert_eq!(
        of("Shop", "interfaces { name } possibleTypes { name }"),
        json!({"interfaces": names(&["Found"]), "possibleTypes": null})
    );
    assert_eq!(
        of("Thing", "kind possibleTypes { name } fields { name }"),
        json!({"kind": "UNION", "possibleTypes": names(&["Shop", "House"]), "fields": null})
    );
    assert_eq!(
        of("Found", "kind interfaces { name } possibleTypes { name }"),
        json!({"kind": "INTERFACE", "interfaces": [], "possibleTypes": names(&["Shop", "House", "Find"])})
    );
    assert_eq!(
        of("Shade", "kind specifiedByURL isOneOf"),
        json!({"kind": "SCALAR", "specifiedByURL": "https://example.com/shade", "isOneOf": null})
    );
}
