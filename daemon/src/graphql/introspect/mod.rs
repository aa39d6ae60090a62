//! Introspection (section 4) as of September 2025. The compiler executes the documents, but what it answers
//! itself is of October 2021: without `isOneOf`, among others.
//!
//! # Layout
//!
//! `meta` brings the compiler's meta types and directives up to date, for validation as for execution.
//! `types` answers for `__Schema` and `__Type`, `members` for what they consist of.

mod members;

mod meta;

mod types;

pub(super) use meta::{complete, opened};
pub(super) use types::{named, schema};
