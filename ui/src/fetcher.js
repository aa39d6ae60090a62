// GraphiQL's fetcher: subscriptions go over the chosen transport, everything else is a POST.

import { getOperationAST, Kind, parse } from 'graphql';

export const IDLE = { phase: 'idle' };

// `chosen()` is the transport of the moment; `report(progress)` hears how the subscription fares.
export function createFetcher(url, chosen, report) {
  return (params, { headers = {} } = {}) => {
    const texts = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    const { request, kind } = look(params);
    return kind === 'subscription'
      ? subscription(url, chosen(), request, texts, report)
      : post(url, request, texts);
  };
}

// What is asked for. GraphiQL learns the names of a document's operations a moment after they were
// typed, so a quick hand runs a new document under an old name; where there is one operation only,
// its own name is sent.
function look(params) {
  try {
    const document = parse(params.query);
    const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
    const request = operations.length === 1 ? { ...params, operationName: operations[0].name?.value } : params;
    return { request, kind: getOperationAST(document, request.operationName)?.operation };
  } catch {
    // The daemon says what is wrong with it.
    return { request: params };
  }
}

async function post(url, request, headers) {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        accept: 'application/graphql-response+json, application/json',
        'content-type': 'application/json',
        ...headers,
      },
      body: JSON.stringify(request),
    });
    return await response.json();
  } catch (error) {
    return { errors: [{ message: `The request failed: ${error.message}` }] };
  }
}

// An observable, as GraphiQL knows them. Errors are results, because GraphiQL shows what is thrown
// with its stack.
function subscription(url, transport, request, headers, report) {
  return {
    subscribe(observer) {
      let progress = { transport: transport.label, results: 0 };
      const tell = (change) => {
        progress = { ...progress, ...change };
        report(progress);
      };
      const isOver = () => ['failed', 'over'].includes(progress.phase);
      const finish = (phase) => {
        if (isOver()) return;
        tell({ phase });
        observer.complete();
      };
      tell({ phase: 'connecting' });
      const stop = transport.subscribe(url, request, headers, {
        live() {
          if (!isOver()) tell({ phase: 'live' });
        },
        next(result) {
          if (isOver()) return;
          observer.next(result);
          // Without data it is no event: the daemon refuses the operation, or ends it.
          if (result.errors && !('data' in result)) finish('failed');
          else tell({ results: progress.results + 1 });
        },
        fail(errors) {
          if (isOver()) return;
          observer.next({ errors });
          finish('failed');
        },
        end: () => finish('over'),
      });
      return {
        unsubscribe() {
          finish('over');
          stop();
        },
      };
    },
  };
}
