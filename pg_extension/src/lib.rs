//! The `tidings` PostgreSQL extension: captures events inside the publisher's own transaction.
//!
//! # Layout, in the order an event takes
//!
//! - `settings`: the GUCs
//! - `publish`: `publish_event`
//! - `capture`: the trigger function; `plan` is its configuration, `render` writes records as JSON
//! - `order`: keeps a row's events in the order of its versions when triggers write
//! - `store`: an event becomes a row; `slots` is the table that it goes to, `pending` holds what a `statement` has
//!   collected so far
//! - `wake_up`: tells readers that something was committed, one by one or through a worker for many
//! - `pull`: `tidings.read_events`, for consumers that poll; `select` is how it reads
//! - `definitions`: checks GraphQL definitions of custom events
//! - `condition`, `roles`: what `attach_trigger` needs from the parser and the session
//!
//! SQL objects live in `sql/` at the root of the repository, in the order of their numbers.

use pgrx::prelude::*;

mod settings;

mod publish;

mod capture;
mod order;
mod plan;
mod render;

mod store;

mod statement;

mod pending;
mod slots;
mod transaction;
mod wake_up;

mod pull;
mod select;

mod definitions;

mod condition;
mod error;
mod roles;
mod sys;

mod schema;

::pgrx::pg_module_magic!();

/// Runs when the library is loaded into a backend.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::register();
    plan::register();
    slots::register();
    statement::register();
    transaction::register();
    wake_up::worker::register();
}
