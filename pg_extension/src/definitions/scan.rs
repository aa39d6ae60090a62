//! A look at the text before the parser sees it: bounds what could hurt the parser, and evens out what
//! it counts in its own way, so that its lines and columns are those that an editor shows.

use std::collections::HashMap;

use super::parse::SyntaxError;

/// The parser gives up at 50; types and values of people stay far below.
pub(super) const NESTING_MAX: usize = 40;

/// Line and column, both from 1; columns count characters.
pub(super) type At = (usize, usize);

/// The text as the parser shall read it.
#[derive(Debug)]
pub(super) struct Scanned {
    /// Comments and tabs are spaces, every line ends with `\n`, long descriptions are blank.
    pub(super) text: String,
    /// Whether there is anything but comments.
    pub(super) is_empty: bool,
    /// From the start of a description to what it describes: where an error should point.
    pub(super) described: HashMap<At, At>,
}

fn refused<T>(at: At, message: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError { at, message: message.into(), expected: String::new() })
}

pub(super) fn scan(text: &str) -> Result<Scanned, SyntaxError> {
    let mut scanner = Scanner {
        rest: text,
        out: Scanned { text: String::with_capacity(text.len()), is_empty: true, described: HashMap::new() },
        at: (1, 1),
        open: Vec::new(),
        value_next: false,
        description: None,
    };
    while scanner.step()? {}
    Ok(scanner.out)
}

struct Scanner<'a> {
    rest: &'a str,
    out: Scanned,
    at: At,
    open: Vec<char>,
    /// The last token was `:` or `=`: a string here is a value.
    value_next: bool,
    /// Where the description began that stands before the next token.
    description: Option<At>,
}

impl Scanner<'_> {
    /// Reads a token or what lies between two; false at the end.
    fn step(&mut self) -> Result<bool, SyntaxError> {
        let Some(first) = self.rest.chars().next() else { return Ok(false) };
        match first {
            ' ' | ',' | '\t' | '\u{feff}' | '\n' | '\r' => self.skip_blank(),
            '#' => {
                while self.rest.starts_with(|next| next != '\n' && next != '\r') {
                    self.take_as(' ');
                }
            }
            '"' => self.string()?,
            _ => self.token(first)?,
        }
        Ok(true)
    }

    fn skip_blank(&mut self) {
        match self.take() {
            '\r' if self.rest.starts_with('\n') => {}
            '\n' | '\r' => self.put('\n'),
            ',' => self.put(','),
            _ => self.put(' '),
        }
    }

    fn token(&mut self, first: char) -> Result<(), SyntaxError> {
        self.begin_token();
        match first {
            '(' | '[' | '{' => {
                if self.open.len() == NESTING_MAX {
                    return refused(self.at, format!("brackets are nested more than {NESTING_MAX} deep"));
                }
                self.open.push(first);
            }
            ')' | ']' | '}' => drop(self.open.pop()),
            _ => {}
        }
        self.value_next = matches!(first, ':' | '=');
        self.take_as(first);
        if first.is_ascii_alphanumeric() || first == '_' {
            while self.rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_') {
                let next = self.take();
                self.put(next);
            }
        }
        Ok(())
    }

    fn begin_token(&mut self) {
        self.out.is_empty = false;
        if let Some(start) = self.description.take() {
            self.out.described.insert(start, self.at);
        }
    }

    fn string(&mut self) -> Result<(), SyntaxError> {
        self.begin_token();
        let start = self.at;
        let is_value = self.value_next || self.open.last() == Some(&'[');
        self.value_next = false;
        if self.rest.starts_with("\"\"\"") {
            self.block_string(start, is_value)?;
        } else {
            self.plain_string(start)?;
        }
        if !is_value {
            self.description = Some(start);
        }
        Ok(())
    }

    fn plain_string(&mut self, start: At) -> Result<(), SyntaxError> {
        self.take_as('"');
        loop {
            match self.rest.chars().next() {
                None | Some('\n' | '\r') => {
                    return refused(start, "this string is not closed on its line");
                }
                Some('"') => {
                    self.take_as('"');
                    return Ok(());
                }
                Some('\\') => {
                    self.take_as('\\');
                    if let Some(escaped) =
                        self.rest.chars().next().filter(|next| !matches!(next, '\n' | '\r'))
                    {
                        self.take_as(escaped);
                    }
                }
                Some(other) => self.take_as(other),
            }
        }
    }

    fn block_string(&mut self, start: At, is_value: bool) -> Result<(), SyntaxError> {
        self.take_quotes();
        loop {
            if self.rest.starts_with("\"\"\"") {
                self.take_quotes();
                return Ok(());
            }
            if is_value && self.rest.starts_with("\\\"\"\"") {
                self.take_as('\\');
                self.take_quotes();
                continue;
            }
            if self.rest.starts_with("\\\"\"\"") {
                (0..4).for_each(|_| self.take_as(' '));
                continue;
            }
            match self.rest.chars().next() {
                None => {
                    return refused(start, "this block string is not closed");
                }
                Some('\n' | '\r') => self.skip_blank(),
                // The parser cuts indentation by bytes.
                Some(other) if is_value && other.is_whitespace() && !other.is_ascii() => {
                    let message =
                        "this block string contains an unusual blank; write it as \"...\"".to_owned();
                    return refused(self.at, message);
                }
                Some(other) => self.take_as(if is_value { other } else { ' ' }),
            }
        }
    }

    fn take_quotes(&mut self) {
        (0..3).for_each(|_| self.take_as('"'));
    }

    /// The next character, which the caller knows to be there.
    fn take(&mut self) -> char {
        let mut characters = self.rest.chars();
        let next = characters.next().unwrap_or(' ');
        self.rest = characters.as_str();
        next
    }

    fn take_as(&mut self, written: char) {
        self.take();
        self.put(written);
    }

    fn put(&mut self, written: char) {
        self.out.text.push(written);
        self.at = if written == '\n' { (self.at.0 + 1, 1) } else { (self.at.0, self.at.1 + 1) };
    }
}
