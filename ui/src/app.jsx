// GraphiQL with a choice of transport above it and the state of the subscription below the result.

import { useEffect, useMemo, useRef, useState } from 'react';
import { useEditorContext, useExecutionContext, useSchemaStore } from '@graphiql/react';
import { GraphiQL } from 'graphiql';
import { HEADERS, QUERY } from './example.js';
import { createFetcher, IDLE } from './fetcher.js';
import { rememberedTransport, rememberTransport, storage } from './storage.js';
import { TRANSPORTS } from './transports.js';

// Whatever path the page was asked for on is the endpoint.
const ENDPOINT = location.origin + location.pathname;
// A pause of this length says that a token has been typed to its end.
const TYPING_PAUSE_MS = 400;

export function App() {
  const [transport, setTransport] = useState(
    () => TRANSPORTS.find(({ name }) => name === rememberedTransport()) ?? TRANSPORTS[0],
  );
  const [progress, setProgress] = useState(IDLE);
  const [headers, setHeaders] = useState();
  // A new fetcher would make GraphiQL forget the schema, so there is one that looks up the choice.
  const chosen = useRef(transport);
  chosen.current = transport;
  const fetcher = useMemo(() => createFetcher(ENDPOINT, () => chosen.current, setProgress), []);

  const choose = (choice) => {
    rememberTransport(choice.name);
    setTransport(choice);
  };
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      defaultQuery={QUERY}
      defaultHeaders={HEADERS}
      defaultEditorToolsVisibility="headers"
      onEditHeaders={setHeaders}
    >
      <GraphiQL.Logo>
        <SchemaRefresh headers={headers} />
        <TransportSwitch transport={transport} choose={choose} />
      </GraphiQL.Logo>
      <GraphiQL.Footer>
        <Progress {...progress} />
      </GraphiQL.Footer>
    </GraphiQL>
  );
}

// Asks for the schema again when a token has been typed: the daemon shows it to nobody without.
function SchemaRefresh({ headers }) {
  const { headerEditor, responseEditor } = useEditorContext();
  const introspect = useSchemaStore((store) => store.introspect);
  const failure = useSchemaStore((store) => store.fetchError);
  useEffect(() => {
    const value = headers ?? headerEditor?.getValue();
    if (!value || value === HEADERS || !isJson(value)) return undefined;
    const timer = setTimeout(introspect, TYPING_PAUSE_MS);
    return () => clearTimeout(timer);
  }, [headers, headerEditor, introspect]);
  // GraphiQL shows the failure in the place of results, and leaves it there when it is over.
  useEffect(() => () => {
    if (failure && responseEditor?.getValue() === failure) responseEditor.setValue('');
  }, [failure, responseEditor]);
  return null;
}

function isJson(text) {
  try {
    return Boolean(JSON.parse(text));
  } catch {
    return false;
  }
}

function TransportSwitch({ transport, choose }) {
  const { stop } = useExecutionContext();
  return (
    <fieldset className="tidings-transport">
      <legend>Subscribe over</legend>
      {TRANSPORTS.map((choice) => (
        <label key={choice.name} title={choice.title}>
          <input
            type="radio"
            name="transport"
            value={choice.name}
            checked={choice === transport}
            onChange={() => {
              stop();
              choose(choice);
            }}
          />
          <span>{choice.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

const PHASES = {
  idle: () => 'No subscription is running',
  connecting: (transport) => `Connecting over ${transport}`,
  live: (transport) => `Live over ${transport}`,
  failed: (transport) => `Ended with an error, over ${transport}`,
  over: (transport) => `Stopped, over ${transport}`,
};

// Screen readers are told when the phase changes, not of each result.
function Progress({ phase, transport, results }) {
  return (
    <div className="tidings-progress" data-phase={phase}>
      <output>{PHASES[phase](transport)}</output>
      {phase === 'live' && <span>{count(results)}</span>}
    </div>
  );
}

function count(results) {
  if (results === 0) return 'nothing has happened yet';
  return results === 1 ? '1 result' : `${results} results, the latest is shown`;
}
