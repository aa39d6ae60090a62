//! Descriptions in executable documents, which the parser does not know yet. They mean nothing to
//! execution, so they are blanked out before it reads the text.

use std::borrow::Cow;

use crate::graphql::syntax::Description;

/// The document with spaces for descriptions: everything else stays at its line and column.
pub(super) fn blank<'a>(text: &'a str, descriptions: &[Description]) -> Cow<'a, str> {
    if descriptions.is_empty() {
        return text.into();
    }
    let mut blanked = String::with_capacity(text.len());
    let mut end = 0;
    for description in descriptions {
        blanked.push_str(&text[end..description.place.start]);
        for character in text[description.place.clone()].chars() {
            match character {
                '\n' | '\r' => blanked.push(character),
                // As many bytes, so that every offset stays what it was.
                _ => blanked.extend(std::iter::repeat_n(' ', character.len_utf8())),
            }
        }
        end = description.place.end;
    }
    blanked.push_str(&text[end..]);
    blanked.into()
}

#[cfg(test)]
mod tests {
    use super::blank;
    use crate::graphql::syntax;

    #[test]
    fn descriptions_become_spaces_and_strings_stay() {
        for (text, blanked) in [
            ("\"ä\" query { a(b: \"x\") }", "     query { a(b: \"x\") }"),
            ("\"\"\"a\nb\"\"\" fragment F on A { a }", "    \n     fragment F on A { a }"),
            ("query(\"d\" $a: A = \"x\" \"e\" $b: B) { a }", "query(    $a: A = \"x\"     $b: B) { a }"),
            ("query($a: A = \"x\" $b: B) { a }", "query($a: A = \"x\" $b: B) { a }"),
            ("{ a(b: [\"x\" $y]) }", "{ a(b: [\"x\" $y]) }"),
            ("\"d\" type A", "\"d\" type A"),
        ] {
            assert_eq!(blank(text, &syntax::check(text).unwrap()), blanked);
        }
    }
}
