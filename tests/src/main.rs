//! Tests of the whole product through its outer surfaces, one module per behaviour.

#![allow(missing_docs, unreachable_pub, reason = "tests are named by behaviour, and nothing imports them")]

mod support;

mod access;

mod attack;

mod extension;

mod faults;

mod fidelity;

mod fuzz;

mod protocol;

pub(crate) mod pull;

mod retention;

mod schema;

pub(crate) mod streaming;

mod wire;

mod browser;

mod clients;
