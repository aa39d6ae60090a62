//! GraphQL as graphql-js 17 understands it: which documents mean something, and what they answer.
//!
//! The reference implementation runs beside the test (`clients/oracle.mjs`) and judges the same
//! requests on the same schema. Differences that are meant stand in `corpus/differences.txt`.

mod bad_input;

mod catalog;

pub(crate) mod corpus;

mod documents;

mod generate;

mod oracle;

mod projection;
