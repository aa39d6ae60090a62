//! Part A: GraphQL over SSE, single connection mode.

mod client;

mod statuses;

mod streams;

mod nodes;

mod resume;

mod documents;

mod settings;
