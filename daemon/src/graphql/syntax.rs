//! Whether a text is an executable document (sections 2.2 to 2.13), and where it stops being one.
//!
//! The parser that builds the tree answers that too, but after it has recovered from errors and not
//! always at the token at fault.

use std::ops::Range;

use crate::graphql::lexer::{Broken, Lexer, Token};

/// Descriptions of a document (section 2.9, new in September 2025).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// Where the description stands.
    pub(super) place: Range<usize>,
    /// Where the operation, fragment or variable that it describes begins.
    pub(super) described: usize,
}

/// Checks the syntax. Type definitions end the check: they are refused as such later on.
pub(super) fn check(text: &str) -> Result<Vec<Description>, Broken> {
    let mut reader = Reader { lexer: Lexer::new(text), token: None, descriptions: Vec::new() };
    reader.advance()?;
    loop {
        if reader.definition()? == Definition::Foreign || reader.token.is_none() {
            return Ok(reader.descriptions);
        }
    }
}

/// What begins a definition that is not executable.
const TYPE_WORDS: [&str; 8] =
    ["schema", "scalar", "type", "interface", "union", "enum", "input", "directive"];

#[derive(PartialEq, Eq)]
enum Definition {
    Executable,
    /// Of a type, a directive or the schema.
    Foreign,
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    /// The token at hand; nothing at the end.
    token: Option<Token>,
    descriptions: Vec<Description>,
}

type Read = Result<(), Broken>;

impl Reader<'_> {
    fn advance(&mut self) -> Read {
        self.token = self.lexer.next().transpose()?;
        Ok(())
    }

    fn is(&self, punctuator: u8) -> bool {
        self.token == Some(Token::Punctuator(punctuator))
    }

    fn is_word(&self, word: &str) -> bool {
        self.token == Some(Token::Name) && self.lexer.token_text() == word
    }

    fn is_string(&self) -> bool {
        matches!(self.token, Some(Token::String | Token::BlockString))
    }

    fn unexpected(&self, wanted: &str) -> Broken {
        const CHARACTERS: usize = 30;
        let found = match self.token {
            None => "the end of the document".to_owned(),
            Some(_) => {
                let text: String = self.lexer.token_text().chars().take(CHARACTERS).collect();
                format!("{text:?}")
            }
        };
        Broken::new(self.lexer.start, format!("{wanted} is expected here, not {found}"))
    }

    fn expect(&mut self, punctuator: u8) -> Read {
        if !self.is(punctuator) {
            return Err(self.unexpected(&format!("{:?}", char::from(punctuator))));
        }
        self.advance()
    }

    fn accept(&mut self, punctuator: u8) -> Result<bool, Broken> {
        let found = self.is(punctuator);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn name(&mut self) -> Read {
        if self.token != Some(Token::Name) {
            return Err(self.unexpected("A name"));
        }
        self.advance()
    }

    /// One or more, between brackets.
    fn many(&mut self, open: u8, close: u8, mut one: impl FnMut(&mut Self) -> Read) -> Read {
        self.expect(open)?;
        loop {
            one(self)?;
            if self.accept(close)? {
                return Ok(());
            }
        }
    }

    /// Takes a description if one is at hand.
    fn description(&mut self) -> Read {
        if self.is_string() {
            let place = self.lexer.start..self.lexer.end;
            self.advance()?;
            self.descriptions.push(Description { place, described: self.lexer.start });
        }
        Ok(())
    }

    fn definition(&mut self) -> Result<Definition, Broken> {
        if self.is(b'{') {
            return self.selection_set().map(|()| Definition::Executable);
        }
        let (described, start) = (self.is_string(), self.lexer.start);
        self.description()?;
        if described && self.is(b'{') {
            return Err(Broken::new(start, "A query without its keyword cannot have a description"));
        }
        if self.token != Some(Token::Name) {
            return Err(self.unexpected("A definition"));
        }
        match self.lexer.token_text() {
            "query" | "mutation" | "subscription" => self.operation()?,
            "fragment" => self.fragment_definition()?,
            word if TYPE_WORDS.contains(&word) => {
                // Not ours: the parser has to see its description.
                self.descriptions.truncate(self.descriptions.len() - usize::from(described));
                return Ok(Definition::Foreign);
            }
            _ if described => {
                return Err(Broken::new(start, "Only definitions can have a description"));
            }
            "extend" => {
                self.advance()?;
                let follows =
                    self.token == Some(Token::Name) && TYPE_WORDS.contains(&self.lexer.token_text());
                return if follows { Ok(Definition::Foreign) } else { Err(self.unexpected("A definition")) };
            }
            _ => return Err(self.unexpected("A definition")),
        }
        Ok(Definition::Executable)
    }

    fn operation(&mut self) -> Read {
        self.advance()?;
        if self.token == Some(Token::Name) {
            self.advance()?;
        }
        if self.is(b'(') {
            self.many(b'(', b')', Self::variable_definition)?;
        }
        self.directives(false)?;
        self.selection_set()
    }

    fn fragment_definition(&mut self) -> Read {
        self.advance()?;
        if self.is_word("on") {
            return Err(self.unexpected("The fragment's name"));
        }
        self.name()?;
        if !self.is_word("on") {
            return Err(self.unexpected("\"on\""));
        }
        self.advance()?;
        self.name()?;
        self.directives(false)?;
        self.selection_set()
    }

    fn variable_definition(&mut self) -> Read {
        self.description()?;
        self.expect(b'$')?;
        self.name()?;
        self.expect(b':')?;
        self.type_reference()?;
        if self.accept(b'=')? {
            self.value(true)?;
        }
        self.directives(true)
    }

    fn type_reference(&mut self) -> Read {
        if self.accept(b'[')? {
            self.type_reference()?;
            self.expect(b']')?;
        } else {
            self.name()?;
        }
        self.accept(b'!').map(|_| ())
    }

    fn directives(&mut self, constant: bool) -> Read {
        while self.accept(b'@')? {
            self.name()?;
            self.arguments(constant)?;
        }
        Ok(())
    }

    fn arguments(&mut self, constant: bool) -> Read {
        if !self.is(b'(') {
            return Ok(());
        }
        self.many(b'(', b')', |reader| reader.member(constant))
    }

    /// An argument, or a field of an object.
    fn member(&mut self, constant: bool) -> Read {
        self.name()?;
        self.expect(b':')?;
        self.value(constant)
    }

    fn selection_set(&mut self) -> Read {
        self.many(b'{', b'}', Self::selection)
    }

    fn selection(&mut self) -> Read {
        if self.accept(b'.')? {
            return self.fragment();
        }
        self.name()?;
        if self.accept(b':')? {
            self.name()?;
        }
        self.arguments(false)?;
        self.directives(false)?;
        if self.is(b'{') { self.selection_set() } else { Ok(()) }
    }

    /// What follows `...`.
    fn fragment(&mut self) -> Read {
        if self.is_word("on") {
            self.advance()?;
            self.name()?;
        } else if self.token == Some(Token::Name) {
            self.advance()?;
            return self.directives(false);
        }
        self.directives(false)?;
        self.selection_set()
    }

    fn value(&mut self, constant: bool) -> Read {
        match self.token {
            Some(Token::Punctuator(b'[')) => {
                self.advance()?;
                while !self.accept(b']')? {
                    self.value(constant)?;
                }
                Ok(())
            }
            Some(Token::Punctuator(b'{')) => {
                self.advance()?;
                while !self.accept(b'}')? {
                    self.member(constant)?;
                }
                Ok(())
            }
            Some(Token::Punctuator(b'$')) if constant => {
                Err(Broken::new(self.lexer.start, "A variable cannot stand in a constant"))
            }
            Some(Token::Punctuator(b'$')) => {
                self.advance()?;
                self.name()
            }
            Some(Token::Punctuator(_)) | None => Err(self.unexpected("A value")),
            Some(_) => self.advance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_at(text: &str) -> Option<usize> {
        check(text).err().map(|broken| broken.at)
    }

    #[test]
    fn the_first_token_that_does_not_fit_is_named() {
        for (text, at) in [
            ("", 0),
            ("{ a { } }", 6),
            ("{ a(b: ) }", 7),
            ("{ a(b: 01) }", 8),
            (r#"{ a(b: "x\ud83d") }"#, 9),
            ("query($a: Int = $b) { a }", 16),
            ("\"about\" { a }", 0),
            ("{ a", 3),
        ] {
            assert_eq!(broken_at(text), Some(at), "{text}");
        }
        for text in
            ["{ a }", "query A { a } type B { c: Int", "{ a(b: [{c: \"\\u{1F600}\\ud83d\\ude00\"}]) }"]
        {
            assert_eq!(broken_at(text), None, "{text}");
        }
    }

    #[test]
    fn descriptions_are_found() {
        let text = r#""a" query("b" $c: D = "e") { f(g: "h") } "i" type J { k: L }"#;
        let found: Vec<_> = check(text).unwrap().into_iter().map(|it| (it.place, it.described)).collect();
        assert_eq!(found, [(0..3, 4), (10..13, 14)]);
    }
}
