//! Custom SDL: the documents of `define_subscriptions`, composed with what derives from the tables.
//!
//! # Layout
//!
//! `directives` declares and reads the directives that say how a field is served, `bind` turns them into
//! bindings, `reach` finds what a type leads to, `strip` takes the directives out of what clients see,
//! `redact` what a role may not see, and `compose` decides which documents stand.
//!
//! The extension has checked each document when it was defined. It is checked again here because tables
//! come and go, and one that does not compose any more must cost no other.

mod bind;

mod compose;

mod directives;

mod reach;

mod redact;

mod strip;

pub(super) use compose::{Compiled, Setting, compile_sound};
pub(super) use redact::redact;
