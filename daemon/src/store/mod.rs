//! What outlives a process: reservations and their operations, and how nodes tell each other to look.
//!
//! # Layout
//!
//! A `token` is given to its `owner`, and `reservation` says what is kept of it and is the contract of those
//! who keep it: `postgres` and `memory`. A `node` serves the streams that it has a `lease` for.
//! `control` is the channel between nodes. What it says is a hint; what is stored is the truth. A node says
//! who is connected to it (`presence`), and reads who has to leave (`revocations`).

pub mod token;

pub mod owner;

pub mod reservation;

pub mod postgres;

pub mod memory;

pub mod control;

pub mod lease;

pub mod node;

pub mod presence;

pub mod revocations;

pub use node::Reservations;
