// What the two hand-written servers share: one LISTEN, and nobody woken whom an event does not concern.

import pg from 'pg';

// Calls onEvent(channel, event) for each notification, in order. A lost connection ends the process: what NOTIFY said
// meanwhile would be gone, and nobody would be told.
export async function listen(onEvent) {
  const client = new pg.Client(process.env.DATABASE_URL);
  client.on('notification', ({ payload }) => {
    const { channel, data } = JSON.parse(payload);
    onEvent(channel, { id: data.seq, data: JSON.stringify(data) });
  });
  client.on('error', (error) => {
    throw error;
  });
  await client.connect();
  await client.query('listen bench');
}

export const typeDefs = /* GraphQL */ `
  type Query {
    ready: Boolean!
  }
  type Event {
    id: Int!
    data: String!
  }
  type Subscription {
    events(channel: String!): Event!
  }
`;

export function address() {
  const [host, port] = process.env.LISTEN.split(':');
  return { host, port: Number(port) };
}
