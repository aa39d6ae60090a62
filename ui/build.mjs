// Builds the page into dist/, which the daemon embeds, or with --check says whether dist/ is what a
// build makes today.
//
// dist/ is kept in the repository so that building the daemon needs no Node.js. What is kept is
// packed; the check compares what is inside, because zlib packs differently from version to version.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { licences } from './licences.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');

// GraphiQL brings fonts, most of its size; ours are the system's (style.css).
const withoutFonts = {
  name: 'without-fonts',
  setup({ onLoad }) {
    onLoad({ filter: /graphiql\/dist\/style\.css$/ }, ({ path }) => ({
      contents: readFileSync(path, 'utf8').replaceAll(/@font-face\s*\{[^}]*\}\s*/g, ''),
      loader: 'css',
    }));
  },
};

async function bundle() {
  const { outputFiles, metafile } = await build({
    absWorkingDir: here,
    entryPoints: ['src/main.jsx'],
    outdir: 'dist',
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: 'esm',
    jsx: 'automatic',
    target: ['chrome109', 'firefox115', 'safari16.4'],
    define: { 'process.env.NODE_ENV': '"production"' },
    legalComments: 'none', // They are in the licences.
    alias: { 'react-remove-scroll': './src/no-scroll-lock.jsx' },
    plugins: [withoutFonts],
    logLevel: 'warning',
  });
  const text = (ending) => outputFiles.find(({ path }) => path.endsWith(ending)).text;
  return { script: text('.js'), style: text('.css'), licences: licences(here, Object.keys(metafile.inputs)) };
}

const digest = (text) => createHash('sha256').update(text).digest('hex').slice(0, 16);
const source = (name) => readFileSync(join(here, 'src', name), 'utf8');

// All files of the page: the page itself first, as the daemon expects.
async function assets() {
  const made = await bundle();
  const named = {
    script: { stem: 'graphiql', ending: 'js', media: 'text/javascript; charset=utf-8', text: made.script },
    style: { stem: 'graphiql', ending: 'css', media: 'text/css; charset=utf-8', text: made.style },
    icon: { stem: 'icon', ending: 'svg', media: 'image/svg+xml', text: source('icon.svg') },
    licences: { stem: 'licences', ending: 'txt', media: 'text/plain; charset=utf-8', text: made.licences },
  };
  for (const file of Object.values(named)) file.name = `${file.stem}-${digest(file.text)}.${file.ending}`;
  const page = source('page.html').replaceAll(/\{\{(\w+)\}\}/g, (_, key) => named[key].name);
  return [{ name: 'page.html', media: 'text/html; charset=utf-8', text: page }, ...Object.values(named)];
}

// The Rust expression that embeds them.
function table(files) {
  const rows = files.map(({ name, media, text }) =>
    `    Asset::new("${name}", r#"W/"${digest(text)}""#, "${media}", include_bytes!("${name}.gz")),`);
  return `// Written by ui/build.mjs; the page comes first.\n[\n${rows.join('\n')}\n]\n`;
}

// What is kept, by file name, unpacked.
function kept() {
  if (!existsSync(dist)) return {};
  const read = (name) => {
    const bytes = readFileSync(join(dist, name));
    return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
  };
  return Object.fromEntries(readdirSync(dist).map((name) => [name, read(name)]));
}

function check(made) {
  const found = kept();
  const names = new Set([...Object.keys(found), ...Object.keys(made)]);
  const differing = [...names].filter((name) => found[name] !== made[name]);
  if (differing.length > 0) {
    console.error(`ui/dist is out of date (${differing.join(', ')}): run \`make ui\` and commit the result`);
    process.exit(1);
  }
  console.error('ui/dist is up to date');
}

function keep(made) {
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist);
  for (const [name, text] of Object.entries(made)) {
    const bytes = name.endsWith('.gz') ? gzipSync(text, { level: 9 }) : text;
    writeFileSync(join(dist, name), bytes);
    console.error(`ui/dist/${name}: ${bytes.length} bytes, unpacked ${Buffer.byteLength(text)}`);
  }
}

const files = await assets();
const made = Object.fromEntries([...files.map(({ name, text }) => [`${name}.gz`, text]), ['assets.rs', table(files)]]);
if (process.argv.includes('--check')) check(made);
else keep(made);
