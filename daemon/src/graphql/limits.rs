//! Limits on documents, checked before a parser sees them: the documents come from anybody.

use crate::graphql::error::GraphQLError;
use crate::graphql::lexer::{Lexer, Token};
use crate::graphql::places::Lines;

/// What a document may cost. Each limit has a code of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the document: `DOCUMENT_TOO_LARGE`. A wide table with every column selected takes
    /// some 30 kB.
    pub document_bytes: usize,
    /// Lexical tokens: `TOO_MANY_TOKENS`.
    pub tokens: usize,
    /// Nesting of selections, lists and objects, fragments followed: `TOO_DEEP`. No more than
    /// [`Limits::DEPTH_MAX`] counts, so that no recursion can exhaust a stack. The introspection
    /// query of the usual tools needs 17.
    pub depth: usize,
    /// Aliases: `TOO_MANY_ALIASES`. Each can repeat a large value in every result.
    pub aliases: usize,
    /// Aliases below `__schema` and `__type`, and further ones of these two: `TOO_MANY_ALIASES`. Each
    /// can repeat the whole schema in the result, and no tool needs one.
    pub introspection_aliases: usize,
    /// Root fields of one operation, fragments followed: `TOO_MANY_ROOT_FIELDS`.
    pub root_fields: usize,
    /// Fields of all operations and fragments, fragments followed from each, which bounds validation
    /// and the plan: `TOO_MANY_FIELDS`.
    pub fields: usize,
    /// Items of a list argument, or of a list in a filter: `BAD_USER_INPUT`.
    pub list_items: usize,
    /// Comparisons in one filter: `BAD_USER_INPUT`. Each may be made for each event of the table.
    pub filter_tests: usize,
    /// Bytes of one result: `RESULT_TOO_LARGE` at the field that exceeds it. Aliases can ask for the
    /// same large value many times. An event with its old record has 2 MiB by default.
    pub result_bytes: usize,
    /// Rows that a subscription may begin with: `INITIAL_TOO_LARGE`.
    pub initial_rows: usize,
    /// Bytes of their results: `INITIAL_TOO_LARGE`. They take part of the connection's mailbox.
    pub initial_bytes: usize,
    /// Estimated bytes that cached documents, plans and results of queries may take, each.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 65_536,
            tokens: 10_000,
            depth: 32,
            aliases: 50,
            introspection_aliases: 2,
            root_fields: 10,
            fields: 10_000,
            list_items: 100,
            filter_tests: 100,
            result_bytes: 8 << 20,
            initial_rows: 10_000,
            initial_bytes: 4 << 20,
            cache_bytes: 64 << 20,
        }
    }
}

impl Limits {
    /// The deepest nesting that any configuration allows.
    pub const DEPTH_MAX: usize = 64;

    /// The depth in force.
    pub(super) fn depth(&self) -> usize {
        self.depth.min(Self::DEPTH_MAX)
    }

    /// Checks the length alone, before anything is done with the text.
    pub(super) fn check_length(&self, text: &str) -> Result<(), GraphQLError> {
        let limit = self.document_bytes;
        if text.len() <= limit {
            return Ok(());
        }
        let message = format!("The document has {} bytes; at most {limit} are allowed", text.len());
        Err(GraphQLError::new("DOCUMENT_TOO_LARGE", message))
    }

    /// Checks what can be seen without parsing, in one pass over the text, up to what is no GraphQL:
    /// the parser will say what is wrong with it, and reads no further either.
    pub fn check_text(&self, text: &str) -> Result<(), GraphQLError> {
        self.check_length(text)?;
        let mut lexer = Lexer::new(text);
        let mut count = Count::default();
        while let Some(Ok(token)) = lexer.next() {
            count.add(token, self).map_err(|(code, message)| GraphQLError {
                locations: vec![Lines::of(text).at(lexer.start)],
                ..GraphQLError::new(code, message)
            })?;
        }
        Ok(())
    }
}

/// What has been read so far.
#[derive(Default)]
struct Count {
    tokens: usize,
    depth: usize,
    /// Round brackets open: a colon within is an argument's, outside it is an alias's.
    round: usize,
    aliases: usize,
}

impl Count {
    fn add(&mut self, token: Token, limits: &Limits) -> Result<(), (&'static str, String)> {
        self.tokens += 1;
        if self.tokens > limits.tokens {
            let message = format!("The document has more than {} tokens", limits.tokens);
            return Err(("TOO_MANY_TOKENS", message));
        }
        let Token::Punctuator(byte) = token else { return Ok(()) };
        match byte {
            b'{' | b'[' | b'(' => self.depth += 1,
            b'}' | b']' | b')' => self.depth = self.depth.saturating_sub(1),
            b':' if self.round == 0 => self.aliases += 1,
            _ => {}
        }
        match byte {
            b'(' => self.round += 1,
            b')' => self.round = self.round.saturating_sub(1),
            _ => {}
        }
        if self.depth > limits.depth() {
            return Err((
                "TOO_DEEP",
                format!("The document is nested more than {} levels deep", limits.depth()),
            ));
        }
        if self.aliases > limits.aliases {
            return Err((
                "TOO_MANY_ALIASES",
                format!("The document has more than {} aliases", limits.aliases),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<(&'static str, Option<(usize, usize)>)> {
        let limits = Limits { document_bytes: 200, tokens: 20, depth: 3, aliases: 2, ..Limits::default() };
        let error = limits.check_text(text).err()?;
        Some((error.extensions.code, error.locations.first().map(|at| (at.line, at.column))))
    }

    #[test]
    fn documents_within_the_limits_pass() {
        assert_eq!(code("{ a: b(c: {d: 1}) e: f }"), None);
        assert_eq!(code(r#"{ a(b: "{{{{", c: """{{{{ \""" {{ """, d: "\"{{{{") } # {{{{{"#), None);
        assert_eq!(code("\"unclosed"), None);
        assert_eq!(code("\"\\"), None);
        assert_eq!(code("\"\"\"unclosed"), None);
        assert_eq!(code("}}}} ))) \u{feff} é {{{{"), None);
    }

    #[test]
    fn each_limit_names_itself_and_its_place() {
        assert_eq!(code(&" ".repeat(201)), Some(("DOCUMENT_TOO_LARGE", None)));
        assert_eq!(code("{\r\n a { b {\r c { d } } } }"), Some(("TOO_DEEP", Some((3, 4)))));
        assert_eq!(code("{ a(b: [[[1]]]) }"), Some(("TOO_DEEP", Some((1, 9)))));
        assert_eq!(code("{ a: b #é\n c: d e: f }"), Some(("TOO_MANY_ALIASES", Some((2, 8)))));
        assert_eq!(code(&"a ".repeat(21)), Some(("TOO_MANY_TOKENS", Some((1, 41)))));
    }
}
