// The npm package subscriptions-transport-ws, which connects again by itself.

import { SubscriptionClient } from 'subscriptions-transport-ws';
import { WebSocket } from 'ws';
import { observed, print, request, token, url } from './arguments.mjs';

const client = new SubscriptionClient(
  url.replace(/^http/, 'ws'),
  {
    lazy: true,
    reconnect: true,
    connectionParams: async () => (token ? { Authorization: `Bearer ${token}` } : {}),
    connectionCallback: (error) => {
      if (error) {
        process.stderr.write(`${JSON.stringify(error)}\n`);
        process.exit(1);
      }
    },
  },
  WebSocket,
);

await print(observed(client.request(request)));
