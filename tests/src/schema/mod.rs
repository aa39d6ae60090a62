//! What the GraphQL schema promises, against the database that it was derived from.

mod definitions;

mod filters;

mod initial;

mod reload;

mod resolvers;

mod roles;

mod row_security;

mod rows;

mod throttle;

mod tools;
