//! The table that everything here is about, and its events.

use serde_json::{Map, Value};
use tidings_daemon::event::{Audience, Event, Operation};
use tidings_daemon::graphql::request::Request;
use tidings_daemon::source::catalog::{AttachedTable, Catalog, Column, ColumnType};

/// One attached table, `orders`, whose rows belong to tenants.
pub fn catalog() -> Catalog {
    let orders = AttachedTable { tenant_column: Some("tenant".to_owned()), ..orders() };
    Catalog { tables: vec![orders], ..Catalog::default() }
}

/// The same table, whose rows are everybody's.
pub fn orders() -> AttachedTable {
    let base = |name: &str, typname: &str| Column {
        name: name.to_owned(),
        comment: None,
        not_null: name == "id",
        primary_key: name == "id",
        column_type: ColumnType::Base(typname.to_owned()),
    };
    let mut columns = vec![
        base("id", "int8"),
        base("tenant", "text"),
        base("total", "numeric"),
        base("note", "text"),
        base("placed_at", "timestamptz"),
        base("lines", "int4"),
    ];
    let labels = ["new", "paid", "sent"].map(String::from).into();
    columns.push(Column {
        column_type: ColumnType::Enum { name: "order_state".to_owned(), labels },
        ..base("state", "text")
    });
    AttachedTable {
        oid: 1,
        table: "public.orders".to_owned(),
        type_name: "Order".to_owned(),
        channel: "public.orders".to_owned(),
        comment: None,
        operations: vec![Operation::Insert, Operation::Update, Operation::Delete],
        include_old: true,
        tenant_column: None,
        user_column: None,
        row_security: None,
        columns,
    }
}

/// An order of a tenant: 150 bytes of JSON.
pub fn inserted(id: i64, tenant: usize) -> Event {
    let payload = format!(
        r#"{{"id":{id},"tenant":"{}","total":12.50,"note":"a note of some length","placed_at":"2026-01-02T03:04:05+00:00","lines":3,"state":"paid"}}"#,
        self::tenant(tenant)
    );
    Event {
        id,
        xid: id.cast_unsigned(),
        channel: "public.orders".into(),
        event_type: "INSERT".into(),
        type_name: Some("Order".into()),
        operation: Some(Operation::Insert),
        audience: Audience { tenant: true, user: false },
        tenant_id: Some(self::tenant(tenant)),
        payload: payload.into(),
        created_at_us: 1_767_323_045_120_000,
        ..Event::default()
    }
}

/// The same, changed.
pub fn updated(id: i64, tenant: usize) -> Event {
    let event = inserted(id, tenant);
    Event {
        event_type: "UPDATE".into(),
        operation: Some(Operation::Update),
        old_payload: Some(event.payload.clone()),
        changed_columns: Some(vec!["total".into(), "state".into()]),
        ..event
    }
}

/// The name of a tenant.
pub fn tenant(number: usize) -> Box<str> {
    format!("tenant-{number}").into()
}

/// A request with variables, or with `null` for none.
pub fn request(query: &str, variables: Value) -> Request {
    let variables = match variables {
        Value::Object(variables) => Some(variables),
        _ => None::<Map<String, Value>>,
    };
    Request { query: query.to_owned(), variables, ..Request::default() }
}
