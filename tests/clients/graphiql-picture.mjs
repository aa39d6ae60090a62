// Takes the picture of the README: node graphiql-picture.mjs URL FILE TOKEN, with the demo running.

import { open } from './chromium.mjs';

const [url, file, token] = process.argv.slice(2);
const graphiql = await open(url, { viewport: { width: 1120, height: 650 }, colorScheme: 'light' });
const { page } = graphiql;
try {
  await graphiql.paste('Headers', `{\n  "authorization": "Bearer ${token}"\n}`);
  // The beginning of the token is enough to see, and the example without its introduction.
  await page.keyboard.press('Control+Home');
  await graphiql.paste('Query Editor', (await graphiql.text('Query Editor')).replace(/^#.*\n+/gm, '').trim());
  await page.keyboard.press('Control+Home');
  await graphiql.choose('WebSocket');
  await graphiql.run();
  // A change of a row that was there before.
  await page.locator('.result-window .CodeMirror-code', { hasText: '"UPDATE"' }).waitFor();
  await page.mouse.move(0, 0);
  await page.screenshot({ path: file });
} finally {
  await graphiql.browser.close();
}
