// The licences of everything that is in the bundle, as one text. It travels with the bundle.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

// What can be passed on with no more than a notice, as in deny.toml.
const ALLOWED = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'ISC', 'MIT'];

// `inputs` are the bundled files, relative to `root`.
export function licences(root, inputs) {
  const folders = new Set(inputs.map(packageFolder).filter(Boolean));
  const notices = [...folders].map((folder) => notice(join(root, folder)));
  return `GraphiQL as served by Tidings contains these packages.\n\n${notices.sort().join('\n')}`;
}

// The innermost package that a file belongs to, or nothing if it is our own.
function packageFolder(file) {
  return file.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0];
}

function notice(folder) {
  const { name, version, license, author } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  if (!ALLOWED.includes(license)) throw new Error(`${name} has the licence ${license}, which is not allowed`);
  const file = readdirSync(folder).find((entry) => /^licen[cs]e(\.(md|txt))?$/i.test(entry));
  const text = file ? readFileSync(join(folder, file), 'utf8').trim() : standardText(license, author?.name ?? author ?? name);
  return `${'-'.repeat(78)}\n${name} ${version}, ${license}\n\n${text.replaceAll('\r\n', '\n')}\n`;
}

// For packages that name the MIT licence and bring no text of it: the same words as in our own.
function standardText(license, author) {
  if (license !== 'MIT') throw new Error(`a package by ${author} brings no text of its licence ${license}`);
  const own = readFileSync(new URL('../LICENSE-MIT', import.meta.url), 'utf8');
  return `Copyright (c) ${author}\n\n${own.slice(own.indexOf('Permission is hereby granted')).trim()}`;
}
