// Apollo Client: --over http (its HttpLink, which asks for multipart subscriptions) or --over ws (GraphQLWsLink
// of the npm package graphql-ws). Over HTTP its RetryLink begins again after an error of the transport; over
// WebSocket graphql-ws does. Acknowledgements are printed by a link and go no further: for a result without
// data the client would hand on what its cache has of the last one. They do not count.

import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client';
import { CombinedProtocolErrors } from '@apollo/client/errors';
import { RetryLink } from '@apollo/client/link/retry';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { parse } from 'graphql';
import { createClient } from 'graphql-ws';
import { filter } from 'rxjs';
import { WebSocket } from 'ws';
import { advance, observed, over, print, request, token, url } from './arguments.mjs';

const acknowledgements = new ApolloLink((operation, forward) =>
  forward(operation).pipe(
    filter((result) => {
      advance(result, operation.extensions);
      if (!result.extensions?.subscribed) return true;
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return false;
    }),
  ),
);
const retry = new RetryLink({
  delay: { initial: 200, max: 1_000 },
  // What the daemon says when it leaves, and what fetch says while nobody listens.
  attempts: (count, _operation, error) =>
    count < 100 &&
    (error instanceof TypeError ||
      (CombinedProtocolErrors.is(error) && error.errors[0].extensions.code === 'DRAINING')),
});
const transports = {
  http: () => [
    retry,
    acknowledgements,
    new HttpLink({ uri: url, headers: token ? { authorization: `Bearer ${token}` } : {} }),
  ],
  ws: () => [
    acknowledgements,
    new GraphQLWsLink(
      createClient({
        url: url.replace(/^http/, 'ws'),
        webSocketImpl: WebSocket,
        connectionParams: async () => (token ? { Authorization: `Bearer ${token}` } : {}),
      }),
    ),
  ],
};
const client = new ApolloClient({
  link: ApolloLink.from(transports[over ?? 'http']()),
  cache: new InMemoryCache(),
});

const { query, variables, extensions } = request;
await print(observed(client.subscribe({ query: parse(query), variables, extensions })));
