// A visit to GraphiQL in Chromium: node graphiql.mjs URL DOCUMENT --token TOKEN
//
// Prints lines of JSON: the answer without a good token over each transport; then, for the page's own
// example over SSE and for DOCUMENT over WebSocket, {"subscribed":TRANSPORT} when it is live and the
// result that the page shows; at the end what the page complained about, whom it asked and what it
// remembers.

import { query, token, url } from './arguments.mjs';
import { open } from './chromium.mjs';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const graphiql = await open(url);

// Subscribes to what is in the editor, until the first result.
async function see(transport) {
  await graphiql.choose(transport);
  await graphiql.run();
  await graphiql.phase('live');
  say({ subscribed: transport });
  say(await graphiql.result());
  await graphiql.stop();
}

const { page } = graphiql;
try {
  for (const transport of ['SSE', 'WebSocket']) {
    await graphiql.choose(transport);
    await graphiql.run();
    say(await graphiql.result());
  }

  await graphiql.type('Headers', `{"authorization": "Bearer ${token}"}`);
  await see('SSE');
  await graphiql.type('Query Editor', query);
  await see('WebSocket');

  // What opens over the page must not need more than the page may.
  await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
  await page.locator('.graphiql-doc-explorer', { hasText: 'Subscription' }).waitFor();
  await page.getByRole('button', { name: 'Open settings dialog' }).click();
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  say({
    complaints: graphiql.complaints,
    addresses: [...graphiql.addresses],
    remembered: await page.evaluate(() => ({ ...localStorage })),
  });
} finally {
  await graphiql.browser.close();
}
