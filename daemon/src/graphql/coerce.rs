//! Coercion of variables and arguments (sections 6.1.2 and 6.4.1).
//!
//! Done here and not by apollo-compiler because that takes anything for a custom scalar and gives no
//! place for a bad value.

use apollo_compiler::ast::{Argument, Directive, DirectiveDefinition, Type, Value as Literal};
use apollo_compiler::executable::{ExecutableDocument, Field, Operation};
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{ExtendedType, InputObjectType, InputValueDefinition};
use apollo_compiler::{Node, Schema};
use serde_json::{Map, Value};

use crate::graphql::document::locations;
use crate::graphql::error::GraphQLError;
use crate::graphql::scalar::{Scalar, excerpt};

/// Values by name; a name that is missing was not given, which differs from a null.
pub(super) type Values = Map<String, Value>;

/// What is wrong with a value, and where in it.
#[derive(Debug)]
struct Problem {
    message: String,
    /// From the inside out.
    path: Vec<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), path: Vec::new() }
    }

    fn within(mut self, segment: impl Into<String>) -> Self {
        self.path.push(segment.into());
        self
    }

    fn describe(&self) -> String {
        if self.path.is_empty() {
            return self.message.clone();
        }
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        format!("{} at {:?}", self.message, path.trim_start_matches('.'))
    }
}

/// The values of an operation's variables. All that are wrong are reported at once.
pub(super) fn variables(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Operation,
    given: Option<&Values>,
) -> Result<Values, Vec<GraphQLError>> {
    let mut values = Values::new();
    let mut errors = Vec::new();
    for definition in &operation.variables {
        let name = definition.name.as_str();
        let value = match (given.and_then(|given| given.get(name)), &definition.default_value) {
            (Some(value), _) => input(schema, &definition.ty, value).map(Some),
            (None, Some(default)) => literal(schema, &definition.ty, default, &Values::new()),
            (None, None) if definition.ty.is_non_null() => {
                Err(Problem::new(format!("of required type {} was not provided", definition.ty)))
            }
            (None, None) => Ok(None),
        };
        match value {
            Ok(Some(value)) => {
                values.insert(name.to_owned(), value);
            }
            Ok(None) => {}
            Err(problem) => errors.push(GraphQLError {
                locations: locations(definition.location(), &document.sources),
                ..GraphQLError::new("BAD_USER_INPUT", format!("Variable ${name}: {}", problem.describe()))
            }),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// The values of a field's arguments.
pub(super) fn arguments(
    schema: &Schema,
    document: &ExecutableDocument,
    field: &Field,
    variables: &Values,
) -> Result<Values, GraphQLError> {
    let definitions = &field.definition.arguments;
    given(schema, document, definitions, &field.arguments, field.name.location(), variables)
}

/// The values of a directive's arguments.
pub(super) fn directive(
    schema: &Schema,
    document: &ExecutableDocument,
    definition: &DirectiveDefinition,
    directive: &Directive,
    variables: &Values,
) -> Result<Values, GraphQLError> {
    let place = directive.name.location();
    given(schema, document, &definition.arguments, &directive.arguments, place, variables)
}

fn given(
    schema: &Schema,
    document: &ExecutableDocument,
    definitions: &[Node<InputValueDefinition>],
    arguments: &[Node<Argument>],
    place: Option<SourceSpan>,
    variables: &Values,
) -> Result<Values, GraphQLError> {
    let mut values = Values::new();
    for definition in definitions {
        let given = arguments.iter().find(|argument| argument.name == definition.name);
        let place = given.map_or(place, |argument| argument.value.location());
        match argument(schema, definition, given.map(|argument| &*argument.value), variables) {
            Ok(Some(value)) => {
                values.insert(definition.name.to_string(), value);
            }
            Ok(None) => {}
            Err(problem) => {
                let message = format!("Argument {}: {}", definition.name, problem.describe());
                let locations = locations(place, &document.sources);
                return Err(GraphQLError { locations, ..GraphQLError::new("BAD_USER_INPUT", message) });
            }
        }
    }
    Ok(values)
}

fn argument(
    schema: &Schema,
    definition: &InputValueDefinition,
    given: Option<&Literal>,
    variables: &Values,
) -> Result<Option<Value>, Problem> {
    if let Some(given) = given
        && let Some(value) = literal(schema, &definition.ty, given, variables)?
    {
        return Ok(Some(value));
    }
    match &definition.default_value {
        Some(default) => literal(schema, &definition.ty, default, &Values::new()),
        None if definition.ty.is_non_null() => {
            Err(Problem::new(format!("of required type {} was not provided", definition.ty)))
        }
        None => Ok(None),
    }
}

/// Coerces JSON to an input type.
fn input(schema: &Schema, ty: &Type, value: &Value) -> Result<Value, Problem> {
    if value.is_null() {
        return null(ty);
    }
    match ty {
        // Section 3.11: a value that is no list counts as a list of one.
        Type::List(item) | Type::NonNullList(item) => match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    input(schema, item, value).map_err(|problem| problem.within(format!("[{index}]")))
                })
                .collect(),
            single => Ok(Value::Array(vec![input(schema, item, single)?])),
        },
        Type::Named(name) | Type::NonNullNamed(name) => match (schema.types.get(name), value) {
            (Some(ExtendedType::Enum(it)), Value::String(text)) if it.values.contains_key(text.as_str()) => {
                Ok(value.clone())
            }
            (Some(ExtendedType::InputObject(it)), Value::Object(members)) => {
                input_object(schema, it, members)
            }
            (Some(ExtendedType::Scalar(_)), _) => scalar(name, value),
            _ => Err(Problem::new(format!("{name} cannot represent {}", excerpt(value)))),
        },
    }
}

/// Section 3.10.
fn input_object(schema: &Schema, definition: &InputObjectType, members: &Values) -> Result<Value, Problem> {
    if let Some(unknown) = members.keys().find(|key| !definition.fields.contains_key(key.as_str())) {
        let unknown = excerpt(&unknown.as_str().into());
        return Err(Problem::new(format!("{} has no field {unknown}", definition.name)));
    }
    let mut object = Values::new();
    for (name, field) in &definition.fields {
        let value = match members.get(name.as_str()) {
            Some(value) => {
                Some(input(schema, &field.ty, value).map_err(|problem| problem.within(format!(".{name}")))?)
            }
            None => argument(schema, field, None, &Values::new())
                .map_err(|problem| problem.within(format!(".{name}")))?,
        };
        object.extend(value.map(|value| (name.to_string(), value)));
    }
    Ok(Value::Object(object))
}

/// Coerces a literal to an input type; `None` is a variable that was not given.
fn literal(
    schema: &Schema,
    ty: &Type,
    value: &Literal,
    variables: &Values,
) -> Result<Option<Value>, Problem> {
    match value {
        Literal::Null => return null(ty).map(Some),
        // Its type was checked by validation and its value when it was coerced.
        Literal::Variable(name) => {
            return match variables.get(name.as_str()) {
                Some(Value::Null) if ty.is_non_null() => null(ty).map(Some),
                value => Ok(value.cloned()),
            };
        }
        _ => {}
    }
    let item_of = |item: &Type, value: &Literal| match literal(schema, item, value, variables)? {
        Some(value) => Ok(value),
        // Section 3.11: a missing variable within a list is a null.
        None => null(item),
    };
    match (ty, value) {
        (Type::List(item) | Type::NonNullList(item), Literal::List(items)) => {
            let items = items.iter().enumerate().map(|(index, value)| {
                item_of(item, value).map_err(|problem| problem.within(format!("[{index}]")))
            });
            items.collect::<Result<Value, _>>().map(Some)
        }
        (Type::List(item) | Type::NonNullList(item), single) => {
            Ok(Some(Value::Array(vec![item_of(item, single)?])))
        }
        (Type::Named(name) | Type::NonNullNamed(name), _) => match (schema.types.get(name), value) {
            (Some(ExtendedType::Enum(it)), Literal::Enum(label)) if it.values.contains_key(label) => {
                Ok(Some(label.as_str().into()))
            }
            (Some(ExtendedType::InputObject(it)), Literal::Object(members)) => {
                literal_object(schema, it, members, variables).map(Some)
            }
            (Some(ExtendedType::Scalar(_)), _) => scalar(name, &json(name, value, variables)).map(Some),
            _ => Err(Problem::new(format!("{name} cannot represent {value}"))),
        },
    }
}

fn literal_object(
    schema: &Schema,
    definition: &InputObjectType,
    members: &[(apollo_compiler::Name, apollo_compiler::Node<Literal>)],
    variables: &Values,
) -> Result<Value, Problem> {
    let mut object = Values::new();
    for (name, field) in &definition.fields {
        let given = members.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
        let value = argument(schema, field, given, variables)
            .map_err(|problem| problem.within(format!(".{name}")))?;
        object.extend(value.map(|value| (name.to_string(), value)));
    }
    Ok(Value::Object(object))
}

/// A literal as JSON. Numbers for scalars that are strings keep their digits.
fn json(scalar: &str, value: &Literal, variables: &Values) -> Value {
    let as_text = matches!(scalar, "BigInt" | "BigFloat");
    match value {
        Literal::Null => Value::Null,
        Literal::Variable(name) => variables.get(name.as_str()).cloned().unwrap_or_default(),
        Literal::Boolean(value) => (*value).into(),
        Literal::String(text) => text.as_str().into(),
        Literal::Enum(name) => name.as_str().into(),
        Literal::Int(number) if as_text => number.as_str().into(),
        Literal::Float(number) if as_text => number.as_str().into(),
        Literal::Int(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
        Literal::Float(number) => number.as_str().parse().map_or(Value::Null, Value::Number),
        Literal::List(items) => items.iter().map(|item| json("", item, variables)).collect(),
        Literal::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.to_string(), json("", value, variables)));
            Value::Object(members.collect())
        }
    }
}

fn scalar(name: &str, value: &Value) -> Result<Value, Problem> {
    match Scalar::from_name(name) {
        Some(scalar) => scalar.coerce_input(value).map_err(Problem::new),
        // A scalar that somebody declared may hold anything.
        None => Ok(value.clone()),
    }
}

fn null(ty: &Type) -> Result<Value, Problem> {
    if ty.is_non_null() {
        Err(Problem::new(format!("of type {ty} must not be null")))
    } else {
        Ok(Value::Null)
    }
}
