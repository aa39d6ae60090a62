//! PROTOCOLS.md, line by line: each test is named by the line that it shows.
//!
//! What needs no events runs against daemons with the memory source, so it needs no database.

mod access;

mod http;

mod leaving;

mod legacy;

mod messages;

mod openapi;

mod multipart;

mod persisted;

mod reservations;

mod requests;

mod sse;

mod writes;

mod websocket;

use serde_json::{Value, json};

use crate::support::daemon::{Builder, Daemon, token};
use crate::support::raw;

/// A subscription that is live and quiet.
const QUIET: &str = "subscription { events(channel: \"quiet\") { id } }";

/// A daemon without a database.
fn builder() -> Builder {
    Daemon::builder("postgres://nobody@localhost/nothing").env("TIDINGS_SOURCE", "memory")
}

async fn daemon() -> Daemon {
    builder().start().await
}

/// The token of one user.
fn alice() -> String {
    token("alice", "acme")
}

fn body(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// The code of a response's first error.
fn code(response: &Value) -> &str {
    response["errors"][0]["extensions"]["code"].as_str().unwrap_or_default()
}
