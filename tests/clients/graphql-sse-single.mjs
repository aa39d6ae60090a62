// The npm package graphql-sse in its single connection mode, with its default options but for --eager, which is
// its option `lazy: false`.

import { createClient } from 'graphql-sse';
import { eager, print, request, subscribed, token, url } from './arguments.mjs';

const client = createClient({
  url,
  singleConnection: true,
  lazy: !eager,
  headers: token ? { authorization: `Bearer ${token}` } : undefined,
  on: { connected: subscribed },
});

await print(client.iterate(request));
