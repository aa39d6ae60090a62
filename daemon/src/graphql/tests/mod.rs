//! The behaviour of the module from outside: catalog, document and event in, text out.

mod definitions;

mod hostile;

mod introspection;

mod kept;

mod limits;

mod persisted;

mod redaction;

mod requests;

mod resolvers;

mod results;

mod schemas;

use crate::event::{Event, Operation};
use crate::graphql::error::GraphQLError;
use crate::graphql::prepare::Prepared;
use crate::graphql::request::Request;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;
use crate::hub::project::{Interest, ParsedEvent};
use crate::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

/// A column; `!` after the type is NOT NULL, `#` the primary key, `[]` an array.
pub(super) fn column(name: &str, column_type: &str) -> Column {
    let typname = column_type.trim_end_matches(['!', '#']);
    let base = |typname: &str| ColumnType::Base(typname.to_owned());
    Column {
        name: name.to_owned(),
        comment: None,
        not_null: column_type.contains(['!', '#']),
        primary_key: column_type.contains('#'),
        column_type: match typname.strip_suffix("[]") {
            Some(element) => ColumnType::Array(Box::new(base(element))),
            None => base(typname),
        },
    }
}

pub(super) fn table(type_name: &str, columns: &[(&str, &str)]) -> AttachedTable {
    AttachedTable {
        oid: 1,
        table: format!("public.{}", type_name.to_lowercase()),
        type_name: type_name.to_owned(),
        channel: format!("public.{}", type_name.to_lowercase()),
        comment: None,
        operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
        include_old: true,
        tenant_column: None,
        user_column: None,
        row_security: None,
        columns: columns.iter().map(|(name, column_type)| column(name, column_type)).collect(),
    }
}

pub(super) fn shop() -> Catalog {
    let order = table(
        "Order",
        &[
            ("id", "int8#"),
            ("total", "numeric!"),
            ("note", "text"),
            ("lines", "int4[]!"),
            ("tags", "text[]"),
            ("weight", "float8"),
            ("paid", "bool"),
            ("extra", "jsonb"),
            ("count", "int4"),
            ("placed at", "timestamptz"),
        ],
    );
    let line =
        table("Line", &[("order_id", "int8#"), ("sku", "text#"), ("at", "timestamptz#"), ("qty", "int2!")]);
    Catalog { tables: vec![line, order], ..Catalog::default() }
}

pub(super) fn schema() -> Schema {
    Schema::build(&shop(), SchemaOptions::default()).expect("the schema of the shop")
}

pub(super) fn request(query: &str, variables: &str) -> Request {
    let variables = if variables.is_empty() { "null" } else { variables };
    let variables = serde_json::from_str(variables).expect("variables as JSON");
    Request { query: query.to_owned(), variables, ..Request::default() }
}

pub(super) fn prepare(schema: &Schema, query: &str, variables: &str) -> Prepared {
    schema.prepare(&request(query, variables), &Identity::default())
}

pub(super) fn interest(schema: &Schema, query: &str, variables: &str) -> Interest {
    match prepare(schema, query, variables) {
        Prepared::Subscription(interest) => interest,
        other => panic!("{query} {variables} is no subscription: {other:?}"),
    }
}

pub(super) fn refused(schema: &Schema, query: &str, variables: &str) -> Vec<GraphQLError> {
    match prepare(schema, query, variables) {
        Prepared::Refused(errors) => errors,
        other => panic!("{query} {variables} is not refused: {other:?}"),
    }
}

/// Code and place of the first error.
pub(super) fn refusal(schema: &Schema, query: &str, variables: &str) -> String {
    let errors = refused(schema, query, variables);
    let first = &errors[0];
    assert!(!first.message.is_empty());
    match first.locations.first() {
        Some(at) => format!("{} {}:{}", first.extensions.code, at.line, at.column),
        None => first.extensions.code.to_owned(),
    }
}

pub(super) fn row(operation: Operation, payload: &str) -> Event {
    Event {
        id: 7,
        channel: "public.order".into(),
        event_type: operation.as_str().into(),
        type_name: Some("Order".into()),
        operation: Some(operation),
        payload: payload.into(),
        created_at_us: 1_767_323_045_120_000,
        ..Event::default()
    }
}

/// The result of an event, completed as a transport would.
pub(super) fn result(schema: &Schema, query: &str, event: &Event) -> String {
    let bytes = interest(schema, query, "").projection.project(&ParsedEvent::new(event));
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8") + "}";
    assert!(!text.contains(['\n', '\r']), "{text}");
    serde_json::from_str::<serde::de::IgnoredAny>(&text).expect("JSON");
    text
}
