//! From text to definitions. The parser's errors are strings; here they become a place and our words.

use graphql_parser::schema::{self as ast, parse_schema};

use super::problem::cut;
use super::scan::At;

/// Tokens that are named as expected; more would not help.
const EXPECTED_MAX: usize = 12;
/// A longer token is cut in messages.
const TOKEN_CHARACTERS_MAX: usize = 40;

// The parser's tree with texts of its own, so that it borrows from nothing.
pub(super) type Document = ast::Document<'static, String>;
pub(super) type Definition = ast::Definition<'static, String>;
pub(super) type TypeDefinition = ast::TypeDefinition<'static, String>;
pub(super) type TypeExtension = ast::TypeExtension<'static, String>;
pub(super) type DirectiveDefinition = ast::DirectiveDefinition<'static, String>;
pub(super) type Directive = ast::Directive<'static, String>;
pub(super) type Field = ast::Field<'static, String>;
pub(super) type InputValue = ast::InputValue<'static, String>;
pub(super) type EnumValue = ast::EnumValue<'static, String>;
pub(super) type Type = ast::Type<'static, String>;
pub(super) type Value = ast::Value<'static, String>;

#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) at: At,
    pub(super) message: String,
    /// What could have stood there, in words; empty if that says nothing.
    pub(super) expected: String,
}

/// Parses a text that `scan` has made.
pub(super) fn parse(text: &str) -> Result<Document, SyntaxError> {
    let parsed = parse_schema::<String>(text);
    parsed.map(ast::Document::into_static).map_err(|error| explain(&error.to_string(), text))
}

fn explain(report: &str, text: &str) -> SyntaxError {
    let at = place(report).unwrap_or((1, 1));
    let mut expected = expected(report);
    let definition_expected = expected.contains(&"schema") || expected.contains(&"end of input");
    let token = token_at(text, at);
    let message = if report.contains("should contain at least") {
        "this extension adds nothing".to_owned()
    } else if definition_expected && is_operation(token) {
        "operations and fragments do not belong here; a document holds type definitions and \
         extend type Subscription"
            .to_owned()
    } else if report.contains("unsupported integer") || report.contains("unsupported float") {
        expected.clear();
        format!("\"{}\" is not a number", cut(number_at(text, at).to_owned(), TOKEN_CHARACTERS_MAX))
    } else if report.contains("number too large") || report.contains("number too small") {
        "a number is out of range: whole numbers have at most 64 bits".to_owned()
    } else if report.contains("bad escaped char") {
        "a string contains a backslash that begins no escape; write \\\\ for a backslash".to_owned()
    } else if report.contains("\\u must have") || report.contains("valid unicode") {
        "a string contains a \\u escape that is no character by itself; write the character".to_owned()
    } else if token == "\"" {
        "unexpected string".to_owned()
    } else if token.is_empty() {
        "unexpected end of the document".to_owned()
    } else {
        format!("unexpected \"{}\"", cut(token.to_owned(), TOKEN_CHARACTERS_MAX))
    };
    SyntaxError { at, message, expected: in_words(&expected) }
}

/// The place in `Parse error at LINE:COLUMN`.
fn place(report: &str) -> Option<At> {
    let (_, rest) = report.split_once("Parse error at ")?;
    let (line, rest) = rest.split_once(':')?;
    let column = rest.split(|next: char| !next.is_ascii_digit()).next()?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

/// The items of `Expected A, B or C`.
fn expected(report: &str) -> Vec<&str> {
    let line = report.lines().find_map(|line| line.strip_prefix("Expected "));
    let Some(line) = line.filter(|line| !line.contains("should contain")) else { return Vec::new() };
    let mut items: Vec<&str> = line.split(", ").flat_map(|part| part.split(" or ")).collect();
    items.sort_unstable();
    items.dedup();
    items
}

fn in_words(items: &[&str]) -> String {
    let words: Vec<String> = items
        .iter()
        // What is legal GraphQL and refused all the same is no advice.
        .filter(|item| !matches!(**item, "schema" | "directive"))
        .map(|item| match *item {
            "Name" => "a name".to_owned(),
            "IntValue" | "FloatValue" => "a number".to_owned(),
            "StringValue" | "BlockString" => "a string".to_owned(),
            "end of input" => "a definition".to_owned(),
            other => format!("{other:?}"),
        })
        .fold(Vec::new(), |mut words, word| {
            if !words.contains(&word) && words.len() < EXPECTED_MAX {
                words.push(word);
            }
            words
        });
    words.join(", ")
}

/// The rest of the text from a place on.
fn from(text: &str, (line, column): At) -> &str {
    let line = text.split_inclusive('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let start = line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(start, _)| start);
    line[start..].trim_end_matches('\n')
}

fn token_at(text: &str, at: At) -> &str {
    let rest = from(text, at);
    let is_name = |next: char| next.is_ascii_alphanumeric() || next == '_';
    let end = if rest.starts_with(is_name) {
        rest.find(|next| !is_name(next)).unwrap_or(rest.len())
    } else if rest.starts_with("...") {
        3
    } else {
        rest.chars().next().map_or(0, char::len_utf8)
    };
    &rest[..end]
}

fn number_at(text: &str, at: At) -> &str {
    let rest = from(text, at);
    let is_end = |next: char| next.is_whitespace() || ",#!$:=@|&()[]{}\"".contains(next);
    &rest[..rest.find(is_end).unwrap_or(rest.len())]
}

fn is_operation(token: &str) -> bool {
    matches!(token, "query" | "mutation" | "subscription" | "fragment" | "{")
}
