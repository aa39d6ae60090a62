//! GraphQL: from a request to an interest that the hub can route, and from an event to a result.

pub mod error;

pub mod request;
