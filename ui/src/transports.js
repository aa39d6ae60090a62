// The two ways to subscribe. Each takes a request and a sink, and returns how to stop.
//
// Neither tries again by itself: what is committed in between would be missed in silence. The sink is
// told instead, and the reader runs the subscription again. Each run has a connection of its own, so
// it always has the headers of that moment.

import { createClient as createSseClient } from 'graphql-sse';
import { createClient as createWebSocketClient } from 'graphql-ws';

// A sink: `live()` once the subscription is live, `next(result)`, `fail(errors)` and `end()`.

function overSse(url, request, headers, sink) {
  const client = createSseClient({ url, headers, retryAttempts: 0 });
  // The daemon sends the response's head when the subscription has begun.
  return client.subscribe(
    request,
    {
      next: sink.next,
      error: async (error) => sink.fail(await refusal(error)),
      complete: sink.end,
    },
    { connected: sink.live },
  );
}

// The errors that the daemon gave instead of a stream; otherwise what the browser says.
async function refusal(error) {
  try {
    const { errors } = await error.response.json();
    if (Array.isArray(errors)) return errors;
  } catch {
    // No response, or not one of the daemon's.
  }
  return [{ message: `The event stream failed: ${error.message}. Events may have been missed since.` }];
}

function overWebSocket(url, request, headers, sink) {
  const client = createWebSocketClient({
    url: url.replace(/^http/, 'ws'),
    connectionParams: headers,
    retryAttempts: 0,
    webSocketImpl: Asking,
    on: {
      pong: (received, payload) => {
        if (received && payload?.[QUESTION]) sink.live();
      },
    },
  });
  return client.subscribe(request, {
    next: sink.next,
    error: (problem) => sink.fail(Array.isArray(problem) ? problem : [{ message: farewell(problem) }]),
    complete: sink.end,
  });
}

const QUESTION = 'subscribed';

// The protocol does not say when a subscription is live. Messages are taken in order, so the answer
// to a ping sent right behind `subscribe` does.
class Asking extends WebSocket {
  send(message) {
    super.send(message);
    if (JSON.parse(message).type === 'subscribe') {
      super.send(JSON.stringify({ type: 'ping', payload: { [QUESTION]: true } }));
    }
  }
}

function farewell({ code, reason, message }) {
  if (code === 4403) {
    return 'The WebSocket was closed with 4403 Forbidden: the token under Headers is missing, invalid or expired.';
  }
  const why = code ? `was closed with ${code} ${reason}`.trim() : `failed: ${message}`;
  return `The WebSocket ${why}. Events may have been missed since.`;
}

export const TRANSPORTS = [
  { name: 'sse', label: 'SSE', title: 'Server-sent events, one HTTP request for each run', subscribe: overSse },
  { name: 'websocket', label: 'WebSocket', title: 'WebSocket, graphql-transport-ws', subscribe: overWebSocket },
];
