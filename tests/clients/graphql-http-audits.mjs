// The audits of the npm package graphql-http: node graphql-http-audits.mjs URL [--token TOKEN]
// Prints one line of JSON for each, and exits with 1 unless all are ok.

import { auditServer } from 'graphql-http';
import { token, url } from './arguments.mjs';

const results = await auditServer({
  url,
  fetchFn: (target, init = {}) =>
    fetch(target, {
      ...init,
      headers: { ...init.headers, ...(token ? { authorization: `Bearer ${token}` } : {}) },
    }),
});
for (const { id, name, status, reason } of results) {
  process.stdout.write(`${JSON.stringify({ id, name, status, reason })}\n`);
}
process.exit(results.every(({ status }) => status === 'ok') ? 0 : 1);
