// PostGraphile 5: subscriptions by its own LISTEN, a topic for each channel.

import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { context, lambda, listen } from 'postgraphile/grafast';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { extendSchema, gql } from 'postgraphile/utils';
import { address } from './listen.mjs';

const events = extendSchema({
  typeDefs: gql`
    extend type Subscription {
      events(channel: String!): Event
    }
    type Event {
      id: Int!
      data: String!
    }
  `,
  objects: {
    Subscription: {
      plans: {
        events: {
          subscribePlan: (_$root, { $channel }) => listen(context().get('pgSubscriber'), $channel),
          plan: ($event) => $event,
        },
      },
    },
    Event: {
      plans: {
        id: ($event) => lambda($event, (data) => JSON.parse(data).seq, true),
        data: ($event) => $event,
      },
    },
  },
});

const server = createServer();
const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  plugins: [events],
  pgServices: [makePgService({ connectionString: process.env.DATABASE_URL, schemas: ['public'], pubsub: true })],
  grafserv: { graphqlPath: '/graphql', websockets: true, graphiql: false, watch: false },
  grafast: { explain: false },
});
await instance.createServ(grafserv).addTo(server);
server.listen({ ...address(), backlog: 4096 });
