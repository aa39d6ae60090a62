// What a client's tools make of the schema:
//
//   node codegen.mjs SCHEMA.graphql
//
// Checks the SDL as graphql-js 17 does, generates TypeScript for it and for the documents below as
// graphql-codegen does, and compiles that under `strict`. Prints one line of JSON:
// {"invalid": [messages], "diagnostics": [messages], "types": [names of exported types]}

import { readFileSync } from 'node:fs';

import { codegen } from '@graphql-codegen/core';
import * as typescriptPlugin from '@graphql-codegen/typescript';
import * as operationsPlugin from '@graphql-codegen/typescript-operations';
import { parse } from 'graphql';
import { buildSchema, validateSchema } from 'graphql-17';
import ts from 'typescript';

const DOCUMENTS = `
  subscription Changed($filter: OrderFilter, $id: BigInt) {
    orderChanged(id: $id, filter: $filter, filterScope: RECORD_OR_OLD) @throttle(ms: 100, key: "record.id") {
      operation
      record { id state spot { x y } tags }
      old { state }
    }
  }
  subscription Posted($room: ID!) {
    posted(room: $room) { __typename id ... on Text { body mood } ... on Picture { url } }
  }
  query Version { tidings { version } }
`;

const sdl = readFileSync(process.argv[2], 'utf8');
const invalid = validateSchema(buildSchema(sdl)).map((error) => error.message);
// Each plugin makes a whole file: the one of the schema's types, the other of the documents'.
const generate = (filename, plugin) =>
  codegen({
    schema: parse(sdl),
    documents: [{ location: 'documents.graphql', document: parse(DOCUMENTS) }],
    config: {},
    filename,
    plugins: [{ plugin: {} }],
    pluginMap: { plugin },
  });
const files = {
  'schema.ts': await generate('schema.ts', typescriptPlugin),
  'documents.ts': await generate('documents.ts', operationsPlugin),
};

const options = { strict: true, noEmit: true, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const read = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) =>
  name in files ? ts.createSourceFile(name, files[name], ts.ScriptTarget.ES2022) : read(name, ...rest);
const diagnostics = ts
  .getPreEmitDiagnostics(ts.createProgram(Object.keys(files), options, host))
  .map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
const exported = Object.values(files).flatMap((source) => [...source.matchAll(/export (?:type|enum) (\w+)/g)]);
const types = exported.map((match) => match[1]);
process.stdout.write(`${JSON.stringify({ invalid, diagnostics, types })}\n`);
