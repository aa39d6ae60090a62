// A subscription server as one writes it by hand: graphql-ws, ws, pg. Without compression and masks that would cost
// more, with a set of queues per channel. graphql-js runs the selection once per subscriber, as it always does.

import { createServer } from 'node:http';
import { buildSchema } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';
import { address, listen, typeDefs } from './listen.mjs';

const channels = new Map();

// What one subscriber has not taken yet.
class Queue {
  constructor(channel) {
    this.channel = channel;
    this.events = [];
    this.wake = null;
    this.done = false;
    if (!channels.has(channel)) channels.set(channel, new Set());
    channels.get(channel).add(this);
  }

  push(value) {
    if (this.wake) {
      this.wake({ value, done: false });
      this.wake = null;
    } else {
      this.events.push(value);
    }
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  next() {
    if (this.events.length) return Promise.resolve({ value: this.events.shift(), done: false });
    if (this.done) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  return() {
    this.done = true;
    const members = channels.get(this.channel);
    members?.delete(this);
    if (members?.size === 0) channels.delete(this.channel);
    this.wake?.({ value: undefined, done: true });
    return Promise.resolve({ value: undefined, done: true });
  }
}

const schema = buildSchema(typeDefs);
schema.getSubscriptionType().getFields().events.subscribe = (_root, { channel }) => new Queue(channel);

await listen((channel, events) => {
  const members = channels.get(channel);
  if (!members) return;
  const value = { events };
  for (const queue of members) queue.push(value);
});

const http = createServer((_request, response) => response.end());
useServer({ schema }, new WebSocketServer({ server: http, path: '/graphql', perMessageDeflate: false }));
http.listen({ ...address(), backlog: 4096 });
