// What every client script here takes:
//
//   node CLIENT.mjs URL DOCUMENT [--token TOKEN] [--variables JSON] [--count N]
//
// Each result is printed on standard output as one line of JSON. `ready` on standard error says that
// the subscription is live: what is published after it must arrive. After N results, or when the
// operation is complete, the script exits with 0; after an error with 1 and the error on standard error.

import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: 'string' },
    variables: { type: 'string' },
    count: { type: 'string' },
  },
});

export const [url, query] = positionals;
export const token = values.token;
export const request = {
  query,
  ...(values.variables ? { variables: JSON.parse(values.variables) } : {}),
};
export const count = values.count ? Number(values.count) : Infinity;

export function ready() {
  process.stderr.write('ready\n');
}

// Runs a subscription that hands its results to `next`, and ends the process with it.
export async function print(results) {
  let printed = 0;
  try {
    for await (const result of results) {
      process.stdout.write(`${JSON.stringify(result)}\n`);
      printed += 1;
      if (printed >= count) break;
    }
    process.exit(0);
  } catch (error) {
    const told = Array.isArray(error) ? { errors: error } : { message: error?.message, reason: error?.reason, code: error?.code };
    process.stderr.write(`${JSON.stringify(told)}\n`);
    process.exit(1);
  }
}
