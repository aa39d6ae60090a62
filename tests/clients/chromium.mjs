// A real Chromium: GraphiQL as its users see it, and a page for scripts of our own.

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];
// Longer than any wait on a busy machine.
const STEP_MS = 45_000;

// The browser of CHROMIUM, else the first in PATH.
function executable() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const folders = process.env.PATH.split(delimiter);
  const found = NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
  if (!found) throw new Error('no Chromium: run scripts/deps.sh test, or set CHROMIUM to one');
  return found;
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

// A page in a fresh profile. `options` are those of Playwright's contexts.
async function fresh(options) {
  const browser = await chromium.launch({ executablePath: executable(), args: ['--disable-gpu'] });
  const context = await browser.newContext(options);
  context.setDefaultTimeout(STEP_MS);
  return { browser, page: await context.newPage() };
}

// A page of the daemon's own origin for scripts of ours: GraphiQL, because it is the only one that may connect.
export async function ownPage(url) {
  const opened = await fresh({});
  await opened.page.goto(new URL('/graphql', url).href);
  return opened;
}

// Opens GraphiQL.
export async function open(url, options = {}) {
  const { browser, page } = await fresh(options);
  const graphiql = new GraphiQL(browser, page);
  await page.goto(url);
  await page.locator('.graphiql-query-editor .CodeMirror').waitFor();
  return graphiql;
}

class GraphiQL {
  constructor(browser, page) {
    this.browser = browser;
    this.page = page;
    // What the page complained about, and every address that it asked for.
    this.complaints = [];
    this.addresses = new Set();
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complaints.push(message.text());
    });
    page.on('pageerror', (error) => this.complaints.push(error.message));
    const note = (address) => this.addresses.add(new URL(address).host || address);
    page.on('request', (request) => note(request.url()));
    page.on('websocket', (socket) => note(socket.url()));
  }

  editor(name) {
    return this.page.locator(`[aria-label="${name}"] .CodeMirror:visible`);
  }

  async text(editor) {
    return this.editor(editor).evaluate((element) => element.CodeMirror.getValue());
  }

  // Replaces an editor's text key by key.
  async type(editor, text) {
    await this.clear(editor);
    await this.page.keyboard.type(text);
    await this.page.keyboard.press('Escape');
  }

  // The same at once, as from the clipboard.
  async paste(editor, text) {
    await this.clear(editor);
    await this.page.keyboard.insertText(text);
  }

  async clear(editor) {
    await this.editor(editor).click();
    await this.page.keyboard.press('Control+A');
    await this.page.keyboard.press('Delete');
  }

  async choose(transport) {
    await this.page.locator('.tidings-transport label', { hasText: transport }).click();
  }

  async run() {
    await this.page.getByRole('button', { name: 'Execute query' }).click();
  }

  async stop() {
    await this.page.getByRole('button', { name: 'Stop query' }).click();
    await this.phase('over');
  }

  async phase(phase) {
    await this.page.locator(`.tidings-progress[data-phase="${phase}"]`).waitFor();
  }

  // The next result: running empties the pane, so the first text in it.
  async result() {
    const pane = this.page.locator('.result-window .CodeMirror-code', { hasText: '}' });
    // CodeMirror shows spaces as no-break spaces.
    return JSON.parse((await pane.innerText()).replaceAll('\u00a0', ' '));
  }
}
