// What every client script here takes:
//
//   node CLIENT.mjs URL DOCUMENT [--token TOKEN] [--variables JSON] [--extensions JSON] [--count N]
//     [--over TRANSPORT] [--resume] [--eager] [--refresh TOKEN]
//
// Standard output is lines of JSON: first {"subscribed":true}, when the subscription is live (what is
// published after it must arrive), then each result. After N results, or when the operation is
// complete, the script exits with 0; after an error with 1 and the error on standard error. Clients that
// speak more than one protocol are told which by --over. With --resume, a client that comes back by itself
// asks for what it has missed: the extensions of its request name the cursor of the last result. --refresh
// brings a new token to the live connection, and {"refreshed":true} says that it was taken.

import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: 'string' },
    variables: { type: 'string' },
    extensions: { type: 'string' },
    count: { type: 'string' },
    over: { type: 'string' },
    resume: { type: 'boolean' },
    eager: { type: 'boolean' },
    refresh: { type: 'string' },
  },
});

export const [url, query] = positionals;
export const { token, over, resume, eager, refresh } = values;
export const request = {
  query,
  ...(values.variables ? { variables: JSON.parse(values.variables) } : {}),
  ...(values.extensions || values.resume ? { extensions: JSON.parse(values.extensions ?? '{}') } : {}),
};
export const count = values.count ? Number(values.count) : Infinity;

// Notes where a result stands, in these extensions of a request. The clients serialize a request each time
// they send it, so they need not be told.
export function advance(result, extensions = request.extensions) {
  const cursor = result.extensions?.cursor;
  if (resume && cursor) extensions.cursor = cursor;
}

let told = false;

export function subscribed() {
  if (!told) process.stdout.write('{"subscribed":true}\n');
  told = true;
}

// Runs a subscription that hands its results to `next`, and ends the process with it.
export async function print(results) {
  let printed = 0;
  try {
    for await (const result of results) {
      advance(result);
      process.stdout.write(`${JSON.stringify(result)}\n`);
      printed += 1;
      if (printed >= count) break;
    }
    process.exit(0);
  } catch (error) {
    const { message, code, reason } = error ?? {};
    process.stderr.write(`${JSON.stringify(Array.isArray(error) ? { errors: error } : { message, code, reason })}\n`);
    process.exit(1);
  }
}

// The results of an observable, one after the other.
export async function* observed(observable) {
  const waiting = [];
  let wake = () => {};
  const push = (step) => {
    waiting.push(step);
    wake();
  };
  observable.subscribe({
    next: (value) => push({ value }),
    error: (error) => push({ error }),
    complete: () => push({}),
  });
  for (;;) {
    while (waiting.length === 0) await new Promise((resolve) => (wake = resolve));
    const step = waiting.shift();
    if ('error' in step) throw step.error;
    if (!('value' in step)) return;
    yield step.value;
  }
}
