//! GraphQL: from a request to an interest that the hub can route, and from an event to a result.
//!
//! # Layout
//!
//! Once per schema: the catalog becomes SDL and bindings (`names`, `scalar`, `labels`, `sdl`,
//! `definitions`, `bindings`) and these a `schema` with its `faces`. Once per document: `persisted`,
//! `lexer`, `limits`, `syntax`, `descriptions`, `cost`, `validate`, `document`, and `places` for whatever
//! is wrong with it. Once per subscription: `prepare` with `coerce`, `viewer`, `interest`, `filter`,
//! `throttle`, `calls` and `guard`, or with `query` and `introspect`. Once per distinct result: `plan`, `intern`. Once per event
//! and distinct result: `project` with `lookup`, `leaf` and `field_error`, and `resolve` where functions take
//! part, `guard` where policies do; `callers` says on whose behalf they run.

pub mod error;

pub mod request;

pub mod scalar;

mod names;

mod labels;

mod filter;

mod bindings;

mod sdl;

mod definitions;

mod faces;

mod introspect;

pub mod schema;

pub mod persisted;

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

mod viewer;

pub mod callers;

mod initial;

mod interest;

mod throttle;

mod calls;

mod query;

mod plan;

mod intern;

mod project;

mod guard;

mod resolve;

mod lookup;

mod leaf;

mod field_error;

#[cfg(test)]
pub(super) mod tests;
