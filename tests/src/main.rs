//! The suite: every behaviour through real processes.

#![allow(missing_docs, unreachable_pub, reason = "tests are named by behaviour, and nothing imports them")]

mod support;

mod streaming;
