// Chromium's own EventSource, which comes back by itself and says where it stood:
//
//   node event-source.mjs URL DOCUMENT --token TOKEN
//
// Prints {"opened":true} at each opening, and the data of each event `next`.

import { query, token, url } from './arguments.mjs';
import { ownPage } from './chromium.mjs';

const say = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);

const { page } = await ownPage(url);
await page.exposeFunction('say', say);
const parameters = new URLSearchParams({ query, access_token: token });
await page.evaluate((address) => {
  const source = new EventSource(address);
  source.onopen = () => window.say({ opened: true });
  source.addEventListener('next', (event) => window.say(JSON.parse(event.data)));
  source.addEventListener('complete', () => {
    window.say({ completed: true });
    source.close();
  });
  // Without this state it comes back by itself.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) window.say({ closed: true });
  };
}, `${url}?${parameters}`);
