//! The lexical tokens of a document (section 2.1), and where it has none.

/// A kind of token. `...` is the punctuator of a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Name,
    Int,
    Float,
    String,
    BlockString,
    Punctuator(u8),
}

/// Text that is no GraphQL, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// Byte of the text.
    pub(super) at: usize,
    pub(super) message: String,
}

impl Broken {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Reads a document token by token. After the first error there is nothing more.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the token that was read last begins; at the end of the text, that.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, start: 0, end: 0 }
    }

    /// The same from a byte on, at which a token begins.
    pub(super) fn from(text: &'a str, start: usize) -> Self {
        Self { text, start, end: start }
    }

    /// The text of the token that was read last.
    pub(super) fn token_text(&self) -> &'a str {
        self.text.get(self.start..self.end).unwrap_or_default()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Commas are no tokens (section 2.1.5), nor is the byte order mark.
    fn skip_ignored(&mut self) {
        while let Some(byte) = self.byte(self.end) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | b',' => self.end += 1,
                b'#' => {
                    let rest = &self.text.as_bytes()[self.end..];
                    let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                    self.end += length.unwrap_or(rest.len());
                }
                0xEF if self.text[self.end..].starts_with('\u{feff}') => self.end += 3,
                _ => break,
            }
        }
        self.start = self.end;
    }

    fn read(&mut self, first: u8) -> Result<Token, Broken> {
        let start = self.start;
        let (token, end) = match first {
            b'!' | b'$' | b'&' | b'(' | b')' | b':' | b'=' | b'@' | b'[' | b']' | b'{' | b'|' | b'}' => {
                (Token::Punctuator(first), start + 1)
            }
            b'.' if self.text[start..].starts_with("...") => (Token::Punctuator(b'.'), start + 3),
            b'"' if self.text[start..].starts_with(r#"""""#) => (Token::BlockString, self.block_string()?),
            b'"' => (Token::String, self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let rest = &self.text.as_bytes()[start..];
                let length = rest.iter().take_while(|byte| is_name(**byte)).count();
                (Token::Name, start + length)
            }
            _ => {
                let character = self.text[start..].chars().next().unwrap_or_default();
                return Err(Broken::new(start, format!("Unexpected character {character:?}")));
            }
        };
        self.end = end;
        Ok(token)
    }

    /// Section 2.9.1 and 2.9.2.
    fn number(&self) -> Result<(Token, usize), Broken> {
        let mut at = self.start + usize::from(self.byte(self.start) == Some(b'-'));
        let mut token = Token::Int;
        if self.byte(at) == Some(b'0') {
            at += 1;
            if self.byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
                return Err(Broken::new(at, "A number must not begin with a zero"));
            }
        } else {
            at = self.digits(at)?;
        }
        if self.byte(at) == Some(b'.') {
            token = Token::Float;
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            token = Token::Float;
            at += 1 + usize::from(matches!(self.byte(at + 1), Some(b'+' | b'-')));
            at = self.digits(at)?;
        }
        match self.byte(at) {
            Some(byte) if byte == b'.' || (is_name(byte) && !byte.is_ascii_digit()) => {
                Err(Broken::new(at, format!("A number must not be followed by {:?}", char::from(byte))))
            }
            _ => Ok((token, at)),
        }
    }

    fn digits(&self, at: usize) -> Result<usize, Broken> {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        match rest.iter().take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(Broken::new(at, "A digit is expected in the number")),
            count => Ok(at + count),
        }
    }

    /// Section 2.9.4. Where the string ends.
    fn string(&self) -> Result<usize, Broken> {
        let mut at = self.start + 1;
        while let Some(byte) = self.byte(at) {
            match byte {
                b'"' => return Ok(at + 1),
                b'\n' | b'\r' => break,
                b'\\' => at += self.escape(at)?,
                _ => at += 1,
            }
        }
        Err(Broken::new(at, "The string is not closed"))
    }

    /// Bytes of the escape sequence at `at`.
    fn escape(&self, at: usize) -> Result<usize, Broken> {
        let bad = Broken::new(at, "The escape sequence means no character");
        match (self.byte(at + 1), self.byte(at + 2)) {
            (Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'), _) => Ok(2),
            (Some(b'u'), Some(b'{')) => {
                let rest = self.text.as_bytes().get(at + 3..).unwrap_or_default();
                let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
                let value = self.hex(at + 3, digits).filter(|_| (1..=8).contains(&digits));
                let is_character = value.and_then(char::from_u32).is_some();
                if is_character && rest.get(digits) == Some(&b'}') { Ok(digits + 4) } else { Err(bad) }
            }
            (Some(b'u'), _) => match self.hex(at + 2, 4).ok_or_else(|| bad.clone())? {
                // A character beyond the first 65,536 is written as two surrogates.
                0xD800..=0xDBFF => {
                    let second = self.text.as_bytes().get(at + 6..at + 8) == Some(br"\u");
                    let second = self.hex(at + 8, 4).filter(|_| second);
                    if second.is_some_and(|it| (0xDC00..=0xDFFF).contains(&it)) { Ok(12) } else { Err(bad) }
                }
                0xDC00..=0xDFFF => Err(bad),
                _ => Ok(6),
            },
            _ => Err(bad),
        }
    }

    fn hex(&self, at: usize, digits: usize) -> Option<u32> {
        let text = self.text.as_bytes().get(at..at + digits)?;
        let text = text.iter().all(u8::is_ascii_hexdigit).then(|| str::from_utf8(text).ok())?;
        u32::from_str_radix(text?, 16).ok()
    }

    /// Where the block string ends. `\"""` does not close it (section 2.9.4).
    fn block_string(&self) -> Result<usize, Broken> {
        let text = self.text.as_bytes();
        let mut at = self.start + 3;
        while at < text.len() {
            if text[at..].starts_with(br#"\""""#) {
                at += 4;
            } else if text[at..].starts_with(br#"""""#) {
                return Ok(at + 3);
            } else {
                at += 1;
            }
        }
        Err(Broken::new(at, "The block string is not closed"))
    }
}

impl Iterator for Lexer<'_> {
    type Item = Result<Token, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_ignored();
        let first = self.byte(self.start)?;
        let read = self.read(first);
        if read.is_err() {
            self.end = self.text.len();
        }
        Some(read)
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
