// The npm package graphql-sse in its distinct connections mode, with its default options.

import { createClient } from 'graphql-sse';
import { print, ready, request, token, url } from './arguments.mjs';

const client = createClient({
  url,
  headers: token ? { authorization: `Bearer ${token}` } : undefined,
  retryAttempts: 0,
  on: { connected: ready },
});

await print(client.iterate(request));
