// The endpoint's HTTP forms as docs/openapi.json describes them: node openapi.mjs URL DOCUMENT --token TOKEN --count N
//
// Sends each operation with the examples of its parameters and bodies, with none, and with values that fit
// none of them, N times at random, and holds each answer against the description: its status, its media type, its
// headers and its body. Prints {"sent":N,"statuses":{…}} at the end, and before it each answer that differs.

import Ajv from 'ajv/dist/2020.js';
import { readFileSync } from 'node:fs';
import { count, token, url } from './arguments.mjs';

const text = readFileSync(new URL('../../docs/openapi.json', import.meta.url), 'utf8');
const description = JSON.parse(text);
const ajv = new Ajv({ strict: false, allErrors: true });
ajv.addSchema(description, 'openapi');

const follow = (node) =>
  node?.$ref
    ? follow(node.$ref.slice(2).split('/').reduce((at, key) => at[key.replaceAll('~1', '/')], description))
    : node;

// A small generator with a seed, so that a run can be repeated.
let state = Number(process.env.TIDINGS_TEST_SEED ?? Date.now() % 2 ** 31) >>> 0;
const seed = state;
const random = (bound) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * bound);
};
const pick = (list) => list[random(list.length)];

const ODD = ['', 'x', '\u00e9', '{', '[]', 'null', '%00', '-1', 'a'.repeat(3000), ',;=', '"', '0'];
const BODIES = ['', '{', '[]', 'null', '7', '"x"', '{}', '{"query":7}', '{"query":"{a}","variables":[]}', '\ufeff{}', '{"query":null}'];
const TYPES = ['application/json', 'application/json; charset=utf-8', 'text/plain', 'application/json; charset=latin1', ''];

const operations = Object.entries(description.paths).flatMap(([path, item]) =>
  Object.entries(follow(item))
    .filter(([method]) => method !== 'summary')
    .map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
);

// The reservation that was made last.
let reserved;

// One request of an operation, which may be as described or not.
function request({ path, method, operation }) {
  const target = new URL(path, url);
  const headers = {};
  const authorization = pick([token, token, token, token, 'x', undefined]);
  if (authorization) headers.authorization = `Bearer ${authorization}`;
  for (const parameter of (operation.parameters ?? []).map(follow)) {
    const often = ['query', 'operationId', 'accept'].includes(parameter.name);
    if (often ? random(4) === 0 : random(6) > 0) continue;
    const examples = Object.values(parameter.examples ?? {}).map(({ value }) => value);
    const isToken = /token$/.test(parameter.name);
    const value = random(6) === 0 ? pick(ODD) : isToken && reserved ? pick([reserved, ...examples]) : pick(examples);
    if (parameter.in === 'query') target.searchParams.append(parameter.name, value);
    else if (/^[\x20-\x7e]*$/.test(value)) headers[parameter.name] = value;
  }
  if (random(20) === 0) target.searchParams.append('unknown', pick(ODD));
  let body;
  if (operation.requestBody) {
    const { examples } = description.components.schemas.Request;
    body = random(4) === 0 ? pick(BODIES) : JSON.stringify(pick(examples));
    const type = random(6) === 0 ? pick(TYPES) : 'application/json';
    if (type) headers['content-type'] = type;
    // fetch adds a type of its own to texts.
    body = new TextEncoder().encode(body);
  }
  return { target, init: { method, headers, body } };
}

// What is wrong with an answer.
function differences(operation, response, body) {
  const described = follow(operation.responses[response.status]);
  if (!described) return [`the status ${response.status} is not described`];
  const wrong = [];
  for (const [name, header] of Object.entries(described.headers ?? {})) {
    if (header.required && !response.headers.has(name)) wrong.push(`the header ${name} is missing`);
  }
  if (!response.headers.has('x-content-type-options')) wrong.push('the header x-content-type-options is missing');
  const type = response.headers.get('content-type');
  const content = described.content?.[type];
  if (!described.content) {
    if (body) wrong.push('there is a body');
    return wrong;
  }
  if (!content) return [...wrong, `the media type ${type} is not described`];
  if (/json/.test(type)) {
    const pointer = content.schema.$ref ? `openapi${content.schema.$ref}` : undefined;
    const valid = ajv.validate(pointer ? { $ref: pointer } : content.schema, JSON.parse(body));
    if (!valid) wrong.push(ajv.errorsText());
  }
  return wrong;
}

// The body, but of a stream only its beginning.
async function read(response) {
  const type = response.headers.get('content-type') ?? '';
  if (!/event-stream|multipart/.test(type)) return response.text();
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

const statuses = {};
for (let sent = 0; sent < count; sent += 1) {
  const chosen = operations[sent % operations.length];
  const { target, init } = request(chosen);
  const response = await fetch(target, { ...init, signal: AbortSignal.timeout(45_000) });
  const body = await read(response);
  if (response.status === 201) reserved = body;
  const wrong = differences(chosen.operation, response, body);
  const key = `${chosen.method} ${response.status}`;
  statuses[key] = (statuses[key] ?? 0) + 1;
  if (wrong.length > 0) {
    const { method, headers } = init;
    const said = init.body && new TextDecoder().decode(init.body);
    process.stdout.write(
      `${JSON.stringify({ wrong, method, target: target.href, headers: { ...headers, authorization: undefined }, said, status: response.status, body: body.slice(0, 300) })}\n`,
    );
  }
}
process.stdout.write(`${JSON.stringify({ sent: count, seed, statuses })}\n`);
process.exit(0);
