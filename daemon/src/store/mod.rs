//! What outlives a process: reservations and their operations, and how nodes tell each other to look.
//!
//! # Layout
//!
//! `control` is the channel between nodes. What it says is a hint; what is stored is the truth.

pub mod control;
