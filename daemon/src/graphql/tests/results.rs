//! From events to results.

use super::{interest, result, row, schema};
use crate::event::{Event, Operation};
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::project::ParsedEvent;

const ORDER: &str = r#"{"id":5,"total":1.50,"note":"a\u0000\"b","lines":[1,null,2],"tags":["x"],"weight":0.5,
"paid":true,"extra":{"a":
 [1e400000,"\n"]},"count":3,"placed at":"2026-01-02T03:04:05+00:00"}"#;

fn inserted(selection: &str, payload: &str) -> String {
    result(
        &schema(),
        &format!("subscription {{ orderInserted {{ {selection} }} }}"),
        &row(Operation::Insert, payload),
    )
}

#[test]
fn every_kind_of_column_is_written() {
    assert_eq!(
        inserted("id total note lines tags weight paid extra count placed_at __typename", ORDER),
        r#"{"data":{"orderInserted":{"id":"5","total":"1.50","note":"a\u0000\"b","lines":[1,null,2],"tags":["x"],"#
            .to_owned()
            + r#""weight":0.5,"paid":true,"extra":{"a": [1e400000,"\n"]},"count":3,"#
            + r#""placed_at":"2026-01-02T03:04:05+00:00","__typename":"Order"}}}"#
    );
}

#[test]
fn aliases_and_fragments_merge_in_response_order() {
    let document = "subscription S($yes: Boolean! = true, $no: Boolean = false) {
      ...Root
    }
    fragment Root on Subscription { changed: orderChanged {
      when: createdAt
      ... on OrderChange { record { id ...Money } }
      ... @include(if: $yes) { record { n: note } }
      ... @skip(if: $yes) { eventId }
      record @include(if: $no) { weight }
      __typename
    } }
    fragment Money on Order { total ...Again id }
    fragment Again on Order { ...More sum: total @skip(if: $no) }
    fragment More on Order { count }";
    assert_eq!(
        result(&schema(), document, &row(Operation::Update, ORDER)),
        r#"{"data":{"changed":{"when":"2026-01-02T03:04:05.12Z","record":{"id":"5","total":"1.50","count":3,"#
            .to_owned() + r#""sum":"1.50","n":"a\u0000\"b"},"__typename":"OrderChange"}}}"#
    );
}

#[test]
fn equal_root_fields_are_one() {
    let document = "subscription { orderInserted(id: 5) { id } orderInserted(id: 5) { count id } }";
    assert_eq!(
        result(&schema(), document, &row(Operation::Insert, ORDER)),
        r#"{"data":{"orderInserted":{"id":"5","count":3}}}"#
    );
}

#[test]
fn skip_and_include_take_their_variables() {
    let schema = schema();
    let document = "subscription($a: Boolean!, $b: Boolean!) {
      orderInserted { id @skip(if: $a) ...F @include(if: $b) } } fragment F on Order { count }";
    let event = row(Operation::Insert, ORDER);
    let result = |variables: &str| {
        let bytes = interest(&schema, document, variables).projection.project(&ParsedEvent::new(&event));
        String::from_utf8_lossy(&bytes).into_owned()
    };
    assert_eq!(result(r#"{"a":false,"b":false}"#), r#"{"data":{"orderInserted":{"id":"5"}}"#);
    assert_eq!(result(r#"{"a":true,"b":true}"#), r#"{"data":{"orderInserted":{"count":3}}"#);
    assert_eq!(result(r#"{"a":true,"b":false}"#), r#"{"data":{"orderInserted":{}}"#);
}

#[test]
fn a_change_tells_operation_old_and_context() {
    let document = "subscription { orderChanged { operation record { id } old { id count } changedColumns
      eventId metadata createdAt } }";
    let event = Event {
        old_payload: Some(r#"{"id":5,"count":2}"#.into()),
        changed_columns: Some(vec!["count".into(), "a \"b".into()]),
        metadata: Some("{\"actor\":\n1}".into()),
        ..row(Operation::Update, ORDER)
    };
    let options =
        SchemaOptions { metadata_channels: vec!["public.order".to_owned()], ..SchemaOptions::default() };
    let open = Schema::build(&super::shop(), options).expect("schema");
    assert_eq!(
        result(&open, document, &event),
        r#"{"data":{"orderChanged":{"operation":"UPDATE","record":{"id":"5"},"old":{"id":"5","count":2},"#
            .to_owned()
            + r#""changedColumns":["count","a \"b"],"eventId":"7","metadata":{"actor":1},"#
            + r#""createdAt":"2026-01-02T03:04:05.12Z"}}}"#
    );
    assert!(result(&schema(), document, &event).contains(r#""metadata":null"#));
    assert!(
        result(&schema(), document, &row(Operation::Delete, ORDER))
            .contains(r#""record":{"id":"5"},"old":null"#)
    );
}

#[test]
fn nulls_move_up_to_where_one_may_stand() {
    // The field itself.
    assert_eq!(
        inserted("id count", r#"{"id":5,"count":2147483648}"#),
        r#"{"data":{"orderInserted":{"id":"5","count":null}},"errors":[{"message":"Int cannot represent 2147483648: "#
            .to_owned()
            + r#"it is no 32-bit integer","locations":[{"line":1,"column":35}],"path":["orderInserted","count"],"#
            + r#""extensions":{"code":"INVALID_VALUE"}}]}"#
    );
    // An item of a list.
    assert_eq!(
        inserted("l: lines", r#"{"lines":[1,"x",[2],3]}"#),
        r#"{"data":{"orderInserted":{"l":[1,null,null,3]}},"errors":[{"message":"Int cannot represent \"x\": it is no 32-bit integer","#
            .to_owned()
            + r#""locations":[{"line":1,"column":32}],"path":["orderInserted","l",1],"extensions":{"code":"INVALID_VALUE"}},"#
            + r#"{"message":"Int cannot represent a list","#
            + r#""locations":[{"line":1,"column":32}],"path":["orderInserted","l",2],"extensions":{"code":"INVALID_VALUE"}}]}"#
    );
    // Through objects that must not be null, to the root.
    assert_eq!(
        inserted("id total", r#"{"id":5}"#),
        r#"{"data":null,"errors":[{"message":"Cannot return null for non-nullable field Order.total","#
            .to_owned()
            + r#""locations":[{"line":1,"column":35}],"path":["orderInserted","total"],"extensions":{"code":"NULL_VALUE"}}]}"#
    );
    // To an object that may be.
    let document = "subscription { orderChanged { a: record { total } b: record { id } } }";
    let text = result(&schema(), document, &row(Operation::Update, r#"{"id":5,"total":null}"#));
    assert!(text.starts_with(r#"{"data":{"orderChanged":{"a":null,"b":{"id":"5"}}},"errors":[{"#), "{text}");
    assert!(text.contains(r#""path":["orderChanged","a","total"]"#), "{text}");
}

#[test]
fn errors_of_merged_fields_name_every_place() {
    let text = inserted("count\n count", r#"{"count":"x"}"#);
    assert!(text.contains(r#""locations":[{"line":1,"column":32},{"line":2,"column":2}]"#), "{text}");
}

#[test]
fn many_errors_are_summed_up() {
    let items = vec!["\"x\""; 10_000].join(",");
    let text = inserted("lines", &format!("{{\"lines\":[{items}]}}"));
    assert!(text.ends_with(r#"{"message":"9950 more errors","extensions":{"code":"MORE_ERRORS"}}]}"#));
    assert!(text.len() < 70_000);
}

#[test]
fn a_value_asked_for_too_often_is_refused() {
    let aliases: String = (0..40).map(|n| format!("a{n}: note ")).collect();
    let text = inserted(&aliases, &format!("{{\"note\":\"{}\"}}", "x".repeat(1 << 20)));
    assert!(text.len() < 9 << 20 && text.contains(r#""a39":null}}"#) && text.contains("RESULT_TOO_LARGE"));
}

#[test]
fn a_truncated_table_is_told() {
    let truncate = Event { payload: "{}".into(), ..row(Operation::Truncate, "") };
    assert_eq!(
        result(&schema(), "subscription { gone: orderDeleted { id } }", &truncate),
        r#"{"data":null,"errors":[{"message":"The whole table was truncated; every row is gone","#.to_owned()
            + r#""locations":[{"line":1,"column":16}],"path":["gone"],"extensions":{"code":"TABLE_TRUNCATED"}}]}"#
    );
    assert_eq!(
        result(&schema(), "subscription { orderChanged { operation record { id } old { id } } }", &truncate),
        r#"{"data":{"orderChanged":{"operation":"TRUNCATE","record":null,"old":null}}}"#
    );
}

#[test]
fn a_record_that_was_cut_says_so() {
    let event = Event { truncated: true, ..row(Operation::Update, r#"{"id":5}"#) };
    let text = result(&schema(), "subscription { orderUpdated { id note } }", &event);
    assert!(text.starts_with(r#"{"data":{"orderUpdated":{"id":"5","note":null}},"errors":[{"#), "{text}");
    assert!(text.contains("RECORD_TRUNCATED") && text.contains("max_event_bytes"), "{text}");
    let text = result(&schema(), "subscription { orderChanged { old { id } } }", &event);
    assert!(text.starts_with(r#"{"data":{"orderChanged":{"old":null}},"errors":[{"#), "{text}");
    // Without a cut, a member that is missing is null: the event is older than the column.
    assert_eq!(inserted("note", r#"{"id":5}"#), r#"{"data":{"orderInserted":{"note":null}}}"#);
}

#[test]
fn plain_events_are_written() {
    let event = Event {
        id: 9_007_199_254_740_993,
        channel: "chat".into(),
        event_type: "posted".into(),
        tenant_id: Some("a\"cme".into()),
        payload: " {\"body\":\n\"hi\"}\r\n".into(),
        created_at_us: 0,
        ..Event::default()
    };
    let document = r#"subscription { events(channel: "chat") { id channel type data metadata tenantId userId createdAt } }"#;
    assert_eq!(
        result(&schema(), document, &event),
        r#"{"data":{"events":{"id":"9007199254740993","channel":"chat","type":"posted","data":{"body":"hi"},"#
            .to_owned()
            + r#""metadata":null,"tenantId":"a\"cme","userId":null,"createdAt":"1970-01-01T00:00:00Z"}}}"#
    );
    // A table may have been attached to the channel a moment ago.
    let event = Event { channel: "chat".into(), ..row(Operation::Insert, "{\"secret\":1}") };
    let text = result(&schema(), document, &event);
    assert!(text.starts_with(r#"{"data":null,"errors""#) && text.contains("FORBIDDEN"), "{text}");
}

#[test]
fn odd_payloads_do_no_harm() {
    for payload in ["", "null", "[]", "7", "{", "{\"id\":", "\"\u{0}\""] {
        let event = row(Operation::Insert, payload);
        let text = result(&schema(), "subscription { orderInserted { id note } }", &event);
        assert!(text.starts_with("{\"data\":null,\"errors\""), "{text}");
    }
    for payload in ["", "{", "1},\"errors\":[{\"message\":\"forged\"}"] {
        let event = Event { channel: "c".into(), payload: payload.into(), ..Event::default() };
        let text = result(&schema(), "subscription { events(channel: \"c\") { data } }", &event);
        assert!(text.starts_with("{\"data\":null,\"errors\"") && text.contains("no valid JSON"), "{text}");
    }
    let far = Event { created_at_us: i64::MAX, ..row(Operation::Insert, "{}") };
    let text = result(&schema(), "subscription { orderChanged { createdAt } }", &far);
    assert!(text.contains("NULL_VALUE"), "{text}");
}
