// Chromium's own WebSocket, as a page without a library uses it: the protocol by hand, a new socket when one
// has closed, and with --resume the cursor of the last result in its `subscribe`.
//
//   node browser-websocket.mjs URL DOCUMENT --token TOKEN [--extensions JSON] [--resume]
//
// Prints the payload of each `next`.

import { request, resume, token, url } from './arguments.mjs';
import { ownPage } from './chromium.mjs';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const { page } = await ownPage(url);
await page.exposeFunction('say', say);
await page.evaluate(
  ({ address, token, payload, resume }) => {
    const connect = () => {
      const socket = new WebSocket(address, 'graphql-transport-ws');
      const send = (message) => socket.send(JSON.stringify(message));
      socket.onopen = () => send({ type: 'connection_init', payload: { token } });
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'connection_ack') send({ type: 'subscribe', id: '1', payload });
        if (message.type === 'ping') send({ type: 'pong' });
        if (message.type === 'error') window.say({ errors: message.payload });
        if (message.type !== 'next') return;
        const { cursor } = message.payload.extensions ?? {};
        if (resume && cursor) payload.extensions = { ...payload.extensions, cursor };
        window.say(message.payload);
      };
      socket.onclose = ({ code }) => {
        if (code === 1006 || code === 1012 || code === 1013) setTimeout(connect, 200);
        else window.say({ closed: code });
      };
    };
    connect();
  },
  { address: url.replace(/^http/, 'ws'), token, payload: request, resume },
);
