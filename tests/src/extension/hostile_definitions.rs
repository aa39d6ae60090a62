//! `define_subscriptions` under documents that are meant to hurt: an answer every time, and never the end of
//! the session.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::extension::definitions::{GOOD, prepared};

/// What random documents are made of.
const TOKENS: [&str; 33] = [
    "type",
    "extend",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "!",
    ":",
    "=",
    "@event",
    "\"",
    "\"\"\"",
    "\\",
    "#",
    "\n",
    "\r",
    "\t",
    "\u{feff}",
    "\u{a0}",
    "😀",
    "1e",
    "-",
    "0",
    "...",
    "$",
    "&",
    "|",
    "A",
    "implements",
    "union",
    "\\u12",
];

/// The good document, cut off everywhere, damaged, and mixed from tokens and from characters.
fn documents() -> Vec<String> {
    let text: Vec<char> = GOOD.chars().collect();
    let mut random = StdRng::seed_from_u64(7);
    let mut documents: Vec<String> =
        (0..text.len()).step_by(7).map(|end| text[..end].iter().collect()).collect();
    for _ in 0..400 {
        let length = random.random_range(1..40);
        let mixed: Vec<&str> = (0..length).map(|_| TOKENS[random.random_range(0..TOKENS.len())]).collect();
        documents.extend([mixed.concat(), mixed.join(" ")]);
        let mut damaged = text.clone();
        for _ in 0..random.random_range(1..5) {
            let place = random.random_range(0..damaged.len());
            damaged[place] = char::from_u32(random.random_range(1..0x2ff)).unwrap_or('x');
        }
        documents.push(damaged.into_iter().collect());
        documents
            .push((0..length).filter_map(|_| char::from_u32(random.random_range(1..0x11_0000))).collect());
    }
    documents
}

#[tokio::test]
async fn no_document_ends_the_session() {
    let (_database, session) = prepared().await;
    let process = session.line("select pg_backend_pid()").await;
    // One call for many documents; errors are answers, but panics and the like have other codes.
    session
        .run(
            "create function app.try_define(documents text[]) returns text language plpgsql as $$
             declare document text; begin
                foreach document in array documents loop
                    begin
                        perform public.define_subscriptions(document, 'mine');
                    exception when syntax_error or invalid_object_definition or invalid_parameter_value then
                        continue when sqlerrm like '%document \"mine\"%';
                        return format('%s: %s', document, sqlerrm);
                    end;
                end loop;
                return null;
             end $$",
        )
        .await;
    for documents in documents().chunks(200) {
        let answer = session.query_one("select app.try_define($1)", &[&documents]).await;
        let answer: Option<String> = answer.expect("every document has an answer").get(0);
        assert_eq!(answer, None);
    }
    assert_eq!(session.line("select pg_backend_pid()").await, process);
}

#[tokio::test]
async fn huge_and_deep_documents_are_answered() {
    let (_database, session) = prepared().await;
    for (document, says) in [
        ("'type A { a: ' || repeat('[', 1000000)", "nested more than 40 deep"),
        ("repeat('{', 1000000)", "nested more than 40 deep"),
        ("'type A @a(x: ' || repeat('{a:', 300000)", "nested more than 40 deep"),
        ("'type A @a(x: ' || repeat('\"\"\"', 300000)", "syntax error"),
        ("repeat('query', 200000)", "unexpected \"queryqueryqueryqueryqueryqueryqueryquery...\""),
        ("'scalar S ' || repeat('@a ', 300000)", "1000 errors"),
        ("'union U = A' || repeat('|A', 300000)", "an error"),
        ("'type A { a: ' || repeat('B', 1000000) || '}'", "an error"),
        (
            "(select string_agg(format('input I%s { a: I%s! }', n, n + 1), ' ') from generate_series(1, 30000) n)
                || ' input I30001 { a: I1! }'",
            "1000 errors",
        ),
    ] {
        let refusal = session.refused(&format!("select define_subscriptions({document}, 'mine')")).await;
        assert!(refusal.message.contains(says), "{document}: {}", refusal.message);
        assert!(refusal.message.len() < 1_000 && refusal.detail.map_or(0, |detail| detail.len()) < 50_000);
    }
    // A long chain without an end to itself is fine.
    session
        .run(
            "select define_subscriptions((select string_agg(format('input I%s { a: I%s! }', n, n + 1), ' ')
                from generate_series(1, 30000) n) || ' input I30001 { a: I1 }', 'mine')",
        )
        .await;
}
