//! Limits on documents, checked before a parser sees them: the documents come from anybody.

use crate::graphql::error::{GraphQLError, Location};

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
    /// Aliases, which make introspection answer the same question many times:
    /// `TOO_MANY_ALIASES`.
    pub aliases: usize,
    /// Root fields of one operation, fragments followed: `TOO_MANY_ROOT_FIELDS`.
    pub root_fields: usize,
    /// Fields of all operations and fragments, fragments followed from each, which bounds validation
    /// and the plan: `TOO_MANY_FIELDS`.
    pub fields: usize,
    /// Items of a list argument: `BAD_USER_INPUT`.
    pub list_items: usize,
    /// Estimated bytes that cached documents and plans may take, each.
    pub cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 65_536,
            tokens: 10_000,
            depth: 32,
            aliases: 50,
            root_fields: 10,
            fields: 10_000,
            list_items: 100,
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

    /// Checks what can be seen without parsing, in one pass over the text. Text that is no GraphQL
    /// passes: the parser will say what is wrong with it.
    pub fn check_text(&self, text: &str) -> Result<(), GraphQLError> {
        if text.len() > self.document_bytes {
            let limit = self.document_bytes;
            return Err(GraphQLError::new(
                "DOCUMENT_TOO_LARGE",
                format!("The document has {} bytes; at most {limit} are allowed", text.len()),
            ));
        }
        let mut scan = Scan::default();
        while let Some(token) = scan.next(text.as_bytes()) {
            scan.count(token, self).map_err(|(code, message)| GraphQLError {
                locations: vec![location(text, scan.start)],
                ..GraphQLError::new(code, message)
            })?;
        }
        Ok(())
    }
}

/// The line and column of a byte. Lines end as section 2.1.2 says: LF, CR, or both.
fn location(text: &str, offset: usize) -> Location {
    let before = &text[..text.floor_char_boundary(offset)];
    let ends = before.bytes().zip(before.bytes().skip(1).chain([0]));
    let line = 1 + ends.filter(|end| end.0 == b'\n' || (end.0 == b'\r' && end.1 != b'\n')).count();
    let start = before.rfind(['\n', '\r']).map_or(0, |end| end + 1);
    Location { line, column: 1 + before[start..].chars().count() }
}

/// A lexical token, as far as the limits care.
#[derive(Clone, Copy, PartialEq)]
enum Token {
    Name,
    Punctuator(u8),
    Other,
}

#[derive(Default)]
struct Scan {
    /// Where the token that was read last begins and the next one is sought.
    start: usize,
    position: usize,
    tokens: usize,
    depth: usize,
    /// Round brackets open: a colon within is an argument's, outside it is an alias's.
    round: usize,
    aliases: usize,
}

impl Scan {
    /// The next token. Commas are no tokens (section 2.1.5), nor is the byte order mark.
    fn next(&mut self, text: &[u8]) -> Option<Token> {
        loop {
            let byte = *text.get(self.position)?;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => self.position += 1,
                b'#' => {
                    self.position += text[self.position..].iter().position(|b| matches!(b, b'\n' | b'\r'))?
                }
                _ => break,
            }
        }
        self.start = self.position;
        let rest = &text[self.position..];
        let word = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let (token, length) = match rest[0] {
            b'"' if rest.starts_with(br#"""""#) => (Token::Other, block_string(rest)),
            b'"' => (Token::Other, string(rest)),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => (Token::Name, word),
            _ if word > 0 => (Token::Other, word),
            // Not GraphQL outside of strings and comments; one token, so that none starts mid-character.
            0x80.. => (Token::Other, rest.iter().take_while(|b| !b.is_ascii()).count()),
            byte => (Token::Punctuator(byte), 1),
        };
        self.position += length;
        Some(token)
    }

    fn count(&mut self, token: Token, limits: &Limits) -> Result<(), (&'static str, String)> {
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

/// Bytes of the string that begins here. An unclosed one ends with its line.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// Bytes of the block string that begins here. `\"""` does not close it (section 2.9.4).
fn block_string(text: &[u8]) -> usize {
    let mut at = 3;
    while at < text.len() {
        if text[at..].starts_with(br#"\""""#) {
            at += 4;
        } else if text[at..].starts_with(br#"""""#) {
            return at + 3;
        } else {
            at += 1;
        }
    }
    text.len()
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
        assert_eq!(code("}}}} ))) \u{feff} é"), None);
    }

    #[test]
    fn each_limit_names_itself_and_its_place() {
        assert_eq!(code(&" ".repeat(201)), Some(("DOCUMENT_TOO_LARGE", None)));
        assert_eq!(code("{\r\n a { b {\r c { d } } } }"), Some(("TOO_DEEP", Some((3, 4)))));
        assert_eq!(code("{ a(b: [[[1]]]) }"), Some(("TOO_DEEP", Some((1, 9)))));
        assert_eq!(code("{ é a: b c: d e: f }"), Some(("TOO_MANY_ALIASES", Some((1, 16)))));
        assert_eq!(code(&"a ".repeat(21)), Some(("TOO_MANY_TOKENS", Some((1, 41)))));
    }
}
