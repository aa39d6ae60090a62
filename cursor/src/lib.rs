//! What somebody has seen, as a set: cursors, and the moments of the database that they are judged by.
//!
//! The daemon and the extension hand out the same cursors, so both make and read them here. Everything is pure.

pub mod snapshot;

pub mod cursor;

pub mod moment;

pub mod reading;
