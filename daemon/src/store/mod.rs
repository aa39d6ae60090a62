//! What outlives a process: reservations and their operations, and how nodes tell each other to look.
//!
//! # Layout
//!
//! `control` is the channel between nodes. What it says is a hint; what is stored is the truth. A `node` says who is
//! connected to it (`presence`) and reads who has to leave (`revocations`).

pub mod control;

pub mod node;

pub mod presence;

pub mod revocations;
