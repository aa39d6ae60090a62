//! Log lines, for people or as JSON, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::config::{Config, LogFormat};

/// Libraries that read and write what clients and the database send.
const WIRE_TARGETS: [&str; 7] =
    ["h2", "hyper", "hyper_util", "tungstenite", "tokio_tungstenite", "tokio_postgres", "axum"];

/// Starts logging. A second call changes nothing.
pub(super) fn start(config: &Config) {
    // The configuration has parsed the filter once already.
    let filter: Targets = config.log_filter.parse().unwrap_or_default();
    // Below `info` these write out what they receive, tokens included.
    let filter = filter.with_targets(WIRE_TARGETS.map(|target| (target, LevelFilter::INFO)));
    // Colours are for people who watch, not for files.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
