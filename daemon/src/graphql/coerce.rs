//! Coercion of variables and arguments (sections 6.1.2 and 6.4.1).
//!
//! Done here and not by apollo-compiler because that takes anything for a custom scalar and gives no
//! place for a bad value.

use apollo_compiler::ast::{Argument, Directive, DirectiveDefinition, Type, Value as Literal};
use apollo_compiler::executable::{Field, Operation};
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{ExtendedType, InputObjectType, InputValueDefinition};
use apollo_compiler::{Name, Node, Schema};
use serde_json::{Map, Value};

use crate::graphql::error::GraphQLError;
use crate::graphql::places::Places;
use crate::graphql::scalar::{Scalar, excerpt};

/// Values by name; a name that is missing was not given, which differs from a null.
pub(super) type Values = Map<String, Value>;

/// What is wrong with a value, and where in it.
#[derive(Debug)]
struct Problem {
    message: String,
    /// From the inside out.
    path: Vec<String>,
    /// The variable at fault, if the value is a literal with one in it.
    variable: Option<SourceSpan>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), path: Vec::new(), variable: None }
    }

    fn within(mut self, segment: &str) -> Self {
        self.path.push(segment.to_owned());
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

/// Problems of one request that are reported. A list of a million bad items is one mistake.
const PROBLEMS_MAX: usize = 20;

/// The values of an operation's variables. All that are wrong are reported at once.
pub(super) fn variables(
    schema: &Schema,
    places: &Places,
    operation: &Operation,
    given: Option<&Values>,
) -> Result<Values, Vec<GraphQLError>> {
    let mut values = Values::new();
    let mut errors = Vec::new();
    for definition in &operation.variables {
        let name = definition.name.as_str();
        let value = match (given.and_then(|given| given.get(name)), &definition.default_value) {
            (Some(value), _) => input(schema, &definition.ty, value).map(Some),
            (None, Some(default)) => {
                literal(schema, &definition.ty, default, &Values::new()).map_err(|problem| vec![problem])
            }
            (None, None) if definition.ty.is_non_null() => {
                Err(vec![Problem::new(format!("of required type {} was not provided", definition.ty))])
            }
            (None, None) => Ok(None),
        };
        match value {
            Ok(Some(value)) => {
                values.insert(name.to_owned(), value);
            }
            Ok(None) => {}
            Err(problems) => errors.extend(problems.iter().map(|problem| GraphQLError {
                locations: places.at(definition.location()),
                ..GraphQLError::new("BAD_USER_INPUT", format!("Variable ${name}: {}", problem.describe()))
            })),
        }
    }
    errors.truncate(PROBLEMS_MAX);
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// The values of a field's arguments.
pub(super) fn arguments(
    schema: &Schema,
    places: &Places,
    field: &Node<Field>,
    variables: &Values,
) -> Result<Values, GraphQLError> {
    let definitions = &field.definition.arguments;
    given(schema, definitions, &field.arguments, field.location(), variables)
        .map_err(|refused| refused.at(places, field))
}

/// The values of the arguments of a field's directive.
pub(super) fn directive(
    schema: &Schema,
    places: &Places,
    (field, directive): (&Node<Field>, &Node<Directive>),
    definition: &DirectiveDefinition,
    variables: &Values,
) -> Result<Values, GraphQLError> {
    given(schema, &definition.arguments, &directive.arguments, directive.location(), variables)
        .map_err(|refused| refused.at(places, field))
}

/// An argument that has no usable value.
struct Refused {
    message: String,
    place: Option<SourceSpan>,
}

impl Refused {
    fn at(self, places: &Places, field: &Field) -> GraphQLError {
        let path = vec![field.response_key().as_str().into()];
        let error = GraphQLError::new("BAD_USER_INPUT", self.message);
        GraphQLError { locations: places.at(self.place), path, ..error }
    }
}

fn given(
    schema: &Schema,
    definitions: &[Node<InputValueDefinition>],
    arguments: &[Node<Argument>],
    place: Option<SourceSpan>,
    variables: &Values,
) -> Result<Values, Refused> {
    let mut values = Values::new();
    for definition in definitions {
        let given = arguments.iter().find(|argument| argument.name == definition.name);
        let place = given.map_or(place, |argument| argument.value.location());
        match argument(schema, definition, given.map(|argument| &argument.value), variables) {
            Ok(Some(value)) => {
                values.insert(definition.name.to_string(), value);
            }
            Ok(None) => {}
            Err(problem) => {
                let message = format!("Argument {}: {}", definition.name, problem.describe());
                return Err(Refused { message, place: problem.variable.or(place) });
            }
        }
    }
    Ok(values)
}

fn argument(
    schema: &Schema,
    definition: &InputValueDefinition,
    given: Option<&Node<Literal>>,
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
            let variable = given.and_then(|given| given.location());
            let message = format!("of required type {} was not provided", definition.ty);
            Err(Problem { variable, ..Problem::new(message) })
        }
        None => Ok(None),
    }
}

/// Coerces JSON to an input type, or says all that is wrong with it.
fn input(schema: &Schema, ty: &Type, value: &Value) -> Result<Value, Vec<Problem>> {
    if value.is_null() {
        return null(ty).map_err(|problem| vec![problem]);
    }
    match ty {
        // Section 3.12: a value that is no list counts as a list of one.
        Type::List(item) | Type::NonNullList(item) => match value {
            Value::Array(items) => {
                let mut problems = Vec::new();
                let mut coerced = Vec::with_capacity(items.len());
                for (index, value) in items.iter().enumerate() {
                    match input(schema, item, value) {
                        Ok(value) => coerced.push(value),
                        Err(found) => add(&mut problems, found, &format!("[{index}]")),
                    }
                    // A list may have a million items, and no more would be told.
                    if problems.len() >= PROBLEMS_MAX {
                        break;
                    }
                }
                if problems.is_empty() { Ok(coerced.into()) } else { Err(problems) }
            }
            single => Ok(Value::Array(vec![input(schema, item, single)?])),
        },
        Type::Named(name) | Type::NonNullNamed(name) => match (schema.types.get(name), value) {
            (Some(ExtendedType::Enum(it)), Value::String(text)) if it.values.contains_key(text.as_str()) => {
                Ok(value.clone())
            }
            (Some(ExtendedType::InputObject(it)), Value::Object(members)) => {
                input_object(schema, it, members)
            }
            (Some(ExtendedType::Scalar(_)), _) => scalar(name, value).map_err(|problem| vec![problem]),
            _ => Err(vec![Problem::new(format!("{name} cannot represent {}", excerpt(value)))]),
        },
    }
}

fn add(problems: &mut Vec<Problem>, found: Vec<Problem>, segment: &str) {
    let room = PROBLEMS_MAX.saturating_sub(problems.len());
    problems.extend(found.into_iter().take(room).map(|problem| problem.within(segment)));
}

/// Section 3.10.
fn input_object(
    schema: &Schema,
    definition: &InputObjectType,
    members: &Values,
) -> Result<Value, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut object = Values::new();
    for (name, field) in &definition.fields {
        let value = match members.get(name.as_str()) {
            Some(value) => input(schema, &field.ty, value).map(Some),
            None => argument(schema, field, None, &Values::new()).map_err(|problem| vec![problem]),
        };
        match value {
            Ok(value) => object.extend(value.map(|value| (name.to_string(), value))),
            Err(found) => add(&mut problems, found, &format!(".{name}")),
        }
    }
    let known = members.iter().filter(|(key, _)| definition.fields.contains_key(key.as_str()));
    problems.extend(one_of(definition, known.map(|(_, value)| value.is_null())).err());
    let unknown = members.keys().filter(|key| !definition.fields.contains_key(key.as_str()));
    let unknown = unknown.map(|key| {
        Problem::new(format!("{} has no field {}", definition.name, excerpt(&key.as_str().into())))
    });
    problems.extend(unknown.take(PROBLEMS_MAX));
    if problems.is_empty() { Ok(Value::Object(object)) } else { Err(problems) }
}

/// Section 3.10.1: of some input objects exactly one field must be given, and not as null.
fn one_of(definition: &InputObjectType, nulls: impl Iterator<Item = bool>) -> Result<(), Problem> {
    if !definition.directives.has("oneOf") || nulls.eq([false]) {
        return Ok(());
    }
    Err(Problem::new(format!("{} takes exactly one field, and not null", definition.name)))
}

/// Coerces a literal to an input type; `None` is a variable that was not given.
fn literal(
    schema: &Schema,
    ty: &Type,
    value: &Node<Literal>,
    variables: &Values,
) -> Result<Option<Value>, Problem> {
    let no_null = |problem| Problem { variable: value.location(), ..problem };
    match &**value {
        Literal::Null => return null(ty).map(Some),
        // Its type was checked by validation and its value when it was coerced.
        Literal::Variable(name) => {
            return match variables.get(name.as_str()) {
                Some(Value::Null) if ty.is_non_null() => null(ty).map(Some).map_err(no_null),
                value => Ok(value.cloned()),
            };
        }
        _ => {}
    }
    let item_of = |item: &Type, value: &Node<Literal>| match literal(schema, item, value, variables)? {
        Some(value) => Ok(value),
        // Section 3.12: a missing variable within a list is a null.
        None => null(item).map_err(|problem| Problem { variable: value.location(), ..problem }),
    };
    match (ty, &**value) {
        (Type::List(item) | Type::NonNullList(item), Literal::List(items)) => {
            let items = items.iter().enumerate().map(|(index, value)| {
                item_of(item, value).map_err(|problem| problem.within(&format!("[{index}]")))
            });
            items.collect::<Result<Value, _>>().map(Some)
        }
        (Type::List(item) | Type::NonNullList(item), _) => {
            Ok(Some(Value::Array(vec![item_of(item, value)?])))
        }
        (Type::Named(name) | Type::NonNullNamed(name), _) => match (schema.types.get(name), &**value) {
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
    members: &[(Name, Node<Literal>)],
    variables: &Values,
) -> Result<Value, Problem> {
    let mut object = Values::new();
    for (name, field) in &definition.fields {
        let given = members.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let value = argument(schema, field, given, variables)
            .map_err(|problem| problem.within(&format!(".{name}")))?;
        object.extend(value.map(|value| (name.to_string(), value)));
    }
    one_of(definition, object.values().map(Value::is_null))?;
    Ok(Value::Object(object))
}

/// Whether a scalar can be what a literal says; variables in it are anything.
pub(super) fn constant(name: &str, value: &Literal) -> Result<(), String> {
    let refused = || Err(format!("{name} cannot represent {value}"));
    match (Scalar::from_name(name), value) {
        // As JSON it could be whole; as a literal it says that it is not (section 3.5.1).
        (Some(Scalar::Int | Scalar::Id), Literal::Float(_)) => refused(),
        // Enum values would become strings.
        (Some(Scalar::Json) | None, _) => Ok(()),
        (Some(_), Literal::Enum(_) | Literal::List(_) | Literal::Object(_)) => refused(),
        (Some(Scalar::Id), Literal::Int(_)) => Ok(()),
        (Some(_), _) => scalar(name, &json(name, value, &Values::new())).map(drop).map_err(|it| it.message),
    }
}

/// A literal as JSON. Numbers for scalars that are strings keep their digits.
fn json(scalar: &str, value: &Literal, variables: &Values) -> Value {
    let as_text = matches!(scalar, "BigInt" | "BigFloat" | "ID");
    let has_fraction = scalar == "BigFloat";
    match value {
        Literal::Null => Value::Null,
        Literal::Variable(name) => variables.get(name.as_str()).cloned().unwrap_or_default(),
        Literal::Boolean(value) => (*value).into(),
        Literal::String(text) => text.as_str().into(),
        Literal::Enum(name) => name.as_str().into(),
        Literal::Int(number) if as_text => number.as_str().into(),
        Literal::Float(number) if has_fraction => number.as_str().into(),
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
