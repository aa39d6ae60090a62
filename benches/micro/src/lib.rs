//! Micro benches: what each station of the path takes, by itself, inside one thread.
//!
//! Every [`Case`] is measured twice: its CPU time by criterion (`cargo bench -p tidings-micro`), and its
//! instructions by callgrind, which a busy machine does not disturb (`counted`). `scripts/bench-micro.sh` does
//! both and prints one table. Allocations are no measurement but a test: `tests/allocations.rs`.
//!
//! # Layout
//!
//! `shop` is the table whose events pass by, `room` a hub with subscriptions, `cases` what is measured, and
//! `results` where it is told. Besides: `tail` is the way from the table into the hub, and what a daemon takes that has nothing to do;
//! `footprint` is what a subscription takes in memory.

pub mod shop;

pub mod room;

pub mod cases;

pub mod results;

pub use cases::{Case, Work, all};
