// The npm package graphql-ws with the usual options: lazy, keep-alive, connectionParams as a
// function, and the five retries that it makes by default.

import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { print, refresh, request, subscribed, token, url } from './arguments.mjs';

// The protocol does not confirm a subscription. Messages are taken in order, so the pong to a ping
// that was sent after `subscribe` says that it is live.
class Confirming extends WebSocket {
  send(data, ...rest) {
    super.send(data, ...rest);
    if (JSON.parse(data).type === 'subscribe') {
      super.send(JSON.stringify({ type: 'ping', payload: { subscribed: true } }));
    }
  }
}

const client = createClient({
  url: url.replace(/^http/, 'ws'),
  webSocketImpl: Confirming,
  lazy: true,
  keepAlive: 10_000,
  connectionParams: async () => (token ? { Authorization: `Bearer ${token}` } : {}),
  on: {
    connected: (socket) => {
      const payload = { authorization: `Bearer ${refresh}` };
      if (refresh) socket.send(JSON.stringify({ type: 'ping', payload }));
    },
    pong: (received, payload) => {
      if (received && payload?.subscribed) subscribed();
      if (received && payload?.refreshed) process.stdout.write('{"refreshed":true}\n');
    },
  },
});

await print(client.iterate(request));
