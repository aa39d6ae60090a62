// The npm package graphql-sse in its distinct connections mode, with its default options: it comes back by
// itself, five times.

import { createClient } from 'graphql-sse';
import { print, request, subscribed, token, url } from './arguments.mjs';

const client = createClient({
  url,
  headers: token ? { authorization: `Bearer ${token}` } : undefined,
  on: { connected: subscribed },
});

await print(client.iterate(request));
