// graphql-yoga over server-sent events, with its own publish and subscribe, which has topics per channel.

import { createServer } from 'node:http';
import { createPubSub, createSchema, createYoga } from 'graphql-yoga';
import { address, listen, typeDefs } from './listen.mjs';

const pubSub = createPubSub();

const yoga = createYoga({
  schema: createSchema({
    typeDefs,
    resolvers: {
      Subscription: {
        events: {
          subscribe: (_root, { channel }) => pubSub.subscribe('events', channel),
          resolve: (event) => event,
        },
      },
    },
  }),
  graphiql: false,
  landingPage: false,
  logging: false,
  maskedErrors: false,
});

await listen((channel, event) => pubSub.publish('events', channel, event));

createServer(yoga).listen({ ...address(), backlog: 4096 });
