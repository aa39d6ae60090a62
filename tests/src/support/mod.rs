//! What the tests stand on: databases, clusters, daemons and clients.

pub mod cluster;

pub mod daemon;

pub(crate) mod database;

pub mod log;

pub mod files;

pub mod certificates;

pub mod http2;

pub mod nginx;

pub mod notes;

pub mod proxy;

pub mod raw;

pub mod script;

pub mod sse;

pub mod websocket;

pub(crate) use database::{STEP_TIME_MAX, within};
pub(crate) use notes::note;
