// The npm package graphql-sse in its single connection mode, with its default options but for --eager, which is
// its option `lazy: false`. It reserves anew whenever it comes back, and sends its operations again: with --resume
// its option `fetchFn` adds where they stood.

import { createClient } from 'graphql-sse';
import { eager, print, request, resume, subscribed, token, url } from './arguments.mjs';

function withCursor(url, init) {
  if (init.method !== 'POST') return fetch(url, init);
  const sent = JSON.parse(init.body);
  sent.extensions = { ...sent.extensions, ...request.extensions };
  return fetch(url, { ...init, body: JSON.stringify(sent) });
}

const client = createClient({
  url,
  singleConnection: true,
  lazy: !eager,
  headers: token ? { authorization: `Bearer ${token}` } : undefined,
  fetchFn: resume ? withCursor : undefined,
  on: { connected: subscribed },
});

await print(client.iterate(request));
