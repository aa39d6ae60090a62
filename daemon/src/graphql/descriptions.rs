//! Descriptions in executable documents (section 2.9, new in September 2025), which the parser does not
//! know yet. They mean nothing to execution, so they are blanked out before it reads the text.

use std::borrow::Cow;
use std::ops::Range;

use crate::graphql::lexer::{Lexer, Token};

/// The document with spaces for descriptions: the same characters stand at the same places.
pub(super) fn blank(text: &str) -> Cow<'_, str> {
    if !text.contains('"') {
        return text.into();
    }
    let found = find(text);
    if found.is_empty() {
        return text.into();
    }
    let mut blanked = String::with_capacity(text.len());
    let mut end = 0;
    for description in found {
        blanked.push_str(&text[end..description.start]);
        let characters = text[description.clone()].chars();
        blanked.extend(characters.map(|it| if matches!(it, '\n' | '\r') { it } else { ' ' }));
        end = description.end;
    }
    blanked.push_str(&text[end..]);
    blanked.into()
}

/// Where descriptions stand: before a definition, and before a variable of an operation.
fn find(text: &str) -> Vec<Range<usize>> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    let mut depth = 0_usize;
    // The string read last, if it may be a description.
    let mut candidate = None;
    let mut is_value = false;
    while let Some(token) = lexer.next() {
        let described = match (depth, token) {
            (0, Token::Name) => {
                matches!(lexer.token_text(), "query" | "mutation" | "subscription" | "fragment")
            }
            (1, Token::Punctuator(b'$')) => true,
            _ => false,
        };
        found.extend(candidate.take().filter(|_| described));
        if token == Token::String && !is_value {
            candidate = Some(lexer.start..lexer.end);
        }
        match token {
            Token::Punctuator(b'{' | b'[' | b'(') => depth += 1,
            Token::Punctuator(b'}' | b']' | b')') => depth = depth.saturating_sub(1),
            _ => {}
        }
        // After these a string is an argument or a default value.
        is_value = matches!(token, Token::Punctuator(b':' | b'='));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn descriptions_become_spaces_and_strings_stay() {
        for (text, blanked) in [
            ("\"ä\" query { a(b: \"x\") }", "    query { a(b: \"x\") }"),
            ("\"\"\"a\nb\"\"\" fragment F on A { a }", "    \n     fragment F on A { a }"),
            ("query(\"d\" $a: A = \"x\" \"e\" $b: B) { a }", "query(    $a: A = \"x\"     $b: B) { a }"),
            ("query($a: A = \"x\" $b: B) { a }", "query($a: A = \"x\" $b: B) { a }"),
            ("{ a(b: [\"x\" $y]) }", "{ a(b: [\"x\" $y]) }"),
            ("\"d\" { a }", "\"d\" { a }"),
            ("\"d\" type A", "\"d\" type A"),
            ("\"d", "\"d"),
        ] {
            assert_eq!(blank(text), blanked);
        }
    }
}
