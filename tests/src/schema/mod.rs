//! What the GraphQL schema promises, against the database that it was derived from.

mod filters;

mod resolvers;

mod row_security;

mod throttle;
