//! Documents of an attacker: refused or served, soon, and never with a panic.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::{prepare, refusal, request, schema};
use crate::graphql::limits::Limits;
use crate::graphql::prepare::Prepared;
use crate::graphql::schema::{Schema, SchemaOptions};
use crate::hub::audience::Identity;

#[test]
fn too_much_is_refused_at_once() {
    let schema = schema();
    let nested = |open: &str, close: &str| format!("{{ a{}{}", open.repeat(10_000), close.repeat(10_000));
    let spread: String = (0..400).map(|n| format!("fragment f{n} on Query {{ ...f{} }}", n + 1)).collect();
    let doubling: String = (0..30)
        .map(|n| {
            format!(
                "fragment f{n} on Query {{ ...f{m} ...g{m} }} fragment g{n} on Query {{ ...f{m} ...g{m} }}",
                m = n + 1
            )
        })
        .collect();
    let aliases: String = (0..100).map(|n| format!("a{n}: __typename ")).collect();
    for (document, code) in [
        (nested("{a", "}"), "TOO_DEEP"),
        (nested("(a:[", ")]"), "TOO_DEEP"),
        (nested("{a(b", "}"), "TOO_DEEP"),
        ("{".repeat(10_000), "TOO_DEEP"),
        ("[".repeat(60_000), "TOO_DEEP"),
        ("a".repeat(1 << 20), "DOCUMENT_TOO_LARGE"),
        (format!("{{ __typename }} #{}", "x".repeat(1 << 20)), "DOCUMENT_TOO_LARGE"),
        (format!("{{ {} }}", "a ".repeat(20_000)), "TOO_MANY_TOKENS"),
        (format!("{{ {aliases} }}"), "TOO_MANY_ALIASES"),
        (format!("{{ {} }}", "__typename ".repeat(100)), "TOO_MANY_ROOT_FIELDS"),
        (format!("{{ ...f0 }} {spread}"), "TOO_DEEP"),
        (format!("{{ ...f0 }} {doubling} fragment f30 on Query {{ __typename }}"), "TOO_MANY_FIELDS"),
    ] {
        let started = Instant::now();
        let found = refusal(&schema, &document, "");
        assert!(found.starts_with(code), "{found}, not {code}: {}", &document[..document.len().min(100)]);
        // Generous for an unoptimised build on a busy machine.
        assert!(started.elapsed() < Duration::from_secs(1), "{code} took {:?}", started.elapsed());
    }
}

#[test]
fn a_list_of_a_million_mistakes_is_refused_for_the_first() {
    let schema = schema();
    let document = "subscription($types: [String!]) { events(channel: \"c\", types: $types) { id } }";
    let mut request = request(document, "");
    request.variables = serde_json::json!({ "types": vec![7; 1_000_000] }).as_object().cloned();
    let started = Instant::now();
    let Prepared::Refused(errors) = schema.prepare(&request, &Identity::default()) else {
        panic!("numbers are no strings")
    };
    assert_eq!(errors.len(), 20);
    // Describing all of them takes seconds in an unoptimised build.
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[test]
fn the_deepest_documents_that_any_configuration_allows_fit_the_stack() {
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    let schema =
        Schema::build(&super::shop(), SchemaOptions { limits, ..SchemaOptions::default() }).expect("schema");
    let depth = Limits::DEPTH_MAX;
    let selections = format!("{}a{}", "{a".repeat(depth), "}".repeat(depth));
    let inline = format!("{}__typename{}", "{... on Query".repeat(depth), "}".repeat(depth));
    let lists = format!("{{ a(b: {}{}) }}", "[".repeat(depth - 2), "]".repeat(depth - 2));
    let objects = format!("{{ a(b: {}1{}) }}", "{a:".repeat(depth - 2), "}".repeat(depth - 2));
    let types = format!("query($a: {}Int{}) {{ a }}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let chain: String = (0..depth).map(|n| format!("fragment f{n} on Query {{ ...f{} }} ", n + 1)).collect();
    for document in [selections, inline, lists, objects, types, format!("{{ ...f0 }} {chain}")] {
        let _ = prepare(&schema, &document, "");
    }
    assert_eq!(refusal(&schema, &"{a".repeat(depth + 1), ""), format!("TOO_DEEP 1:{}", 2 * depth + 1));
}

#[test]
fn the_dearest_documents_that_pass_are_checked_soon() {
    let schema = schema();
    let fields = "record { id total note lines tags weight paid extra count } ".repeat(400);
    let merged = format!("subscription {{ orderChanged {{ {fields} }} }}");
    let fragments: String =
        (0..120).map(|n| format!("fragment f{n} on Order {{ id total note }} ")).collect();
    let spreads: String = (0..120).map(|n| format!("...f{n} ")).collect();
    let spread = format!("subscription {{ orderChanged {{ record {{ {spreads} }} }} }} {fragments}");
    let unknown = format!("subscription {{ orderChanged {{ {} }} }}", "nope ".repeat(9_000));
    let variables: String = (0..1_500).map(|n| format!("$v{n}: Int ")).collect();
    let unused = format!("query({variables}) {{ __typename }}");
    let many: String = (0..1_200).map(|n| format!("query q{n} {{ ...f }} ")).collect();
    let many = format!("{many} fragment f on Query {{ {} }}", "tidings { version } ".repeat(4));
    let levels: String = (0..10)
        .map(|n| {
            format!("fragment f{n} on OrderChange {{ ...f{m} record {{ id ...g }} ...f{m} }} ", m = n + 1)
        })
        .collect();
    let levels = format!(
        "subscription {{ orderChanged {{ ...f0 }} }} {levels} fragment f10 on OrderChange {{ eventId }} \
         fragment g on Order {{ id total }}"
    );
    let mut documents = vec![merged, spread, unknown, unused, many, levels];
    documents.extend(merging_bombs());
    documents.extend(value_bombs());
    for document in documents {
        let started = Instant::now();
        let _ = prepare(&schema, &document, "");
        println!("{:?}: {} bytes, {}", started.elapsed(), document.len(), &document[..60]);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}: {}", started.elapsed(), &document[..80]);
    }
}

/// Documents in which many pairs of fields could conflict.
fn merging_bombs() -> Vec<String> {
    let change = |inner: &str| format!("subscription {{ orderChanged {{ {inner} }} }}");
    let types = |inner: &str| format!("{{ __schema {{ types {{ {inner} }} }} }}");
    let leaves = change(&format!("record {{ {} }}", "id ".repeat(9_900)));
    let objects = change(&"record { id } ".repeat(2_400));
    let conflicts = change(&format!("record {{ {} }}", "a: id a: total ".repeat(20)));
    let fragments: String = (0..1_050).map(|n| format!("fragment f{n} on Order {{ id }} ")).collect();
    let spreads: String = (0..1_050).map(|n| format!("...f{n} ")).collect();
    let fragments = format!("{} {fragments}", change(&format!("record {{ {spreads} }}")));
    let nested =
        (0..10).fold("name".to_owned(), |inner, _| format!("ofType {{ {inner} }} ofType {{ {inner} }}"));
    let inline = (0..10).fold("id".to_owned(), |inner, _| format!("... {{ {inner} }} ... {{ {inner} }}"));
    let deep = (0..25).fold("name".to_owned(), |inner, _| format!("ofType {{ {inner} }}"));
    let wide_and_deep = types(&format!("{deep} ").repeat(120));
    let arguments: String = (0..30).map(|n| format!("a{n}: 1 ")).collect();
    let arguments =
        format!("subscription {{ {} }}", format!("orderChanged({arguments}) {{ eventId }} ").repeat(9));
    let levels: String = (0..8)
        .map(|n| {
            format!(
                "fragment f{n} on __Type {{ ofType {{ ...f{m} }} ofType {{ ...f{m} name }} }} ",
                m = n + 1
            )
        })
        .collect();
    let levels = format!("{} {levels} fragment f8 on __Type {{ name kind }}", types("...f0"));
    vec![
        leaves,
        objects,
        conflicts,
        fragments,
        types(&nested),
        change(&format!("record {{ {inline} }}")),
        wide_and_deep,
        arguments,
        levels,
    ]
}

/// Documents with many variables, operations, directives, or large literals.
fn value_bombs() -> Vec<String> {
    let events = |types: &str| format!("events(channel: \"c\", types: [{types}]) {{ id }}");
    let used = format!("fragment f on Subscription {{ {} }}", events(&"$a ".repeat(2_000)));
    let operations: String =
        (0..450).map(|n| format!("subscription q{n}($a: String!) {{ ...f }} ")).collect();
    let duplicates = format!("subscription({}) {{ {} }}", "$a: String! ".repeat(1_900), events("$a"));
    let variables: String = (0..1_300).map(|n| format!("$v{n}: String! ")).collect();
    let uses: String = (0..1_300).map(|n| format!("$v{n} ")).collect();
    let variables = format!("subscription({variables}) {{ {} }}", events(&uses));
    let list = format!("subscription {{ {} }}", events(&"\"x\" ".repeat(9_900)));
    let nested = format!(
        "subscription {{ {} }}",
        events(&format!("{}1{} ", "[".repeat(28), "]".repeat(28)).repeat(160))
    );
    let arguments: String = (0..2_400).map(|n| format!("a{n}: 1 ")).collect();
    let arguments = format!("subscription {{ orderChanged({arguments}) {{ eventId }} }}");
    let same = format!("subscription {{ orderChanged({}) {{ eventId }} }}", "id: 1 ".repeat(3_300));
    let fields: String = (0..2_400).map(|n| format!("a{n}: 1 ")).collect();
    let object = format!("subscription {{ orderChanged(id: {{{fields}}}) {{ eventId }} }}");
    let directives =
        format!("subscription {{ orderChanged {{ eventId {} }} }}", "@skip(if: true) ".repeat(1_400));
    let many: String = (0..1_600).map(|n| format!("query q{n} {{ __typename }} ")).collect();
    vec![
        format!("{used} {operations}"),
        duplicates,
        variables,
        list,
        nested,
        arguments,
        same,
        object,
        directives,
        many,
    ]
}

/// What random documents are made of.
const PIECES: [&str; 60] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "=",
    "@",
    "$",
    "...",
    "&",
    "|",
    "query",
    "subscription",
    "mutation",
    "fragment",
    "on",
    "F",
    "Order",
    "Subscription",
    "orderChanged",
    "record",
    "old",
    "id",
    "total",
    "__typename",
    "__schema",
    "types",
    "events",
    "channel",
    "\"c\"",
    "\"\"\"",
    "\"",
    "\\",
    "#",
    "\n",
    "\r",
    ",",
    "$id",
    "$id: BigInt",
    "@skip(if: $x)",
    "@include(if: true)",
    "null",
    "true",
    "1",
    "-1.5e9",
    "99999999999999999999",
    "é",
    "\u{feff}",
    "\u{0}",
    "😀",
    "\\ud83d",
    "...F",
    "... on Order {",
    "fragment F on Order {",
    "(id: $id)",
    "extend type",
    "\"\\u{",
];

#[test]
fn random_documents_never_panic() {
    let schema = schema();
    let mut random = StdRng::seed_from_u64(7);
    let valid = "subscription S($id: BigInt) { orderChanged(id: $id) { ...F record { ...G } } } \
                 fragment F on OrderChange { eventId old { id } } fragment G on Order { id total }";
    for round in 0..3_000 {
        let mut words: Vec<&str> = if round % 2 == 0 { valid.split(' ').collect() } else { Vec::new() };
        for _ in 0..random.random_range(1..12) {
            let piece = PIECES.choose(&mut random).copied().unwrap_or_default();
            let at = random.random_range(0..=words.len());
            if round % 2 == 0 && at < words.len() && random.random_bool(0.5) {
                words[at] = piece;
            } else {
                words.insert(at, piece);
            }
        }
        let separator = if random.random_bool(0.5) { " " } else { "" };
        let document = words.join(separator);
        if let Prepared::Refused(errors) = prepare(&schema, &document, "") {
            assert!(!errors.is_empty(), "{document:?}");
            assert!(
                errors.iter().all(|error| error.extensions.code != "INTERNAL_SERVER_ERROR"),
                "{document:?}"
            );
        }
    }
}
