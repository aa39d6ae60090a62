//! The directives of custom SDL.

use apollo_compiler::ast::{Directive, DirectiveList, Value};

/// Their declarations. Clients never see them: `strip` takes them out.
pub(super) const SDL: &str = r#"
directive @event(channel: String!, type: String, types: [String!]) on FIELD_DEFINITION
directive @match(field: String) on ARGUMENT_DEFINITION
directive @visibleTo(roles: [String!]!) on FIELD_DEFINITION
directive @resolve(function: String!, scope: ResolveScope! = USER) on FIELD_DEFINITION
directive @authorize(function: String!) on FIELD_DEFINITION
enum ResolveScope { EVENT TENANT USER }
"#;

/// `@oneOf` (section 3.13.5), which the compiler does not know yet; declared only where it is used.
pub(super) const ONE_OF: &str = "directive @oneOf on INPUT_OBJECT";

/// Their names.
pub(super) const NAMES: [&str; 5] = ["event", "match", "visibleTo", "resolve", "authorize"];

/// The type that only they use.
pub(super) const SCOPE: &str = "ResolveScope";

/// `@event`: what a root field listens to.
#[derive(Debug)]
pub(super) struct OnEvent {
    pub(super) channel: Box<str>,
    /// Nothing: every type of the channel.
    pub(super) types: Option<Vec<Box<str>>>,
}

impl OnEvent {
    pub(super) fn of(directives: &DirectiveList) -> Option<Self> {
        let directive = directives.get("event")?;
        let one = text(directive, "type").map(|event_type| vec![event_type]);
        Some(Self { channel: text(directive, "channel")?, types: one.or_else(|| texts(directive, "types")) })
    }
}

/// What `@match` makes of an argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It must equal this member of the payload.
    Member(Box<str>),
    /// It is not compared.
    Nothing,
}

impl Match {
    /// Of an argument with this name.
    pub(super) fn of(name: &str, directives: &DirectiveList) -> Self {
        let given = directives.get("match").and_then(|it| it.specified_argument_by_name("field"));
        match given.map(|value| &**value) {
            None => Self::Member(name.into()),
            Some(Value::String(field)) => Self::Member(field.as_str().into()),
            Some(_) => Self::Nothing,
        }
    }
}

/// The roles of `@visibleTo`; nothing if everybody may see the field.
pub(super) fn visible_to(directives: &DirectiveList) -> Option<Vec<Box<str>>> {
    Some(texts(directives.get("visibleTo")?, "roles").unwrap_or_default())
}

/// `@resolve`: the function that makes a field's values, and the name of its scope.
pub(super) fn resolve(directives: &DirectiveList) -> Option<(Box<str>, Box<str>)> {
    let directive = directives.get("resolve")?;
    let scope = directive.specified_argument_by_name("scope").and_then(|scope| scope.as_enum());
    Some((text(directive, "function")?, scope.map_or("USER", |scope| scope.as_str()).into()))
}

/// `@authorize`: the function that decides who may subscribe.
pub(super) fn authorize(directives: &DirectiveList) -> Option<Box<str>> {
    text(directives.get("authorize")?, "function")
}

fn text(directive: &Directive, argument: &str) -> Option<Box<str>> {
    directive.specified_argument_by_name(argument)?.as_str().map(Into::into)
}

/// A list of texts; a single one counts as a list of it (section 3.11).
fn texts(directive: &Directive, argument: &str) -> Option<Vec<Box<str>>> {
    match &**directive.specified_argument_by_name(argument)? {
        Value::List(items) => Some(items.iter().filter_map(|item| item.as_str().map(Into::into)).collect()),
        Value::String(text) => Some(vec![text.as_str().into()]),
        _ => None,
    }
}
