// Chromium's own EventSource on a reserved stream, as a page without a library uses it: the reservation and the
// operation by fetch, and the stream by EventSource, which comes back by itself with Last-Event-ID.
//
//   node event-source-single.mjs URL DOCUMENT --token TOKEN [--extensions JSON]
//
// Prints the payload of each `next`. The token is in the query parameter `access_token` too, because EventSource
// sends no headers.

import { request, token, url } from './arguments.mjs';
import { ownPage } from './chromium.mjs';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const { page } = await ownPage(url);
await page.exposeFunction('say', say);
await page.evaluate(
  async ({ url, token, request }) => {
    const headers = { authorization: `Bearer ${token}` };
    const reserved = await fetch(url, { method: 'PUT', headers });
    headers['x-graphql-event-stream-token'] = await reserved.text();
    const extensions = { ...request.extensions, operationId: '1' };
    const posted = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, extensions }),
    });
    if (posted.status !== 202) window.say({ closed: posted.status });
    const address = new URL(url);
    address.searchParams.set('token', headers['x-graphql-event-stream-token']);
    address.searchParams.set('access_token', token);
    const source = new EventSource(address);
    source.addEventListener('next', ({ data }) => window.say(JSON.parse(data).payload));
    source.addEventListener('complete', ({ data }) => window.say({ closed: JSON.parse(data) }));
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) window.say({ closed: 'for ever' });
    };
  },
  { url, token, request },
);
