// urql: --over fetch (its own fetchSubscriptions, over server-sent events) or --over ws (a forwardSubscription
// of the npm package graphql-ws). Over fetch its retryExchange begins again after an error of the network;
// over WebSocket graphql-ws does.

import { Client, createRequest, fetchExchange, subscriptionExchange } from '@urql/core';
import { retryExchange } from '@urql/exchange-retry';
import { createClient } from 'graphql-ws';
import { pipe, toObservable } from 'wonka';
import { WebSocket } from 'ws';
import { advance, observed, over, print, request, token, url } from './arguments.mjs';

// Acknowledgements are printed here and go no further: urql merges each result into the one before, so one
// without data would show that again.
function acknowledged(result) {
  if (!result.extensions?.subscribed) return false;
  process.stdout.write(`${JSON.stringify(result)}\n`);
  return true;
}

const socket = createClient({
  url: url.replace(/^http/, 'ws'),
  webSocketImpl: WebSocket,
  connectionParams: async () => (token ? { Authorization: `Bearer ${token}` } : {}),
});
const transports = {
  fetch: [
    retryExchange({
      initialDelayMs: 200,
      maxDelayMs: 1_000,
      maxNumberAttempts: 100,
      // The operation goes out again as it is now: its extensions name the last cursor.
      retryWith: (error, operation) => (error.networkError ? operation : null),
    }),
    fetchExchange,
  ],
  ws: [
    subscriptionExchange({
      // urql copies the extensions; those of the request name the last cursor.
      forwardSubscription: (payload) => ({
        subscribe: (sink) => ({
          unsubscribe: socket.subscribe(
            { ...payload, extensions: request.extensions },
            { ...sink, next: (result) => acknowledged(result) || sink.next(result) },
          ),
        }),
      }),
    }),
  ],
};
const client = new Client({
  url,
  preferGetMethod: false,
  fetchOptions: { headers: token ? { authorization: `Bearer ${token}` } : {} },
  fetchSubscriptions: over !== 'ws',
  exchanges: transports[over ?? 'fetch'],
});

async function* results(source) {
  for await (const { data, error, extensions } of observed(source)) {
    if (error) throw error;
    yield { data: data ?? null, ...(extensions ? { extensions } : {}) };
  }
}

const operation = createRequest(request.query, request.variables ?? {}, request.extensions);
await print(results(pipe(client.executeSubscription(operation), toObservable)));
