//! From catalogs to schemas.

use apollo_compiler::Schema as Compiled;

use super::{column, interest, result, row, schema, shop, table};
use crate::event::{Event, Operation};
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::project::Topic;
use crate::source::catalog::{Catalog, ColumnType};

fn build(tables: Vec<crate::source::catalog::AttachedTable>) -> Schema {
    let schema =
        Schema::build(&Catalog { tables, ..Catalog::default() }, SchemaOptions::default()).expect("a schema");
    Compiled::parse_and_validate(schema.sdl(), "schema.graphql").expect("valid SDL");
    schema
}

#[test]
fn the_sdl_says_what_the_tables_hold() {
    let sdl = schema().sdl();
    Compiled::parse_and_validate(sdl.as_str(), "schema.graphql").expect("valid SDL");
    for line in [
        "  id: BigInt!\n",
        "  total: BigFloat!\n",
        "  note: String\n",
        "  lines: [Int]!\n",
        "  weight: Float\n",
        "  extra: JSON\n",
        "  placed_at: Datetime\n",
        "  qty: Int!\n",
        "  operation: Operation!\n",
        "  tidings: ServerInfo!\n",
    ] {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
    let arguments = sdl.split_once("  orderInserted(").unwrap().1.split_once("): Order!").unwrap().0;
    assert!(
        arguments.contains("    id: BigInt,") && arguments.contains("    filter: OrderFilter,"),
        "{arguments}"
    );
    assert!(build(Vec::new()).sdl().contains("events("));
}

#[test]
fn comments_become_descriptions_whatever_they_contain() {
    let mut order = table("Order", &[("id", "int4#")]);
    order.comment = Some("All \"orders\" \\ of\r\nthe shop \"\"\" \u{7f} é \u{1}".to_owned());
    order.columns[0].comment = Some("}} # no".to_owned());
    let compiled = Compiled::parse_and_validate(build(vec![order.clone()]).sdl(), "s").expect("valid SDL");
    let object = compiled.get_object("Order").expect("the type");
    assert_eq!(object.description.as_deref(), order.comment.as_deref());
    assert_eq!(object.fields["id"].description.as_deref(), Some("}} # no"));
}

#[test]
fn only_captured_operations_have_fields() {
    let mut order = table("Order", &[("id", "int4#")]);
    order.operations = vec![Operation::Insert];
    let schema = build(vec![order]);
    assert!(!schema.sdl().contains("orderUpdated") && !schema.sdl().contains("orderDeleted"));
    let topics = interest(&schema, "subscription { orderChanged { eventId } }", "").topics;
    // A change of tenant is a DELETE and an INSERT whatever is captured.
    let all = [Operation::Insert, Operation::Update, Operation::Delete, Operation::Truncate];
    assert_eq!(*topics, all.map(|operation| Topic::Row("Order".into(), operation)));
}

#[test]
fn odd_names_are_served_under_legal_ones() {
    let odd = table(
        "Über Order",
        &[("id", "int4#"), ("a b", "text"), ("a-b", "text"), ("__x", "text"), ("2", "text")],
    );
    let schema = build(vec![odd]);
    let event = Event {
        type_name: Some("Über Order".into()),
        ..row(Operation::Insert, r#"{"id":1,"a b":"one","a-b":"two","__x":"three","2":"four"}"#)
    };
    let document = "subscription { _ber_OrderInserted(id: 1) { a_b a_b_2 _x _2 } }";
    assert_eq!(
        result(&schema, document, &event),
        r#"{"data":{"_ber_OrderInserted":{"a_b":"one","a_b_2":"two","_x":"three","_2":"four"}}}"#
    );
    let interest = interest(&schema, document, "");
    assert_eq!(*interest.topics, [Topic::Row("Über Order".into(), Operation::Insert)]);
}

#[test]
fn clashing_types_get_numbers() {
    let columns: &[(&str, &str)] = &[("id", "int4#")];
    let names = ["Event", "JSON", "Order", "OrderChange", "Query", "order", ""];
    let schema = build(names.into_iter().map(|name| table(name, columns)).collect());
    assert!(schema.problems().is_empty(), "{:?}", schema.problems());
    for name in ["Event_2", "JSON_2", "Order", "OrderChange_2", "Query_2", "order_2", "_"] {
        let text = format!("\ntype {name} {{");
        assert!(schema.sdl().contains(&text), "{name}\n{}", schema.sdl());
    }
    assert!(schema.sdl().contains("  event_2Inserted("));
}

#[test]
fn a_table_that_cannot_be_served_is_left_out_and_named() {
    let mut tables = shop().tables;
    tables.push(table("Empty", &[]));
    tables.push(table("Order", &[("other", "int4#")]));
    let schema = build(tables);
    assert_eq!(
        schema.problems(),
        [
            "table public.empty (type \"Empty\") has no captured column",
            "table public.order (type \"Order\") has the type name of another table"
        ]
    );
    interest(&schema, "subscription { orderChanged { record { total } } }", "");
    // Its channel stays closed to everybody.
    let document = "subscription { events(channel: \"public.empty\") { id } }";
    assert_eq!(super::refusal(&schema, document, ""), "FORBIDDEN 1:16");
}

#[test]
fn types_without_a_scalar_are_strings_or_json() {
    let mut odd =
        table("Odd", &[("id", "int4#"), ("during", "tstzrange!"), ("doc", "jsonb!"), ("docs", "json[]!")]);
    odd.columns.push(crate::source::catalog::Column {
        column_type: ColumnType::Enum { name: "mood".to_owned(), labels: vec!["sad".to_owned()] },
        ..column("mood", "text!")
    });
    odd.columns.push(crate::source::catalog::Column {
        column_type: ColumnType::Composite { name: "pair".to_owned(), attributes: Vec::new() },
        ..column("pair", "text!")
    });
    let sdl = build(vec![odd]).sdl();
    for line in
        ["  during: String!\n", "  doc: JSON\n", "  docs: [JSON]!\n", "  mood: Mood!\n", "  pair: JSON\n"]
    {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
}

#[test]
fn enums_and_composites_have_types_of_their_own() {
    let state = || ColumnType::Enum {
        name: "order_state".to_owned(),
        labels: ["new", "in progress", "null"].map(String::from).into(),
    };
    let point = ColumnType::Composite {
        name: "point 2d".to_owned(),
        attributes: vec![
            ("x".to_owned(), ColumnType::Base("float8".to_owned())),
            ("the state".to_owned(), state()),
        ],
    };
    let typed = |name: &str, column_type: ColumnType| crate::source::catalog::Column {
        column_type,
        ..column(name, "text")
    };
    let mut order = table("OrderState", &[("id", "int4#")]);
    order.columns.push(typed("state", state()));
    order.columns.push(typed("states", ColumnType::Array(Box::new(state()))));
    order.columns.push(typed("at", point.clone()));
    order.columns.push(typed("path", ColumnType::Array(Box::new(point))));
    let schema = build(vec![order]);
    let sdl = schema.sdl();
    for line in [
        "enum OrderState_2 {\n  new\n  \"\"\"The label \"in progress\".\"\"\"\n  in_progress\n",
        "  null_2\n}",
        "type Point2d {\n  x: Float\n  the_state: OrderState_2\n}",
        "  state: OrderState_2\n  states: [OrderState_2]\n  at: Point2d\n  path: [Point2d]\n",
        "  states: OrderState_2ListFilter\n",
    ] {
        assert!(sdl.contains(line), "{line}\n{sdl}");
    }
    let event = crate::event::Event {
        type_name: Some("OrderState".into()),
        ..row(
            Operation::Insert,
            r#"{"id":1,"state":"in progress","states":["null",null],"at":{"x":1.5,"the state":"new"},
                "path":[{"x":null},null,{"the state":"sold"}]}"#,
        )
    };
    let document = "subscription { orderStateInserted(filter: { state: { neq: new } }) {
        state states at { x the_state } path { the_state __typename } } }";
    let expected = r#"{"data":{"orderStateInserted":{"state":"in_progress","states":["null_2",null],"at":{"x":1.5,"the_state":"new"},"path":[{"the_state":null,"__typename":"Point2d"},null,{"the_state":null,"__typename":"Point2d"}]}},"errors":[{"message":"Field Point2d.the_state expects a label of its enum and found something else","locations":[{"line":2,"column":48}],"path":["orderStateInserted","path",2,"the_state"],"extensions":{"code":"INVALID_VALUE"}}]}"#;
    assert_eq!(result(&schema, document, &event), expected);
}

#[test]
fn keys_without_a_lookup_have_no_argument() {
    let columns = [
        ("a", "float8#"),
        ("b", "int4[]#"),
        ("c", "inet#"),
        ("d", "bpchar#"),
        ("e", "timetz#"),
        ("f", "numeric#"),
    ];
    let sdl = build(vec![table("Odd", &columns)]).sdl();
    let arguments = sdl.split_once("oddChanged(").unwrap().1.split_once("): OddChange!").unwrap().0;
    assert!(arguments.contains("    f: BigFloat,"), "{arguments}");
    assert_eq!(arguments.matches("Only rows with").count(), 1, "{arguments}");
}
