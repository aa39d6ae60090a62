//! GraphQL: from a request to an interest that the hub can route, and from an event to a result.
//!
//! # Layout
//!
//! Once per schema: the catalog becomes SDL and bindings (`names`, `scalar`, `sdl`, `bindings`) and
//! these a `schema`. Once per document: `lexer`, `limits`, `syntax`, `descriptions`, `cost`, `validate`,
//! `document`, and `places` for whatever is wrong with it. Once per subscription: `prepare` with
//! `coerce` and `interest`, or with `query`. Once per distinct result: `plan`, `intern`. Once per event
//! and distinct result: `project` with `lookup`, `leaf` and `field_error`.

pub mod error;

pub mod request;

pub mod scalar;

mod names;

mod bindings;

mod sdl;

pub mod schema;

mod lexer;

pub mod limits;

mod syntax;

mod descriptions;

mod places;

mod cost;

mod validate;

mod document;

mod cache;

pub mod prepare;

mod coerce;

mod interest;

mod query;

mod plan;

mod intern;

mod project;

mod lookup;

mod leaf;

mod field_error;

#[cfg(test)]
mod tests;
