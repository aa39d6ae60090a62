// What is remembered between visits.

const HISTORY = ['graphiql:queries', 'graphiql:favorites'];
const PERSIST_HEADERS = 'graphiql:shouldPersistHeaders';
const TRANSPORT = 'tidings:transport';

// localStorage, except that GraphiQL's history keeps headers only if its setting says so. Without
// that they would be kept with each query that was ever run, and the token with them.
export const storage = {
  get length() {
    return localStorage.length;
  },
  getItem: (key) => localStorage.getItem(key),
  removeItem: (key) => localStorage.removeItem(key),
  clear: () => localStorage.clear(),
  setItem(key, value) {
    const wanted = localStorage.getItem(PERSIST_HEADERS) === 'true';
    localStorage.setItem(key, HISTORY.includes(key) && !wanted ? withoutHeaders(value) : value);
    if (key === PERSIST_HEADERS && value !== 'true') forgetHeaders();
  },
};

function withoutHeaders(json) {
  return JSON.stringify(JSON.parse(json), (name, value) => (name === 'headers' ? undefined : value));
}

function forgetHeaders() {
  for (const key of HISTORY) {
    const kept = localStorage.getItem(key);
    if (kept) localStorage.setItem(key, withoutHeaders(kept));
  }
}

export const rememberedTransport = () => localStorage.getItem(TRANSPORT);
export const rememberTransport = (name) => localStorage.setItem(TRANSPORT, name);
