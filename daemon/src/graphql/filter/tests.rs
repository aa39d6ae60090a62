//! Filters from outside: a subscription and events in, who passes out.

use crate::event::{Event, Operation};
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::graphql::tests::{column, interest, refused, row, shop, table};
use crate::hub::project::{Constraint, Interest, ParsedEvent};
use crate::source::catalog::{Catalog, ColumnType};

fn schema() -> Schema {
    let mut catalog = shop();
    let mut state = column("state", "text");
    let labels = ["new", "in progress", "sold"].map(String::from).into();
    state.column_type = ColumnType::Enum { name: "order_state".into(), labels };
    catalog.tables[1].columns.push(state);
    Schema::build(&catalog, SchemaOptions::default()).expect("the schema of the shop")
}

fn filtered(filter: &str) -> Interest {
    interest(&schema(), &format!("subscription {{ orderChanged(filter: {filter}) {{ eventId }} }}"), "")
}

fn spelled(constraints: &[Constraint]) -> Vec<String> {
    constraints.iter().map(|it| format!("{}={}", it.field, it.values.join("|"))).collect()
}

/// Whether an event passes look-ups and residual, as the router would decide.
fn passes(interest: &Interest, event: &Event) -> bool {
    let parsed = ParsedEvent::new(event);
    let looked_up = interest.constraints.iter().all(|it| match parsed.record.get(&it.field) {
        None => event.truncated,
        Some(json) => crate::hub::equality::normal_form(json)
            .is_some_and(|value| it.values.iter().any(|other| **other == *value)),
    });
    looked_up && interest.residual.as_ref().is_none_or(|residual| residual.passes(&parsed))
}

#[test]
fn every_operator_decides_as_a_where_clause() {
    let order = row(
        Operation::Insert,
        r#"{"id":7,"total":12.50,"note":"a_b\n50%","lines":[1,2,null],"tags":["x","y"],"weight":1.5,
            "paid":true,"extra":null,"count":3,"placed at":"2026-01-02T03:04:05+00:00","state":"in progress"}"#,
    );
    for (filter, expected) in [
        (r#"{ id: { eq: 7 } }"#, true),
        (r#"{ id: { eq: "7", neq: 7 } }"#, false),
        (r#"{ id: { in: [1, 7] } }"#, true),
        (r#"{ id: { in: [] } }"#, false),
        (r#"{ total: { eq: 12.5 } }"#, true),
        (r#"{ total: { gt: "12.49999999999999999999", lte: 12.5 } }"#, true),
        (r#"{ total: { lt: 12.5 } }"#, false),
        (r#"{ note: { like: "a\\_b%50\\%" } }"#, true),
        (r#"{ note: { like: "A%" } }"#, false),
        (r#"{ note: { ilike: "A%" } }"#, true),
        (r#"{ note: { startsWith: "a_" } }"#, true),
        (r#"{ note: { gt: "B", lt: "b" } }"#, true),
        (r#"{ weight: { gte: 1.5 } }"#, true),
        (r#"{ weight: { eq: 1.5 } }"#, true),
        (r#"{ paid: { eq: true } }"#, true),
        (r#"{ paid: { neq: true } }"#, false),
        (r#"{ placed_at: { gt: "2026-01-02T03:04:04Z", lt: "2026-01-02T04:04:06+01:00" } }"#, true),
        (r#"{ state: { eq: in_progress } }"#, true),
        (r#"{ state: { gt: new, lt: sold } }"#, true),
        (r#"{ state: { in: [new, sold] } }"#, false),
        (r#"{ lines: { contains: [2, 1] } }"#, true),
        (r#"{ lines: { contains: [] } }"#, true),
        (r#"{ lines: { containedBy: [1, 2, 3] } }"#, false),
        (r#"{ tags: { containedBy: ["x", "y", "z"] } }"#, true),
        (r#"{ tags: { overlaps: ["z", "y"] } }"#, true),
        (r#"{ tags: { eq: ["x", "y"] } }"#, true),
        (r#"{ tags: { eq: ["y", "x"] } }"#, false),
        (r#"{ extra: { is: NULL } }"#, true),
        (r#"{ note: { is: NULL } }"#, false),
        (r#"{ note: { is: NOT_NULL } }"#, true),
        (r#"{}"#, true),
        (r#"{ and: [] }"#, true),
        (r#"{ or: [] }"#, false),
        (r#"{ not: {} }"#, false),
        (r#"{ or: [{ id: { eq: 1 } }, { count: { eq: 3 } }] }"#, true),
        (r#"{ not: { or: [{ id: { eq: 1 } }, { count: { eq: 3 } }] } }"#, false),
        (r#"{ id: { eq: null }, note: null, and: null }"#, true),
        (r#"null"#, true),
    ] {
        assert_eq!(passes(&filtered(filter), &order), expected, "{filter}");
    }
}

#[test]
fn a_comparison_with_null_is_neither_true_nor_false() {
    let order = row(Operation::Insert, r#"{"id":7,"note":null}"#);
    for filter in [
        r#"{ note: { eq: "x" } }"#,
        r#"{ note: { neq: "x" } }"#,
        r#"{ not: { note: { eq: "x" } } }"#,
        r#"{ not: { note: { like: "x" } } }"#,
        r#"{ count: { gt: 1 } }"#,
        r#"{ not: { tags: { contains: ["x"] } } }"#,
    ] {
        assert!(!passes(&filtered(filter), &order), "{filter}");
    }
    assert!(passes(&filtered(r#"{ or: [{ note: { eq: "x" } }, { id: { eq: 7 } }] }"#), &order));
    assert!(passes(&filtered(r#"{ not: { note: { in: [] } } }"#), &order), "not even null is one of none");
}

#[test]
fn equalities_are_looked_up_and_the_rest_is_shared() {
    let schema = schema();
    let interest = |filter: &str| {
        interest(
            &schema,
            &format!("subscription {{ orderChanged(id: 7, filter: {filter}) {{ eventId }} }}"),
            "",
        )
    };
    let plain = interest(r#"{ state: { eq: in_progress }, total: { in: ["2.50", 1] }, id: { gt: 1 } }"#);
    assert_eq!(spelled(&plain.constraints), ["id=7", "state=in progress", "total=1|25e-1"]);
    let other = interest(r#"{ count: { eq: 3 }, and: [{ id: { gt: 1 } }] }"#);
    assert_eq!(spelled(&other.constraints), ["count=3", "id=7"]);
    let address = |interest: &Interest| {
        interest.residual.as_ref().map(|it| std::sync::Arc::as_ptr(it).cast::<()>().addr())
    };
    assert!(address(&plain).is_some());
    assert_eq!(address(&plain), address(&other), "one predicate for both");
    assert!(interest(r#"{ count: { eq: 3 } }"#).residual.is_none());
    let same_column = interest(r#"{ id: { eq: 8 } }"#);
    assert_eq!(spelled(&same_column.constraints), ["id=7"]);
    assert!(same_column.residual.is_some(), "both must hold");
    let many =
        |count: usize| format!("[{}]", (0..count).map(|it| it.to_string()).collect::<Vec<_>>().join(","));
    let product = interest(&format!("{{ count: {{ in: {} }}, total: {{ in: {} }} }}", many(20), many(6)));
    assert_eq!(product.constraints.len(), 2, "not under 120 keys");
    assert!(product.residual.is_some());
}

#[test]
fn the_old_record_counts_where_it_is_asked_for() {
    let left = Event {
        old_payload: Some(r#"{"id":7,"count":1}"#.into()),
        ..row(Operation::Update, r#"{"id":7,"count":2}"#)
    };
    let schema = schema();
    let subscribe = |scope: &str| {
        let document = format!(
            "subscription {{ orderChanged(filter: {{ count: {{ eq: 1 }} }} {scope}) {{ eventId }} }}"
        );
        interest(&schema, &document, "")
    };
    assert!(!passes(&subscribe(""), &left));
    assert!(!passes(&subscribe("filterScope: RECORD"), &left));
    assert!(passes(&subscribe("filterScope: RECORD_OR_OLD"), &left));
}

#[test]
fn a_record_that_was_cut_passes_unless_what_was_kept_decides() {
    let cut = Event { truncated: true, ..row(Operation::Insert, r#"{"id":7}"#) };
    for (filter, expected) in [
        (r#"{ note: { eq: "x" } }"#, true),
        (r#"{ not: { note: { like: "x" } } }"#, true),
        (r#"{ note: { is: NULL }, id: { eq: 8 } }"#, false),
        (r#"{ note: { is: NULL }, id: { lt: 8 } }"#, true),
    ] {
        assert_eq!(passes(&filtered(filter), &cut), expected, "{filter}");
    }
    let altered = row(Operation::Insert, r#"{"id":7,"count":"three"}"#);
    assert!(passes(&filtered(r#"{ count: { gt: 5 } }"#), &altered), "from before the column's type changed");
}

#[test]
fn lists_are_decided_down_to_the_dimensions_that_arrays_have() {
    let nested = |depth: usize| {
        let lines = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        row(Operation::Insert, &format!(r#"{{"id":7,"lines":{lines}}}"#))
    };
    let (has, lacks) = (filtered("{ lines: { contains: [1] } }"), filtered("{ lines: { contains: [2] } }"));
    for (depth, expected) in [(1, false), (6, false), (7, true), (100_000, true)] {
        let event = nested(depth);
        assert!(passes(&has, &event), "{depth}");
        assert_eq!(passes(&lacks, &event), expected, "a value that no array has is undecided: {depth}");
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_its_place() {
    let message = |filter: &str| {
        let document = format!("subscription {{ orderChanged(filter: {filter}) {{ eventId }} }}");
        let mut errors = refused(&schema(), &document, "");
        let error = errors.remove(0);
        assert_eq!(error.extensions.code, "BAD_USER_INPUT", "{error:?}");
        error.message
    };
    assert!(
        message(r#"{ placed_at: { gt: "soon" } }"#)
            .starts_with("Argument filter.placed_at.gt: \"soon\" is not")
    );
    assert!(
        message(r#"{ or: [{}, { note: { like: "x\\" } }] }"#).starts_with("Argument filter.or[1].note.like:")
    );
    let many = (0..51).map(|number| format!("{{ id: {{ gt: {number}, lt: 9 }} }}")).collect::<String>();
    assert!(message(&format!("{{ or: [{many}] }}")).contains("at most 100 comparisons"));
    let empty = "{} ".repeat(60);
    assert!(message(&format!("{{ or: [{empty}], and: [{empty}] }}")).contains("at most 100 nested filters"));
    assert!(message(&format!("{{ or: [{}] }}", "{} ".repeat(101))).contains("at most 100 items"));
    assert!(message(&format!("{{ id: {{ in: [{}] }} }}", "1 ".repeat(101))).contains("at most 100 items"));
}

#[test]
fn columns_named_like_parts_of_a_filter_keep_their_names() {
    let odd =
        table("Odd", &[("filter", "int4#"), ("and", "bool"), ("filterScope", "text#"), ("not", "text")]);
    let schema =
        Schema::build(&Catalog { tables: vec![odd], ..Catalog::default() }, SchemaOptions::default())
            .unwrap();
    let document = r#"subscription { oddChanged(filter: 1, filter_2: { and: { eq: true }, not_2: { not: { eq: "x" } },
        and_2: [{ filterScope: { like: "%" } }] } filterScope_2: RECORD) { eventId } }"#;
    assert_eq!(spelled(&interest(&schema, document, "").constraints), ["and=true", "filter=1"]);
}
