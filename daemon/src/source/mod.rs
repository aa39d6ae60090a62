//! Where events come from.

pub mod catalog;
