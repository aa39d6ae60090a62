// graphql-js 17 as the judge: standard input is lines of JSON, and so is standard output, an answer a line.
//
//   {"sdl": SDL}                                        the schema from now on
//   {"query", "variables", "operationName"}             what is wrong with the request before execution
//   {…, "root": VALUE}                                  the result of execution with this root value
//
// Numbers in root values and variables come as {"$number": TEXT}, because JavaScript would lose digits;
// {"$error": TEXT} in a root value is a field that fails.

import { createInterface } from 'node:readline';
import {
  GraphQLError,
  Kind,
  OperationTypeNode,
  buildSchema,
  execute,
  getArgumentValues,
  getVariableValues,
  parse,
  print,
  specifiedScalarTypes,
  validate,
  validateSchema,
  valueFromASTUntyped,
} from 'graphql-17';

// The grammar of September 2025: a selection set selects something.
const strict = { allowEmptySelectionSets: false };

let schema;

const isNumber = (value) => typeof value === 'object' && value !== null && '$number' in value;

const plain = (value) => {
  if (isNumber(value)) return Number(value.$number);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, plain(member)]));
};

// A value that the event lacks because its record was cut.
const revive = (value) => {
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== 'object' || value === null || isNumber(value)) return value;
  if ('$error' in value) return new Error(value.$error);
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, revive(member)]));
};

const refuse = (value) => {
  throw new TypeError(`not a value: ${JSON.stringify(value)}`);
};

// The text of an integer or a number, however it came.
const text = (value) => (isNumber(value) ? value.$number : typeof value === 'string' ? value : refuse(value));

// What docs/graphql.md says of the scalars that GraphQL does not have built in: input, then output.
const bigInt = (value) => {
  const given = text(value);
  const whole = isNumber(value) && !/^-?\d+$/.test(given) ? wholeNumber(given) : given;
  if (!/^[+-]?\d+$/.test(whole)) refuse(value);
  const integer = BigInt(whole.replace('+', ''));
  return integer === BigInt.asIntN(64, integer) ? String(integer) : refuse(value);
};

const wholeNumber = (given) => {
  const number = Number(given);
  return Number.isInteger(number) && Math.abs(number) <= 2 ** 53 ? String(BigInt(number)) : given;
};

const bigFloat = (value) => {
  const given = text(value);
  const fits = isNumber(value) || /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(given);
  return fits || ['NaN', 'Infinity', '-Infinity'].includes(given) ? given : refuse(value);
};

const uuid = (value) => {
  if (typeof value !== 'string') refuse(value);
  const digits = value.replace(/^\{(.*)\}$/, '$1').replaceAll('-', '').toLowerCase();
  return /^[0-9a-f]{32}$/.test(digits) ? digits : refuse(value);
};

const string = (value) => (typeof value === 'string' ? value : refuse(value));

const inputs = { BigInt: bigInt, BigFloat: bigFloat, UUID: uuid, Datetime: string, Date: string, Time: string };

const outputs = {
  BigInt: (value) => (/^-?\d+$/.test(text(value)) ? text(value) : refuse(value)),
  BigFloat: text,
  UUID: string,
  Datetime: string,
  Date: string,
  Time: string,
  JSON: (value) => value,
};

const literal = (coerce) => (node) => {
  switch (node.kind) {
    case Kind.INT:
    case Kind.FLOAT:
      return coerce({ $number: node.value });
    case Kind.STRING:
      return coerce(node.value);
    default:
      return refuse(print(node));
  }
};

function serve(sdl) {
  schema = buildSchema(sdl);
  for (const [name, type] of Object.entries(schema.getTypeMap())) {
    if (inputs[name]) {
      type.coerceInputValue = inputs[name];
      type.coerceInputLiteral = literal(inputs[name]);
    }
    if (outputs[name]) type.coerceOutputValue = outputs[name];
    if (name === 'JSON') {
      type.coerceInputValue = (value) => value;
      type.coerceInputLiteral = (node) => valueFromASTUntyped(node);
    }
  }
  return validateSchema(schema);
}

// Scalars that are built in are shared by all schemas, so they learn of the numbers once.
for (const type of specifiedScalarTypes) {
  const { coerceInputValue, coerceOutputValue } = type;
  type.coerceInputValue = (value, ...rest) => coerceInputValue.call(type, plain(value), ...rest);
  type.coerceOutputValue = (value) => {
    const given = plain(value);
    // A string of a number is spelled as the number came.
    if (isNumber(value) && type.name === 'String') return value.$number;
    if (typeof given === 'object' && given !== null) refuse(value);
    return coerceOutputValue.call(type, given);
  };
}

const errors = (all) => ({ errors: all.map(({ message, locations, path }) => ({ message, locations, path })) });

function operationOf(document, name) {
  const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  const found = name ? operations.filter((it) => it.name?.value === name) : operations;
  return found.length === 1 ? found[0] : undefined;
}

function judge({ query, variables, operationName, root }) {
  let document;
  try {
    document = parse(query, strict);
  } catch (error) {
    return { stage: 'parse', ...errors([error]) };
  }
  const invalid = validate(schema, document, undefined, strict);
  if (invalid.length > 0) return { stage: 'validation', ...errors(invalid) };
  const operation = operationOf(document, operationName);
  if (!operation) return { stage: 'operation', ...errors([new GraphQLError('no such operation')]) };
  const values = getVariableValues(schema, operation.variableDefinitions ?? [], variables ?? {});
  if (values.errors) return { stage: 'variables', ...errors(values.errors) };
  if (root !== undefined) {
    return { stage: 'executed', ...execution({ document, operationName, variables, root }) };
  }
  if (operation.operation !== OperationTypeNode.SUBSCRIPTION) return { stage: 'accepted', errors: [] };
  return argumentsOf(document, operation, values.variableValues);
}

// The arguments of a subscription are coerced when it starts.
function argumentsOf(document, operation, variableValues) {
  const field = firstField(document, operation.selectionSet);
  const definition = schema.getSubscriptionType().getFields()[field.name.value];
  try {
    getArgumentValues(definition, field, variableValues);
  } catch (error) {
    error.path ??= undefined;
    const path = [(field.alias ?? field.name).value];
    return { stage: 'arguments', errors: [{ message: error.message, locations: error.locations, path }] };
  }
  return { stage: 'accepted', errors: [] };
}

function firstField(document, { selections }) {
  for (const selection of selections) {
    if (selection.kind === Kind.FIELD) return selection;
    const fragment =
      selection.kind === Kind.FRAGMENT_SPREAD
        ? document.definitions.find((it) => it.kind === Kind.FRAGMENT_DEFINITION && it.name.value === selection.name.value)
        : selection;
    const found = firstField(document, fragment.selectionSet);
    if (found) return found;
  }
  return undefined;
}

function execution({ document, operationName, variables, root }) {
  const result = execute({
    schema,
    document,
    operationName: operationName || undefined,
    variableValues: variables,
    rootValue: revive(root),
  });
  return {
    data: result.data,
    errors: (result.errors ?? []).map(({ message, locations, path }) => ({ message, locations, path })),
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  let answer;
  try {
    answer = request.sdl === undefined ? judge(request) : errors(serve(request.sdl));
  } catch (error) {
    answer = { failure: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
