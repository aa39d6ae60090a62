//! A document, parsed and validated once for all who send the same text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use apollo_compiler::ast::{self, Definition, OperationType};
use apollo_compiler::collections::{HashMap, HashSet};
use apollo_compiler::diagnostic::Diagnostic;
use apollo_compiler::executable::{
    DirectiveList, ExecutableDocument, Operation, Selection, SelectionSet, Value,
};
use apollo_compiler::parser::Parser;
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::{DiagnosticData, Valid};
use apollo_compiler::{Name, Node, Schema};

use crate::graphql::cost;
use crate::graphql::descriptions;
use crate::graphql::error::{GraphQLError, Location};
use crate::graphql::limits::Limits;
use crate::graphql::places::{Lines, Places};
use crate::graphql::{syntax, validate};

/// What an operation is; the transport decides by it whether it can serve the request at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// One result.
    Query,
    /// Not offered: writes go to the database.
    Mutation,
    /// A stream of results.
    Subscription,
}

/// A parsed document.
#[derive(Debug)]
pub(super) struct Document {
    /// Names the document in the cache of plans.
    pub(super) id: u64,
    operations: Vec<Head>,
    executable: Result<Valid<ExecutableDocument>, Vec<GraphQLError>>,
    pub(super) places: Places,
}

/// What is known of an operation without validation.
#[derive(Debug)]
pub(super) struct Head {
    name: Option<Name>,
    pub(super) kind: OperationKind,
}

impl Document {
    /// Parses and validates. The errors are those that leave nothing to select an operation from:
    /// limits and syntax; errors of validation are kept in the document.
    pub(super) fn parse(
        text: &str,
        schema: &Valid<Schema>,
        implementers: &HashMap<Name, Implementers>,
        limits: &Limits,
    ) -> Result<Self, Vec<GraphQLError>> {
        limits.check_text(text).map_err(|error| vec![error])?;
        // The parser is somebody else's and the text is anybody's: a bug there may cost this
        // request, but no connection.
        catch_unwind(AssertUnwindSafe(|| Self::parse_unguarded(text, schema, implementers, limits)))
            .unwrap_or_else(|_| {
                tracing::error!(bytes = text.len(), "the GraphQL parser panicked on a document");
                let message = "The document could not be checked; this is a defect of the server";
                Err(vec![GraphQLError::new("INTERNAL_SERVER_ERROR", message)])
            })
    }

    fn parse_unguarded(
        text: &str,
        schema: &Valid<Schema>,
        implementers: &HashMap<Name, Implementers>,
        limits: &Limits,
    ) -> Result<Self, Vec<GraphQLError>> {
        let descriptions = syntax::check(text).map_err(|broken| {
            let locations = vec![Lines::of(text).at(broken.at)];
            vec![GraphQLError { locations, ..GraphQLError::new("GRAPHQL_PARSE_FAILED", broken.message) }]
        })?;
        // Each level of the text is at most four levels of the parser.
        let mut parser = Parser::new().recursion_limit(4 * limits.depth() + 16);
        let parsed = parser.parse_ast(descriptions::blank(text, &descriptions), "document.graphql");
        let ast = parsed.map_err(|refused| {
            // After the first, a parser only guesses.
            let first = refused.errors.iter().take(1);
            first.map(|it| from_diagnostic(&it, "GRAPHQL_PARSE_FAILED")).collect::<Vec<_>>()
        })?;
        let places = Places::new(text, &descriptions, &ast.sources);
        cost::check(&ast, limits).map_err(|(code, message, place)| {
            vec![GraphQLError { locations: places.at(place), ..GraphQLError::new(code, message) }]
        })?;
        static IDS: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            operations: heads(&ast),
            executable: executable(&ast, schema, implementers, &places),
            places,
        })
    }

    /// The operation that a request means (section 6.1, GetOperation). An empty name counts as
    /// none: clients that keep the name in a text field send one.
    pub(super) fn select(&self, name: Option<&str>) -> Result<&Head, GraphQLError> {
        let refused = |message: String| Err(GraphQLError::new("OPERATION_RESOLUTION_FAILURE", message));
        match (name.filter(|name| !name.is_empty()), self.operations.as_slice()) {
            (_, []) => refused("The document contains no operation".to_owned()),
            (None, [only]) => Ok(only),
            (None, several) => refused(format!(
                "The document contains {} operations; operationName must say which one to run",
                several.len()
            )),
            (Some(name), all) => {
                match all.iter().find(|head| head.name.as_ref().is_some_and(|it| it == name)) {
                    Some(head) => Ok(head),
                    None => refused(format!("The document contains no operation named {name:?}")),
                }
            }
        }
    }

    /// The validated document.
    pub(super) fn executable(&self) -> Result<&Valid<ExecutableDocument>, &[GraphQLError]> {
        self.executable.as_ref().map_err(Vec::as_slice)
    }

    /// The validated operation that `head` stands for.
    pub(super) fn operation(&self, head: &Head) -> Option<&Node<Operation>> {
        let operations = &self.executable.as_ref().ok()?.operations;
        match &head.name {
            Some(name) => operations.named.get(name),
            None => operations.anonymous.as_ref(),
        }
    }
}

/// The operations of a document.
fn heads(document: &ast::Document) -> Vec<Head> {
    let operations = document.definitions.iter().filter_map(Definition::as_operation_definition);
    let heads = operations.map(|operation| Head {
        name: operation.name.clone(),
        kind: match operation.operation_type {
            OperationType::Query => OperationKind::Query,
            OperationType::Mutation => OperationKind::Mutation,
            OperationType::Subscription => OperationKind::Subscription,
        },
    });
    heads.collect()
}

/// What the rest needs to know of a document: its fields with their definitions. apollo-compiler's own
/// check comes last, so that nothing that it would refuse is executed; but one of its rules is stricter
/// than the specification, and `validate` has it as it should be.
fn executable(
    ast: &ast::Document,
    schema: &Valid<Schema>,
    implementers: &HashMap<Name, Implementers>,
    places: &Places,
) -> Result<Valid<ExecutableDocument>, Vec<GraphQLError>> {
    let findings = validate::check(ast, schema, implementers, places);
    if !findings.is_empty() {
        return Err(findings);
    }
    let refused = match ast.to_executable_validate(schema) {
        Ok(document) => return Ok(document),
        Err(refused) => refused,
    };
    let all = refused.errors.iter();
    let kept: Vec<_> = all.filter(|it| !is_too_strict(it.error.unstable_error_name())).collect();
    if kept.is_empty() {
        return Ok(Valid::assume_valid(refused.partial));
    }
    Err(kept.into_iter().take(1).map(|it| from_diagnostic(&it, "GRAPHQL_VALIDATION_FAILED")).collect())
}

/// Section 5.2.4.1 counts response names, apollo-compiler counts selections.
fn is_too_strict(rule: Option<&str>) -> bool {
    rule == Some("SubscriptionUsesMultipleFields")
}

/// The variables that decide which fields of an operation are selected, sorted.
pub(super) fn condition_variables<'a>(
    document: &'a ExecutableDocument,
    operation: &'a Operation,
) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut seen = HashSet::default();
    let mut open: Vec<&SelectionSet> = vec![&operation.selection_set];
    while let Some(set) = open.pop() {
        for selection in &set.selections {
            found.extend(["skip", "include"].into_iter().filter_map(|name| {
                match condition(selection.directives(), name)? {
                    Value::Variable(variable) => Some(variable.as_str()),
                    _ => None,
                }
            }));
            match selection {
                Selection::Field(field) => open.push(&field.selection_set),
                Selection::InlineFragment(inline) => open.push(&inline.selection_set),
                Selection::FragmentSpread(spread) if seen.insert(&spread.fragment_name) => {
                    open.extend(document.fragments.get(&spread.fragment_name).map(|it| &it.selection_set));
                }
                Selection::FragmentSpread(_) => {}
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The `if` of `@skip` or `@include`.
pub(super) fn condition<'a>(directives: &'a DirectiveList, name: &str) -> Option<&'a Value> {
    directives.get(name)?.specified_argument_by_name("if").map(|value| &**value)
}

fn from_diagnostic(diagnostic: &Diagnostic<'_, DiagnosticData>, code: &'static str) -> GraphQLError {
    let error = diagnostic.to_json();
    let locations = error.locations.iter().map(|at| Location { line: at.line, column: at.column });
    GraphQLError { locations: locations.collect(), ..GraphQLError::new(code, error.message) }
}
