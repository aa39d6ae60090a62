//! A document, parsed and validated once for all who send the same text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use apollo_compiler::ast::{self, Definition, OperationType};
use apollo_compiler::collections::HashSet;
use apollo_compiler::executable::{
    DirectiveList, ExecutableDocument, Operation, Selection, SelectionSet, Value,
};
use apollo_compiler::parser::{Parser, SourceMap, SourceSpan};
use apollo_compiler::validation::{DiagnosticList, Valid, WithErrors};
use apollo_compiler::{Name, Node, Schema};

use crate::graphql::cost;
use crate::graphql::descriptions;
use crate::graphql::error::{GraphQLError, Location};
use crate::graphql::limits::Limits;

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
}

/// What is known of an operation without validation.
#[derive(Debug)]
pub(super) struct Head {
    name: Option<Name>,
    pub(super) kind: OperationKind,
    pub(super) locations: Vec<Location>,
}

impl Document {
    /// Parses and validates. The errors are those that leave nothing to select an operation from:
    /// limits and syntax; errors of validation are kept in the document.
    pub(super) fn parse(
        text: &str,
        schema: &Valid<Schema>,
        limits: &Limits,
    ) -> Result<Self, Vec<GraphQLError>> {
        limits.check_text(text).map_err(|error| vec![error])?;
        // The parser is somebody else's and the text is anybody's: a bug there may cost this
        // request, but no connection.
        catch_unwind(AssertUnwindSafe(|| Self::parse_unguarded(text, schema, limits))).unwrap_or_else(|_| {
            tracing::error!(bytes = text.len(), "the GraphQL parser panicked on a document");
            let message = "The document could not be checked; this is a defect of the server";
            Err(vec![GraphQLError::new("INTERNAL_SERVER_ERROR", message)])
        })
    }

    fn parse_unguarded(
        text: &str,
        schema: &Valid<Schema>,
        limits: &Limits,
    ) -> Result<Self, Vec<GraphQLError>> {
        // Each level of the text is at most four levels of the parser.
        let mut parser = Parser::new().recursion_limit(4 * limits.depth() + 16);
        let parsed = parser.parse_ast(descriptions::blank(text), "document.graphql");
        let mut ast = parsed.map_err(|refused| {
            // After the first, a parser only guesses.
            from_diagnostics(&refused.errors, "GRAPHQL_PARSE_FAILED", 1)
        })?;
        cost::check(&ast, limits).map_err(|(code, message, place)| {
            vec![GraphQLError {
                locations: locations(place, &ast.sources),
                ..GraphQLError::new(code, message)
            }]
        })?;
        let operations = heads(&ast);
        merge_root_fields(&mut ast);
        static IDS: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            operations,
            executable: validate(&ast, schema).map_err(|refused| {
                from_diagnostics(&refused.errors, "GRAPHQL_VALIDATION_FAILED", ERRORS_MAX)
            }),
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
        locations: locations(operation.location(), &document.sources),
    });
    heads.collect()
}

/// Merges the equal root fields of each subscription. They are one field (section 5.2.4.1 counts
/// response names), but apollo-compiler counts selections. It still does where a fragment repeats a
/// root field: such a document is refused.
fn merge_root_fields(document: &mut ast::Document) {
    for definition in &mut document.definitions {
        let Definition::OperationDefinition(operation) = definition else { continue };
        if operation.operation_type != OperationType::Subscription || operation.selection_set.len() < 2 {
            continue;
        }
        let operation = operation.make_mut();
        let mut merged: Vec<ast::Selection> = Vec::with_capacity(operation.selection_set.len());
        for selection in operation.selection_set.drain(..) {
            let same = selection.as_field().and_then(|field| {
                merged.iter_mut().find_map(|earlier| match earlier {
                    ast::Selection::Field(earlier) if is_same_field(earlier, field) => Some((earlier, field)),
                    _ => None,
                })
            });
            match same {
                Some((earlier, field)) => {
                    earlier.make_mut().selection_set.extend(field.selection_set.iter().cloned())
                }
                None => merged.push(selection),
            }
        }
        operation.selection_set = merged;
    }
}

fn is_same_field(one: &ast::Field, other: &ast::Field) -> bool {
    one.response_name() == other.response_name()
        && one.name == other.name
        && one.arguments == other.arguments
        && one.directives == other.directives
        && !one.selection_set.is_empty()
        && !other.selection_set.is_empty()
}

/// Section 5. In two steps: what the schema does not know is reported alone, because a field that
/// is taken out for it leaves errors behind that nobody made.
#[allow(clippy::result_large_err)]
fn validate(
    ast: &ast::Document,
    schema: &Valid<Schema>,
) -> Result<Valid<ExecutableDocument>, WithErrors<ExecutableDocument>> {
    ast.to_executable(schema)?.validate(schema)
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

/// A place in the document, for an error.
pub(super) fn locations(place: Option<SourceSpan>, sources: &SourceMap) -> Vec<Location> {
    let at = place.and_then(|place| place.line_column(sources));
    at.map(|at| Location { line: at.line, column: at.column }).into_iter().collect()
}

/// Errors of validation that are reported; one mistake tends to have many.
const ERRORS_MAX: usize = 20;

fn from_diagnostics(
    diagnostics: &DiagnosticList,
    code: &'static str,
    errors_max: usize,
) -> Vec<GraphQLError> {
    diagnostics
        .iter()
        .take(errors_max)
        .map(|diagnostic| {
            let error = diagnostic.to_json();
            GraphQLError {
                locations: error
                    .locations
                    .iter()
                    .map(|at| Location { line: at.line, column: at.column })
                    .collect(),
                ..GraphQLError::new(code, error.message)
            }
        })
        .collect()
}
