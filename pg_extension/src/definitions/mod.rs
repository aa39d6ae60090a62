//! GraphQL definitions of custom events: syntax and meaning, as far as the text alone can tell.
//!
//! # Layout, in the order of the checks
//!
//! - `scan`: bounds the text and evens out its lines and columns
//! - `parse`: the parser, and its errors in our words
//! - `world`: what is there besides the document
//! - `parts`, `compose`, `graph`: all documents as one
//! - `types`, `interfaces`, `directives`, `values`: the rules of GraphQL
//! - `subscription`: the rules of our own directives
//! - `problem`: what is wrong, collected
//!
//! Everything here is pure; `sql/65_definitions.sql` brings in the catalog, and reports.

mod scan;

mod parse;

mod world;

mod compose;
mod graph;
mod parts;

mod directives;
mod interfaces;
mod types;
mod values;

mod subscription;

mod problem;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde::Serialize;

use crate::error::{Refusal, refuse_with};
use compose::{Readable, compose};
use parse::SyntaxError;
use problem::{Problem, Problems};
use scan::scan;
use subscription::{FunctionUse, Meaning, added_by};
use types::Checker;
use world::World;

/// What is wrong with a document, and what it defines.
#[derive(Serialize)]
struct Finding {
    problems: Vec<Told>,
    functions: Vec<FunctionUse>,
    types: Vec<String>,
    fields: Vec<String>,
    channels: Vec<String>,
}

#[derive(Serialize)]
struct Told {
    /// Null: the document itself. Otherwise another one, which this one breaks.
    document: Option<String>,
    line: usize,
    column: usize,
    message: String,
}

/// `tidings.check_definition`; see `sql/65_definitions.sql`.
#[pg_extern(sql = false)]
fn check_definition(name: &str, sdl: Option<&str>, world: JsonB) -> JsonB {
    let world: World = match serde_json::from_value(world.0) {
        Ok(world) => world,
        Err(problem) => error!("tidings.check_definition() was called with an unknown world: {problem}"),
    };
    match serde_json::to_value(find(name, sdl, &world)) {
        Ok(finding) => JsonB(finding),
        Err(problem) => error!("the finding could not be written: {problem}"),
    }
}

/// Checks a document together with the others; without one, only what its absence does to them.
fn find(name: &str, sdl: Option<&str>, world: &World) -> Finding {
    // Others that cannot be read, say because somebody wrote to the table, are left aside.
    let mut documents: Vec<Readable<'_>> =
        world.documents.iter().filter_map(|document| readable(&document.name, &document.sdl).ok()).collect();
    let own = documents.len();
    if let Some(sdl) = sdl {
        let scanned = scan(sdl);
        if scanned.as_ref().is_ok_and(|scanned| scanned.is_empty) {
            refuse_empty(name);
        }
        documents.push(readable(name, sdl).unwrap_or_else(|problem| refuse_syntax(name, &problem)));
    }
    let mut checked = check(&documents, world, own);
    if checked.problems.iter().any(|problem| problem.place.document != own) {
        // What was wrong before, say because a table is gone, is not this document's doing.
        documents.truncate(own);
        documents.extend(world.current.as_deref().and_then(|sdl| readable(name, sdl).ok()));
        let before = check(&documents, world, own).problems;
        checked.problems.retain(|problem| problem.place.document == own || !before.contains(problem));
    }
    let told = |problem: Problem| Told {
        document: (problem.place.document != own).then(|| documents[problem.place.document].name.to_owned()),
        line: problem.place.line,
        column: problem.place.column,
        message: problem.message,
    };
    Finding { problems: checked.problems.into_iter().map(told).collect(), ..checked.finding }
}

fn readable<'a>(name: &'a str, sdl: &str) -> Result<Readable<'a>, SyntaxError> {
    let scanned = scan(sdl)?;
    let definitions = parse::parse(&scanned.text)?;
    Ok(Readable { name, described: scanned.described, definitions })
}

struct Checked {
    problems: Vec<Problem>,
    /// Of the own document; without problems.
    finding: Finding,
}

fn check(documents: &[Readable<'_>], world: &World, own: usize) -> Checked {
    let mut problems = Problems::default();
    let directives = match parse::parse(directives::KNOWN) {
        Ok(directives) => directives,
        Err(problem) => error!("the directives cannot be parsed: {}", problem.message),
    };
    let mut graph = compose(documents, world, &mut problems);
    let known = directives::known(&directives, &mut graph);
    graph.index();
    Checker { graph: &graph, known: &known, documents, problems: &mut problems }.types();
    let mut meaning =
        Meaning { graph: &graph, documents, world, problems: &mut problems, functions: Vec::new() };
    meaning.fields();
    let mut functions = meaning.functions;
    functions.retain(|used| used.document == own);
    let (fields, channels) = added_by(&graph, own);
    let types = graph.defined_in(own).map(str::to_owned).collect();
    let finding = Finding { problems: Vec::new(), functions, types, fields, channels };
    Checked { problems: problems.into_vec(), finding }
}

fn refuse_syntax(name: &str, problem: &SyntaxError) -> ! {
    let SyntaxError { at: (line, column), message, expected } = problem;
    refuse_with(Refusal {
        code: PgSqlErrorCode::ERRCODE_SYNTAX_ERROR,
        message: format!("syntax error in document \"{name}\" at line {line}, column {column}: {message}"),
        detail: (!expected.is_empty()).then(|| format!("Expected here, for example: {expected}.")),
        hint: "Correct the GraphQL text; nothing was changed.",
    })
}

fn refuse_empty(name: &str) -> ! {
    refuse_with(Refusal {
        code: PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        message: format!("document \"{name}\" is empty"),
        detail: None,
        hint: "To remove a document call drop_subscriptions(name).",
    })
}
