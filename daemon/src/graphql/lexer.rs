//! The lexical tokens of a document (section 2.1), as far as the checks before parsing need them.
//! Text that is no GraphQL yields tokens too: saying what is wrong with it is the parser's part.

/// A kind of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Name,
    String,
    Punctuator(u8),
    Other,
}

/// Reads a document token by token.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the token that was read last begins.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, start: 0, end: 0 }
    }

    /// The text of the token that was read last.
    pub(super) fn token_text(&self) -> &'a str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    /// The next token. Commas are no tokens (section 2.1.5), nor is the byte order mark.
    fn next(&mut self) -> Option<Token> {
        let text = self.text.as_bytes();
        loop {
            let byte = *text.get(self.end)?;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | 0xEF | 0xBB | 0xBF => self.end += 1,
                b'#' => self.end += text[self.end..].iter().position(|b| matches!(b, b'\n' | b'\r'))?,
                _ => break,
            }
        }
        self.start = self.end;
        let rest = &text[self.end..];
        let word = rest.iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let (token, length) = match rest[0] {
            b'"' if rest.starts_with(br#"""""#) => (Token::String, block_string(rest)),
            b'"' => (Token::String, string(rest)),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => (Token::Name, word),
            _ if word > 0 => (Token::Other, word),
            // Not GraphQL outside of strings and comments; one token, so that none starts mid-character.
            0x80.. => (Token::Other, rest.iter().take_while(|b| !b.is_ascii()).count()),
            byte => (Token::Punctuator(byte), 1),
        };
        self.end += length;
        Some(token)
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
