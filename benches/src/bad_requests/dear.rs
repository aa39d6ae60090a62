//! Documents that cost as much as the limits allow.

use std::fmt::Write;

use anyhow::Result;
use tidings_daemon::graphql::schema::{Schema, SchemaOptions};
use tidings_daemon::source::catalog::{Catalog, Definition};
use tidings_micro::shop;

/// Interfaces whose fields lead to each other, so that documents can nest and branch.
const NODES: &str = r#"
interface Node { id: ID! self: Node others: [Node!] }
type A implements Node { id: ID! self: Node others: [Node!] name: String! }
type B implements Node { id: ID! self: Node others: [Node!] name: String }
type C implements Node { id: ID! self: Node others: [Node!] name: Int }
union Any = A | B | C
type Thing { node: Node any: Any }
extend type Subscription { thing: Thing @event(channel: "things") }
"#;

pub(crate) fn schema() -> Result<Schema> {
    let nodes = Definition { name: "nodes".to_owned(), sdl: NODES.to_owned() };
    let catalog = Catalog { tables: vec![shop::orders()], definitions: vec![nodes] };
    let schema = Schema::build(&catalog, SchemaOptions::default())?;
    anyhow::ensure!(schema.problems().is_empty(), "{:?}", schema.problems());
    Ok(schema)
}

/// Text for each number below `count`.
fn each(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        // Writing to a String cannot fail.
        let _ = write!(all, "{} ", text(number));
        all
    })
}

/// What is inside of itself, so many times.
fn nested(depth: usize, innermost: &str, level: impl Fn(&str) -> String) -> String {
    (0..depth).fold(innermost.to_owned(), |inner, _| level(&inner))
}

fn change(inner: &str) -> String {
    format!("subscription {{ orderChanged {{ {inner} }} }}")
}

fn types(inner: &str) -> String {
    format!("{{ __schema {{ types {{ {inner} }} }} }}")
}

/// Name and text of each.
pub(crate) fn documents() -> Vec<(&'static str, String)> {
    [merging(), inputs()].concat()
}

/// Many pairs of fields that have to be one.
fn merging() -> Vec<(&'static str, String)> {
    let node = |inner: &str| format!("subscription {{ thing {{ node {{ {inner} }} }} }}");
    let branches = ["A", "B", "C"];
    let spread_fragments = format!(
        "{} {}",
        change(&format!("record {{ {} }}", each(1_050, |n| format!("...f{n}")))),
        each(1_050, |n| format!("fragment f{n} on Order {{ id }}"))
    );
    let levels = format!(
        "{} {} fragment f6 on Node {{ id ... on A {{ name }} ... on B {{ id }} }}",
        node("...f0"),
        each(6, |n| {
            let branch = |of: &&str| format!("... on {of} {{ self {{ ...f{} }} }}", n + 1);
            format!("fragment f{n} on Node {{ {} }}", branches.iter().map(branch).collect::<String>())
        })
    );
    let doubled = format!(
        "{} {} fragment f8 on Node {{ id others {{ id }} }}",
        node("...f0"),
        each(8, |n| format!(
            "fragment f{n} on Node {{ self {{ ...f{m} }} self {{ ...f{m} id }} }}",
            m = n + 1
        ))
    );
    let exclusive = each(1_100, |n| format!("... on {} {{ self {{ id }} }}", branches[n % 3]));
    let inline = nested(10, "id", |inner| format!("... {{ {inner} }} ... {{ {inner} }}"));
    let deep = nested(25, "name", |inner| format!("ofType {{ {inner} }}"));
    let arguments = each(5, |n| format!("a{n}: 1"));
    let members = each(34, |n| format!("a{n}: 1"));
    vec![
        ("one field 9,900 times", change(&format!("record {{ {} }}", "id ".repeat(9_900)))),
        ("objects to merge", change(&"record { id } ".repeat(2_400))),
        ("fragments to merge", spread_fragments),
        ("types that exclude each other", node(&exclusive)),
        ("types that exclude each other, nested", levels),
        ("interfaces in fragments, doubled", doubled),
        ("conflicting shapes", node(&each(1_400, |n| format!("... on {} {{ name }}", branches[n % 3])))),
        ("inline fragments, doubled", node(&inline)),
        ("deep and wide", types(&format!("{deep} ").repeat(120))),
        ("equal arguments", types(&format!("fields({arguments}) {{ name }} ").repeat(400))),
        ("conflicting arguments", types(&each(950, |n| format!("fields(a: {n}) {{ name }}")))),
        ("equal objects", types(&format!("fields(a: {{ {members} }}) {{ name }} ").repeat(85))),
    ]
}

/// Many values, variables and operations.
fn inputs() -> Vec<(&'static str, String)> {
    let events = |types: &str| format!("events(channel: \"c\", types: [{types}]) {{ id }}");
    let lists = format!("{}1{} ", "[".repeat(28), "]".repeat(28)).repeat(160);
    let arguments = each(2_400, |n| format!("a{n}: 1"));
    let operations = each(45, |n| format!("subscription q{n}($a: String!) {{ ...f }}"));
    let shared = format!("fragment f on Subscription {{ {} }}", events(&"$a ".repeat(2_000)));
    let declared = each(1_300, |n| format!("$v{n}: String!"));
    let used = each(1_300, |n| format!("$v{n}"));
    vec![
        ("a long list", format!("subscription {{ {} }}", events(&"\"x\" ".repeat(9_900)))),
        ("nested lists", format!("subscription {{ {} }}", events(&lists))),
        ("unknown arguments", format!("subscription {{ orderChanged({arguments}) {{ eventId }} }}")),
        ("directives", change(&format!("eventId {}", "@skip(if: true) ".repeat(1_400)))),
        ("operations", each(1_600, |n| format!("query q{n} {{ __typename }}"))),
        ("operations that share a fragment", format!("{operations} {shared}")),
        ("variables", format!("subscription({declared}) {{ {} }}", events(&used))),
    ]
}
